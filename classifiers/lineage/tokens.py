"""Cutting answers into tokens, and counting the n-grams of each one, in whole arrays.

Case, line breaks and marks count, because teachers differ in them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import pyarrow as pa
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


class _Numbers(dict[str, int]):
    """A dictionary that numbers its keys in the order in which they are asked for."""

    def __missing__(self, key: str) -> int:
        self[key] = number = len(self)
        return number


def tokenise(texts: Sequence[str]) -> TokenisedTexts:
    """Cut texts into tokens. The vocabulary is in order of first appearance."""
    vocabulary = _Numbers({OPENING: 0, CLOSING: 1})
    rows = [[0, *map(vocabulary.__getitem__, TOKEN.findall(text)), 1] for text in texts]
    sizes = [len(row) for row in rows]
    flat = np.fromiter(chain.from_iterable(rows), np.int64, sum(sizes))
    owner = np.repeat(np.arange(len(rows)), sizes)
    return TokenisedTexts(flat, owner, tuple(vocabulary), len(rows))


def count_grams(found: TokenisedTexts, size: int, fewest: int = 1) -> Grams:
    """Count each text's n-grams of `size` tokens. No n-gram crosses two texts.

    N-grams that occur less than `fewest` times are left out, which is faster.
    """
    places = np.arange(len(found.tokens))
    codes, known = found.tokens, np.arange(len(found.vocabulary))[:, None]
    for step in range(size):
        if step:
            inside = places + step < len(found.tokens)
            inside[inside] = found.owner[places[inside]] == found.owner[places[inside] + step]
            places, codes = places[inside], codes[inside]
            codes = codes * len(found.vocabulary) + found.tokens[places + step]
        kept, codes = _number(codes)
        known = _extend(known, kept, len(found.vocabulary)) if step else known[kept]
        if fewest > 1:
            enough = np.bincount(codes, minlength=len(kept)) >= fewest
            places, codes, known = places[enough[codes]], codes[enough[codes]], known[enough]
            codes = (np.cumsum(enough) - 1)[codes]
    ones = np.ones(len(codes), np.float32)
    shape = (found.texts, len(known))
    return Grams(csr_matrix((ones, (found.owner[places], codes)), shape=shape), known)


def _number(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct codes, sorted, and the number of each code among them.

    Arrow's hash table is several times as fast as `numpy.unique`, which sorts all codes.
    """
    encoded = pa.array(codes).dictionary_encode()
    distinct = encoded.dictionary.to_numpy()
    order = np.argsort(distinct, kind="stable")
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return distinct[order], ranks[encoded.indices.to_numpy()]


def _extend(known: np.ndarray, codes: np.ndarray, base: int) -> np.ndarray:
    """Return the tokens of n-grams whose codes are a shorter n-gram's number and a last token."""
    before, last = np.divmod(codes, base)
    return np.column_stack([known[before], last])


def write_gram(tokens: Sequence[int], vocabulary: Sequence[str]) -> str:
    """Return an n-gram as text: words with single blanks between, line breaks as `↵`."""
    words = [vocabulary[token] for token in tokens]
    return " ".join(SHOWN.get(word, word.replace("\n", "↵")) for word in words)
