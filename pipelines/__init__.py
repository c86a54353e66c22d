"""What a person runs: one module a verb, the command line, run configuration and runners."""
