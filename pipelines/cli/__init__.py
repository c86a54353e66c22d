"""The command line: a module for each command, with its options and its output only."""
