"""Cutting texts into tokens, and hashing their n-grams, in whole arrays.

Unlike the tokens of `signals/sentences`, these keep digits apart and cross sentences, because a
habit may lie in numbers or in how sentences follow each other.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.signals.sentences import read_codes

AT_ONCE = 1 << 18
"""How many characters are processed at once, so that the arrays fit in a processor's cache."""

PLANE = 1 << 16
BLANK, WORD, MARK, IDEOGRAPH = range(4)

LOOK_ALIKES = str.maketrans("‘’“”", "''\"\"")
UNSPACED = (
    *((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x2FDF), (0x3040, 0x30FF)),
    *((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xAC00, 0xD7AF), (0xF900, 0xFAFF)),
)
"""Unicode blocks in which each character is a token: Thai to Khmer, Chinese, Japanese, Korean."""

PLACE = np.uint64(0x9E3779B97F4A7C15)
MIXER = np.uint64(0xBF58476D1CE4E5B9)
CHAIN = np.uint64(0xD1B54A32D192ED03)
SHIFT = np.uint64(31)


@dataclass(frozen=True)
class LotTokens:
    """The tokens of some texts, in order.

    `text` is the index of a token's text, and `start` and `end` are its span in characters; all are
    int64 [tokens]. `hashes` is uint64 [tokens].
    """

    text: np.ndarray
    start: np.ndarray
    end: np.ndarray
    hashes: np.ndarray

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.hashes)

    def with_hashes(self, hashes: np.ndarray) -> LotTokens:
        """Return the same tokens with other hashes."""
        return replace(self, hashes=hashes)

    def count_by_text(self, texts: int) -> np.ndarray:
        """Return the number of tokens of each of this many texts."""
        return np.bincount(self.text, minlength=texts)


def mix(values: np.ndarray) -> np.ndarray:
    """Scramble hashes, so that their low bits depend on all bits."""
    values = (values ^ (values >> SHIFT)) * MIXER
    return np.asarray(values ^ (values >> SHIFT))


@cache
def _describe_characters() -> tuple[np.ndarray, np.ndarray]:
    """Return the kind and the folded code of each character up to U+FFFF."""
    kinds = np.full(PLANE, MARK, np.uint8)
    folded = np.arange(PLANE, dtype=np.uint64)
    for code in range(PLANE):
        kinds[code], folded[code] = _describe_character(chr(code))
    for begin, end in UNSPACED:
        block = kinds[begin : end + 1]
        block[block == WORD] = IDEOGRAPH
    return kinds, folded


def _describe_character(character: str) -> tuple[int, int]:
    plain = unicodedata.normalize("NFKC", character).translate(LOOK_ALIKES).lower()
    code = ord(plain) if len(plain) == 1 else ord(character)
    category = unicodedata.category(character)
    if category[0] in "LMN" or plain in ("_", "'"):
        return WORD, code
    if character.isspace() or category[0] in "CZ":
        return BLANK, 0
    return MARK, code


def cut_tokens(texts: pa.LargeStringArray) -> Iterator[LotTokens]:
    """Yield the tokens of texts in blocks of whole texts.

    A token is a word, a run of one mark (`###`), or one character of a script without blanks
    between words. Case and the kind of quotation mark don't count. Equal tokens have equal hashes
    on every machine.
    """
    sizes = pc.utf8_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)
    groups = np.cumsum(sizes) // AT_ONCE
    edges = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(texts)]
    for begin, end in pairwise(edges):
        if end > begin:
            yield _cut_block(texts.slice(begin, end - begin), sizes[begin:end], begin)


def find_tokens(texts: pa.LargeStringArray) -> LotTokens:
    """Return the tokens of all texts at once; see `cut_tokens`."""
    none = np.empty(0, np.int64)
    blocks = [LotTokens(none, none, none, np.empty(0, np.uint64)), *cut_tokens(texts)]
    names = ("text", "start", "end", "hashes")
    return LotTokens(*(np.concatenate([getattr(item, name) for item in blocks]) for name in names))


def _cut_block(texts: pa.LargeStringArray, sizes: np.ndarray, first: int) -> LotTokens:
    """Return the tokens of texts that are processed at once; `first` is the first text's index."""
    codes = read_codes(texts)
    begins = np.cumsum(sizes) - sizes
    known = codes if codes.dtype == np.uint8 else np.minimum(codes, PLANE - 1)
    kinds, folded = (np.take(table, known) for table in _describe_characters())
    if known is not codes:
        beyond = codes >= PLANE
        kinds[beyond], folded[beyond] = IDEOGRAPH, codes[beyond]
    starts, ends = _find_bounds(kinds, folded, begins[begins < len(codes)])
    if not len(starts):
        none = np.empty(0, np.int64)
        return LotTokens(none, none, none, np.empty(0, np.uint64))
    lengths = ends - starts
    inside = kinds != BLANK  # every other character belongs to a token
    places = np.flatnonzero(inside) - np.repeat(starts, lengths)
    values = mix((folded[inside] + np.uint64(1)) * CHAIN + places.astype(np.uint64) * PLACE)
    hashes = mix(np.add.reduceat(values, np.cumsum(lengths) - lengths))
    text = np.searchsorted(begins, starts, "right") - 1
    return LotTokens(text + first, starts - begins[text], ends - begins[text], hashes)


def _find_bounds(
    kinds: np.ndarray, folded: np.ndarray, opens: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return where tokens begin and end. `opens` are the first characters of texts."""
    if not len(kinds):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    same = kinds[1:] == kinds[:-1]
    same &= (kinds[1:] != MARK) | (folded[1:] == folded[:-1])
    same &= kinds[1:] != IDEOGRAPH
    joined = np.append(False, same)
    joined[opens] = False
    begins = np.flatnonzero(~joined)
    ends = np.append(begins[1:], len(kinds))
    solid = kinds[begins] != BLANK
    return begins[solid], ends[solid]


def extend_grams(grams: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Return the hashes of n-grams with one more token each."""
    return mix(grams * CHAIN + tokens)


def hash_grams(tokens: LotTokens, longest: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the n-grams of 1, 2, ... tokens: the index of each one's first token, and its hash.

    N-grams don't cross texts.
    """
    places = np.arange(len(tokens))
    grams = tokens.hashes
    yield places, grams
    for size in range(2, longest + 1):
        kept = places[: np.searchsorted(places, len(tokens) - size + 1)]
        fits = tokens.text[kept] == tokens.text[kept + size - 1]
        grams = extend_grams(grams[: len(kept)][fits], tokens.hashes[kept[fits] + size - 1])
        places = kept[fits]
        yield places, grams


def drop_repeats(owners: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each pair of an owner and a number once, in order. Both must be below 2^31."""
    pairs = np.sort((owners.astype(np.int64) << 32) | numbers.astype(np.int64))
    if len(pairs):
        pairs = pairs[np.append(True, pairs[1:] != pairs[:-1])]
    return pairs >> 32, pairs & 0xFFFFFFFF
