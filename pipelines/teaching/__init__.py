"""The parts of a trial: its rows, its judge, its students, its files and its page."""
