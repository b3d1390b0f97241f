"""From directories, Git repositories, archives and tables of code to raw files."""
