"""Checkpoints, encoders, and the windows of text that they read."""
