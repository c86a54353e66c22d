"""Defaults of the encoder, apart from the code that loads it, so that reading a configuration loads no model library."""

DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"

WINDOW_TOKENS = 128
WINDOW_OVERLAP = 16
"""all-MiniLM-L6-v2 was trained on 128 tokens; 16 shared tokens keep most sentences at a border whole in one window, at an eighth more work."""
