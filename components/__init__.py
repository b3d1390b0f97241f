"""Components: what is computed. Steps, artifacts, records; `components/catalog.py` shows the whole pipeline."""
