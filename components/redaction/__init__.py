"""Taking out of the text what names or endangers a person."""
