"""Model: the network, its training and its generation. Knows nothing of the platform."""
