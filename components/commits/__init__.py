"""From the history of a repository to documents of single changes."""
