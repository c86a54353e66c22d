"""Benchmarks: scripts that print a table of ratios and write it to benchmarks/results/."""
