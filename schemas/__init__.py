"""Models and schemas for all files that congener reads or writes; digests; errors.

This package imports nothing else from the project.
"""
