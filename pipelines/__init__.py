"""The verbs that a user runs, one module each, with the command line, configuration and engines."""
