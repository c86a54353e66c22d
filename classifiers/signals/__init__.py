"""Signals: the ways of scoring a text for one trait."""
