"""The kinds of signal, each of which scores a text for one trait."""
