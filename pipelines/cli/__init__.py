"""The command line: one module a command, options and printing only."""
