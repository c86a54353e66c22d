"""Trials: what a student inherits from a corpus, which remedy works, and through which channel."""
