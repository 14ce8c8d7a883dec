"""One training loop for every trainable, with schedule, checkpoints and tracking."""
