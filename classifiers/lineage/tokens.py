"""Cutting answers into tokens, and counting the n-grams of each one, in whole arrays.

Case, line breaks and marks count, because teachers differ in them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

TOKEN = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\W\d_]+(?:['’][^\W\d_]+)*|\d+|\n+|[^\w\s]|_"
)
"""A word, a number, line breaks, a mark, or one character of a script without blanks."""

OPENING, CLOSING = "\x02", "\x03"
"""The tokens before the first and after the last token of a text."""

SHOWN = {OPENING: "⟨start⟩", CLOSING: "⟨end⟩"}


class TokenisedTexts(NamedTuple):
    """The tokens of texts, as indices into a vocabulary, and the text of each token.

    Both arrays are int64 [tokens]. A text's tokens are consecutive.
    """

    tokens: np.ndarray
    owner: np.ndarray
    vocabulary: tuple[str, ...]
    texts: int


class Grams(NamedTuple):
    """The n-grams of texts.

    `counts` is float32 [texts, n-grams]. `tokens` is int64 [n-grams, n], sorted row by row.
    """

    counts: csr_matrix
    tokens: np.ndarray


def tokenise(texts: Sequence[str]) -> TokenisedTexts:
    """Cut texts into tokens. The vocabulary is in order of first appearance."""
    vocabulary: dict[str, int] = {OPENING: 0, CLOSING: 1}
    rows = []
    for text in texts:
        found = TOKEN.findall(text)
        rows.append([0, *(vocabulary.setdefault(token, len(vocabulary)) for token in found), 1])
    sizes = [len(row) for row in rows]
    flat = np.fromiter((token for row in rows for token in row), np.int64, sum(sizes))
    owner = np.repeat(np.arange(len(rows)), sizes)
    return TokenisedTexts(flat, owner, tuple(vocabulary), len(rows))


def count_grams(found: TokenisedTexts, size: int) -> Grams:
    """Count each text's n-grams of `size` tokens. No n-gram crosses two texts."""
    codes, known = found.tokens, np.arange(len(found.vocabulary))[:, None]
    for step in range(1, size):
        codes = codes[:-1] * len(found.vocabulary) + found.tokens[step:]
        codes = np.where(found.owner[:-step] == found.owner[step:], codes, -1)
        kept, codes = np.unique(codes, return_inverse=True)
        known = _extend(known, kept, len(found.vocabulary))
    inside = found.owner[: len(codes)] == found.owner[size - 1 :]
    numbers, columns = np.unique(codes[inside], return_inverse=True)
    shape = (found.texts, len(numbers))
    ones = np.ones(len(columns), np.float32)
    counts = csr_matrix((ones, (found.owner[: len(codes)][inside], columns)), shape=shape)
    return Grams(counts, known[numbers])


def _extend(known: np.ndarray, codes: np.ndarray, base: int) -> np.ndarray:
    """Return the tokens of n-grams whose codes are a shorter n-gram's number and a last token."""
    before, last = np.divmod(np.maximum(codes, 0), base)
    return np.column_stack([known[before], last])


def write_gram(tokens: Sequence[int], vocabulary: Sequence[str]) -> str:
    """Return an n-gram as text: words with single blanks between, line breaks as `↵`."""
    words = [vocabulary[token] for token in tokens]
    return " ".join(SHOWN.get(word, word.replace("\n", "↵")) for word in words)
