"""Flows: when the steps run, in what order, with whose approval. The only floor that knows Prefect."""
