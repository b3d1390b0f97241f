"""K8s: where a command with resources runs. Knows nothing of steps."""
