"""The canonical view of texts, without markdown, punctuation, case and length."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

CODE_BLOCK = r"(?s)```.*?```"
LINK = r"\]\([^)]*\)|https?://\S+"
NOT_LETTERS = r"[^\p{L}\p{M}]+"
"""Everything but letters: markup, punctuation, digits, and white space."""

SHORTEST = 8
"""The fewest words that are kept of each text."""

QUANTILE = 0.25
"""Which text, in the order of length, decides how many words are kept of each.

A longer cut would keep the lengths of more texts, and a shorter one would lose more words.
"""


def remove_formatting(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """Return texts as their words in lower case, with single spaces.

    Code blocks, links, marks and digits are left out, and apostrophes part words.
    """
    plain = pc.replace_substring_regex(texts, CODE_BLOCK, " ")
    plain = pc.replace_substring_regex(plain, LINK, " ")
    plain = pc.replace_substring_regex(pc.utf8_lower(plain), NOT_LETTERS, " ")
    return pc.utf8_trim_whitespace(plain)


def cut_to_words(texts: pa.LargeStringArray, words: int) -> pa.LargeStringArray:
    """Return the first words of texts whose words are parted by single spaces."""
    parts = pc.split_pattern(texts, " ", max_splits=words)
    return pc.binary_join(pc.list_slice(parts, 0, words), pa.scalar(" ", pa.large_string()))


def choose_length(texts: pa.LargeStringArray) -> int:
    """Return how many words are kept of texts whose words are parted by single spaces."""
    counts = pc.add(pc.count_substring(texts, " "), 1).to_numpy(zero_copy_only=False)
    return max(SHORTEST, int(np.quantile(counts, QUANTILE))) if len(counts) else SHORTEST


def make_canonical(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """Return the canonical view of texts, all cut to the same number of words."""
    plain = remove_formatting(texts)
    return cut_to_words(plain, choose_length(plain))
