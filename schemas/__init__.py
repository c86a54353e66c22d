"""Models and schemas of all files that congener reads or writes; digests; errors.

This package imports no other package of the project.
"""
