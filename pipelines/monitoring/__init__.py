"""The parts of a monitor: its history, its changes as values, and its page."""
