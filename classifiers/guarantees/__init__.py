"""Statistics: thresholds and the bounds that they carry."""
