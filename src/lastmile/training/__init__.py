"""Training runs: the loop, windows, checkpoints, devices."""
