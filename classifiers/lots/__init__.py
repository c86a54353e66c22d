"""Algorithms for sets of texts: whether two sets differ, in what, and by how much."""
