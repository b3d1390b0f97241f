"""What a training run will need and take, worked out on paper: memory, time, cost."""
