"""Beam transforms over shards, and the plain functions that they wrap.

The stages are read, identify, score, decide and write.
"""
