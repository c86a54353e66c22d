"""The command line: a module for each command, which holds only its options and its output."""
