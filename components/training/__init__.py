"""From token shards to a bundle of weights."""
