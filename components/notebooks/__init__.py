"""From Jupyter notebooks to scripts and to text-code-output documents."""
