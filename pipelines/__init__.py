"""The programs that users run: a module for each command, the command line and the engines."""
