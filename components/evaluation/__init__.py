"""What a bundle is worth: bits per byte, problems, baselines."""
