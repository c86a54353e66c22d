"""Statistics: calibrated thresholds and bounds on error rates."""
