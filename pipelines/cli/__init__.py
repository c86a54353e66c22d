"""The command line: a module for each command, with only its options and its output."""
