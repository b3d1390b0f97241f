"""From GitHub events to conversations."""
