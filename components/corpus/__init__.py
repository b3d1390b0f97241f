"""From source trees to a clean, split corpus of code files."""
