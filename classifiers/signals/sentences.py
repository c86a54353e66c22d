"""Cutting texts into sentences, and hashing the word n-grams of each sentence, in whole arrays."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LONGEST = 48
"""The largest number of tokens in a sentence. A longer sentence is cut into several."""

AT_ONCE = 1 << 16
"""How many characters are processed at once, so that the arrays fit in a processor's cache."""

PIECE = 1 << 20
"""How many characters of a text are read in one piece. A sentence doesn't cross two pieces."""

PLANE = 1 << 16
BLANK, WORD, MARK, IDEOGRAPH = range(4)
ALWAYS, BEFORE_BLANK = 1, 2

BASE = np.uint64(0x9E3779B97F4A7C15)
MIXER = np.uint64(0xBF58476D1CE4E5B9)
SHIFT = np.uint64(31)
OPENING = np.uint64(0xD1B54A32D192ED03)
"""The hash that stands for the token before a sentence's first one."""

LOOK_ALIKES = str.maketrans("‘’“”–—。！？؟،।", "''\"\"--.!??,.")
UNSPACED = (
    *((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x2FDF), (0x3040, 0x30FF)),
    *((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xAC00, 0xD7AF), (0xF900, 0xFAFF)),
)
"""Unicode blocks in which each character is a token: Thai to Khmer, Chinese, Japanese, Korean."""


@dataclass(frozen=True)
class Sentences:
    """The sentences of some texts, in order, and the hashes of their n-grams.

    `text` is the index of a sentence's text, `start` and `end` are its span in characters, and
    `length` is its number of tokens; all are int64 [sentences]. `grams` is uint64 [n-grams], and
    `owner` is the sentence of each n-gram. An n-gram consists of one, two or three tokens; the
    beginning of a sentence counts as a token in pairs.
    """

    text: np.ndarray
    start: np.ndarray
    end: np.ndarray
    length: np.ndarray
    grams: np.ndarray
    owner: np.ndarray

    def __len__(self) -> int:
        """Return the number of sentences."""
        return len(self.length)


class _Characters(NamedTuple):
    """The kind, the folded code, and the effect on sentences of each character up to U+FFFF."""

    kinds: np.ndarray
    folded: np.ndarray
    stops: np.ndarray


@cache
def _describe_characters() -> _Characters:
    kinds = np.full(PLANE, MARK, np.uint8)
    folded = np.arange(PLANE, dtype=np.uint64)
    for code in range(PLANE):
        kinds[code], folded[code] = _describe_character(chr(code))
    for begin, end in UNSPACED:
        block = kinds[begin : end + 1]
        block[block == WORD] = IDEOGRAPH
    stops = np.zeros(PLANE, np.uint8)
    stops[[ord(mark) for mark in ".!?؟"]] = BEFORE_BLANK
    stops[[ord(mark) for mark in "\n\u2028\u2029。！？।"]] = ALWAYS
    return _Characters(kinds, folded, stops)


def _describe_character(character: str) -> tuple[int, int]:
    """Return a character's kind and its folded code: lower case, with all digits alike."""
    plain = unicodedata.normalize("NFKC", character).translate(LOOK_ALIKES).lower()
    code = ord(plain) if len(plain) == 1 else ord(character)
    category = unicodedata.category(character)
    if category == "Nd":
        return WORD, ord("0")
    if category[0] in "LMN" or plain in ("_", "'"):
        return WORD, code
    if character.isspace() or category[0] in "CZ":
        return BLANK, 0
    return MARK, code


@cache
def _raise_base(bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first 2^bits powers of the base modulo 2^64, and their inverses."""
    inverse = np.uint64(pow(int(BASE), -1, 1 << 64))
    powers, inverses = np.full(1 << bits, BASE), np.full(1 << bits, inverse)
    powers[0] = inverses[0] = 1
    return np.cumprod(powers, dtype=np.uint64), np.cumprod(inverses, dtype=np.uint64)


def _mix(values: np.ndarray) -> np.ndarray:
    """Scramble hashes, so that their low bits depend on all bits."""
    values = (values ^ (values >> SHIFT)) * MIXER
    return np.asarray(values ^ (values >> SHIFT))


def find_sentences(texts: pa.LargeStringArray) -> Sentences:
    """Cut texts into sentences, and hash their n-grams.

    A sentence ends at a line break, at a full stop of Chinese, Japanese or Hindi, and at other
    final marks before a blank. A token is a word, or one character if it is a mark or belongs to a
    script without blanks between words. Case and the kind of quotation mark don't count, and all
    digits are alike. Equal n-grams have equal hashes on every machine.
    """
    parts = list(cut_sentences(texts))
    before = np.cumsum([0, *map(len, parts)])
    shifted = [
        replace(part, owner=part.owner + count)
        for part, count in zip(parts, before.tolist(), strict=False)
    ]
    return Sentences(
        *(
            np.concatenate([getattr(part, item.name) for part in shifted])
            for item in fields(Sentences)
        )
    )


def cut_sentences(texts: pa.LargeStringArray) -> Iterator[Sentences]:
    """Yield the sentences of texts in blocks of whole texts; see `find_sentences`."""
    sizes = pc.utf8_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)
    if len(sizes) and sizes.max() > PIECE:
        yield _find_in_pieces(texts, sizes)
        return
    groups = np.cumsum(sizes) // AT_ONCE
    edges = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(texts)]
    for begin, end in pairwise(edges):
        yield _find_in_block(texts.slice(begin, end - begin), sizes[begin:end], begin)


def _find_in_pieces(texts: pa.LargeStringArray, sizes: np.ndarray) -> Sentences:
    """Return the sentences of texts of which some are longer than a piece."""
    counts = np.maximum(1, -(-sizes // PIECE))
    index = np.repeat(np.arange(len(sizes)), counts)
    number = np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)
    pieces = [
        pc.utf8_slice_codeunits(texts.slice(text, 1), piece * PIECE, (piece + 1) * PIECE)
        for text, piece in zip(index.tolist(), number.tolist(), strict=True)
    ]
    found = find_sentences(pa.concat_arrays(pieces))
    before = number[found.text] * PIECE
    return replace(
        found, text=index[found.text], start=found.start + before, end=found.end + before
    )


def _find_in_block(texts: pa.LargeStringArray, sizes: np.ndarray, first: int) -> Sentences:
    """Return the sentences of texts that are processed at once; `first` is the first text's index.

    The hash of a token is a polynomial of its characters' codes, so the tokens' hashes are
    differences of running sums. Blanks count as zero.
    """
    codes = read_codes(texts)
    begins = np.cumsum(sizes) - sizes
    opens = np.zeros(len(codes) + 1, bool)
    opens[begins] = True
    known = codes if codes.dtype == np.uint8 else np.minimum(codes, PLANE - 1)
    kinds, folded, stops = (np.take(table, known) for table in _describe_characters())
    if known is not codes:
        kinds[codes >= PLANE] = IDEOGRAPH
        folded[codes >= PLANE] = codes[codes >= PLANE]
    starts = _find_tokens(kinds, opens)
    if not len(starts):
        none = np.empty(0, np.int64)
        return Sentences(none, none, none, none, np.empty(0, np.uint64), none)
    powers, inverses = _raise_base(max(12, len(codes).bit_length()))
    sums = np.cumsum(folded * powers[: len(codes)], dtype=np.uint64)
    before = np.where(starts > 0, sums[starts - 1], np.uint64(0))
    tokens = _mix((np.append(before[1:], sums[-1]) - before) * inverses[starts])
    heads = _find_heads(_find_beginnings(kinds, stops, opens), starts)
    owner = np.repeat(np.arange(len(heads)), np.diff(np.append(heads, len(tokens))))
    text = np.searchsorted(begins, starts[heads], "right") - 1
    solid = np.flatnonzero(kinds != BLANK)
    limits = np.append(starts[heads[1:]], len(codes))
    ends = solid[np.searchsorted(solid, limits) - 1] + 1
    length = np.diff(np.append(heads, len(tokens)))
    grams, owners = _hash_grams(tokens, owner, heads)
    return Sentences(
        text + first, starts[heads] - begins[text], ends - begins[text], length, grams, owners
    )


def read_codes(texts: pa.LargeStringArray) -> np.ndarray:
    """Return the code points of all texts together, as uint32, or as uint8 if all are ASCII."""
    if not len(texts):
        return np.empty(0, np.uint8)
    offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset :][: len(texts) + 1]
    data = memoryview(texts.buffers()[2] or b"")[offsets[0] : offsets[-1]]
    codes = np.frombuffer(data, np.uint8)
    if not len(codes) or codes.max() < 128:
        return codes
    return np.frombuffer(str(data, "utf-8").encode("utf-32-le"), np.uint32)


def _find_tokens(kinds: np.ndarray, opens: np.ndarray) -> np.ndarray:
    """Return where tokens begin."""
    begins = kinds >= MARK
    word = kinds == WORD
    begins |= word & ~np.append(False, word[:-1])
    begins |= word & opens[:-1]
    return np.flatnonzero(begins)


def _find_beginnings(kinds: np.ndarray, stops: np.ndarray, opens: np.ndarray) -> np.ndarray:
    """Return the ascending indexes of the characters that begin a sentence or a text."""
    blank_next = np.append(kinds[1:] == BLANK, True) | opens[1:]
    ends = (stops == ALWAYS) | ((stops == BEFORE_BLANK) & blank_next)
    return np.flatnonzero(np.append(False, ends[:-1]) | opens[:-1])


def _find_heads(beginnings: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the first token of every sentence, after cutting long ones.

    `beginnings` are the characters that begin sentences, and `starts` those that begin tokens.
    """
    heads = np.searchsorted(starts, beginnings)
    heads = heads[: np.searchsorted(heads, len(starts))]
    heads = heads[np.append(heads[1:] != heads[:-1], True)]
    sizes = np.diff(np.append(heads, len(starts)))
    pieces = -(-sizes // LONGEST)
    number = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    return np.asarray(np.repeat(heads, pieces) + number * LONGEST)


def _hash_grams(
    tokens: np.ndarray, owner: np.ndarray, heads: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the hashes of the n-grams, and the sentence of each."""
    previous = np.append(OPENING, tokens[:-1])
    previous[heads] = OPENING
    pairs = _mix(previous * MIXER + tokens)
    inner = np.flatnonzero(np.append(False, owner[1:] == owner[:-1]))
    triples = _mix(pairs[inner - 1] * BASE + tokens[inner])
    return np.concatenate([tokens, pairs, triples]), np.concatenate([owner, owner, owner[inner]])
