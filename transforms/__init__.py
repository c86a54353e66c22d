"""Beam transforms over shards, and the plain functions they wrap: read, identify, score, decide, write."""
