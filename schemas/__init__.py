"""Models and schemas for all files that congener reads or writes, and its digests and errors.

This package imports nothing else from the project.
"""
