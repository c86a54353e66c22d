"""Models and batches: checkpoints on disk, encoders, and the windows that they read."""
