"""The models and schemas of the files that congener reads and writes, digests, and errors.

This package imports no other package of the project.
"""
