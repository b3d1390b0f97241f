"""Data contracts: what an artifact owes its readers."""
