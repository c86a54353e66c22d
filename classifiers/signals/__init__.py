"""The kinds of signal: what each looks for in a text, and how it scores it."""
