"""The encoder's defaults, in a module that imports no model library."""

DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"

WINDOW_TOKENS = 128
"""The number of tokens in a window, which is the length that all-MiniLM-L6-v2 was trained on."""

WINDOW_OVERLAP = 16
"""The number of tokens that neighbouring windows share.

With this overlap, most sentences at a border are complete in one of the two windows. The encoder
has an eighth more work.
"""
