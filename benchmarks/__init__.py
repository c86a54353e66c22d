"""Benchmarks: scripts that print tables of results and write them to benchmarks/results/."""
