"""What a user runs: a module for each command, the command line, settings and engines."""
