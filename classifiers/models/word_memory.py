"""A memory of how a tokenizer splits words, looked up for whole arrays of words at once.

Tokenizers of BERT's kind treat each stretch between blanks and ASCII marks on its own. Their tokens
of a text are therefore those of its stretches, and most stretches have occurred before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

AT_ONCE = 1 << 16
"""How many bytes are split at once, so that the arrays fit in a processor's cache."""

KEY_BYTES = 15
"""Words up to this length are compared as two integers; longer ones are looked up one by one."""

MOST_WORDS = 1 << 18
"""How many words are remembered before the memory starts over, which bounds it to some 80 MB."""

SLOTS = 1 << 20
BLANK, MARK, LETTER = range(3)
MIXERS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))

KINDS = np.full(256, LETTER, np.uint8)
KINDS[[ord(character) for character in " \t\n\r"]] = BLANK
KINDS[[*range(33, 48), *range(58, 65), *range(91, 97), *range(123, 127)]] = MARK

MASKS = np.array([(1 << 8 * size) - 1 for size in range(8)] + [(1 << 64) - 1], np.uint64)
"""For each length up to 8, the bits of a little-endian word that its bytes fill."""

Split = Callable[[Sequence[str]], Any]
"""Returns the `TextTokens` of words."""


def find_literals(backend: Any) -> tuple[str, ...] | None:
    """Return the texts that a tokenizer looks for before it splits a text, such as `[SEP]`.

    Returns None if its tokens of a text may differ from those of the text's stretches.
    """
    settings = json.loads(backend.to_str())
    kinds = [(settings.get(name) or {}).get("type") for name in ("normalizer", "pre_tokenizer")]
    added = settings.get("added_tokens") or []
    plain = not any(
        token[flag] for token in added for flag in ("single_word", "lstrip", "rstrip", "normalized")
    )
    if kinds != ["BertNormalizer", "BertPreTokenizer"] or not plain:
        return None
    if settings["model"].get("type") != "WordPiece":
        return None
    return tuple(token["content"] for token in added)


class _Stretches(NamedTuple):
    """The words of some texts: where each begins and ends in their bytes, and counts by text."""

    starts: np.ndarray
    ends: np.ndarray
    bounds: np.ndarray


class WordMemory:
    """The tokens of the words seen so far.

    A word is found through two tables of slots, and compared whole, so two words are never mistaken
    for each other.
    """

    def __init__(self, split: Split) -> None:
        """Begin without words; `split` returns the tokens of new ones."""
        self._split = split
        self._clear()

    def _clear(self) -> None:
        self._size = self._pieces = 0
        self._keys = np.zeros((2, 1 << 12), np.uint64)
        self._first = np.zeros(1 << 12, np.int64)
        self._count = np.zeros(1 << 12, np.int64)
        self._tokens = np.zeros((3, 1 << 13), np.int32)
        self._slots = np.full((2, SLOTS), -1, np.int32)
        self._entries: dict[bytes, int] = {}

    def __len__(self) -> int:
        """Return the number of words."""
        return self._size

    def split(self, texts: pa.LargeStringArray) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield the fields of `TextTokens` for blocks of whole texts, in order."""
        offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset :][: len(texts) + 1]
        if not len(texts):
            yield (*(np.empty(0, np.int32) for _ in range(3)), np.zeros(1, np.int64))
            return
        data = memoryview(texts.buffers()[2] or b"")
        groups = (offsets[1:] - offsets[0]) // AT_ONCE
        edges = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(texts)]
        for begin, end in pairwise(edges):
            block = bytes(data[offsets[begin] : offsets[end]])
            yield self._split_block(block, offsets[begin : end + 1] - offsets[begin])

    def _split_block(self, block: bytes, offsets: np.ndarray) -> tuple[np.ndarray, ...]:
        words = _find_words(np.frombuffer(block, np.uint8), offsets)
        entries = self._look_up(block, words)
        counts = self._count.take(entries)
        before = np.cumsum(counts) - counts
        chosen = np.repeat(self._first.take(entries) - before, counts) + np.arange(counts.sum())
        ids, starts, ends = (column.take(chosen) for column in self._tokens)
        texts = np.repeat(offsets[:-1], np.diff(words.bounds))
        places = np.repeat(_count_characters(block, texts, words.starts), counts)
        bounds = np.append(before, len(ids))[words.bounds]
        return ids, starts + places, ends + places, bounds

    def _look_up(self, block: bytes, words: _Stretches) -> np.ndarray:
        """Return the entry of every word, after adding the new ones."""
        if self._size > MOST_WORDS:
            self._clear()
        keys = _read_keys(block, words)
        entries = self._find(keys)
        if len(missing := np.flatnonzero(entries < 0)):
            starts, ends = words.starts[missing].tolist(), words.ends[missing].tolist()
            texts = [block[start:end] for start, end in zip(starts, ends, strict=True)]
            places = dict(zip(texts, missing.tolist(), strict=True))
            if new := [text for text in places if text not in self._entries]:
                self._add(new, keys[:, [places[text] for text in new]])
            entries[missing] = [self._entries[text] for text in texts]
        return entries

    def _find(self, keys: np.ndarray) -> np.ndarray:
        """Return the entries of keys that have a slot, and -1 for the others."""
        entries = np.full(keys.shape[1], -1, np.int32)
        for slots, places in zip(self._slots, _choose_slots(keys), strict=True):
            found = slots.take(places)
            first, second = (column.take(np.maximum(found, 0)) for column in self._keys)
            same = (found >= 0) & (first == keys[0]) & (second == keys[1])
            entries[same] = found[same]
        return entries

    def _add(self, words: Sequence[bytes], keys: np.ndarray) -> None:
        tokens = self._split([word.decode() for word in words])
        first, pieces = self._size, self._pieces
        self._size, self._pieces = first + len(words), pieces + len(tokens.ids)
        self._keys = _grow(self._keys, self._size)
        self._first, self._count = _grow(self._first, self._size), _grow(self._count, self._size)
        self._tokens = _grow(self._tokens, self._pieces)
        self._keys[:, first : self._size] = keys
        self._tokens[:, pieces : self._pieces] = tokens[:3]
        self._first[first : self._size] = tokens.bounds[:-1] + pieces
        self._count[first : self._size] = np.diff(tokens.bounds)
        entries = np.arange(first, self._size, dtype=np.int32)
        self._entries.update(zip(words, entries.tolist(), strict=True))
        short = keys[1] != 0
        self._place(keys[:, short], entries[short])

    def _place(self, keys: np.ndarray, entries: np.ndarray) -> None:
        """Give words a slot in a table, if one is free; other words are only in `_entries`."""
        for slots, places in zip(self._slots, _choose_slots(keys), strict=True):
            waiting = np.flatnonzero(slots[places] < 0)
            slots[places[waiting]] = entries[waiting]


def _find_words(data: np.ndarray, offsets: np.ndarray) -> _Stretches:
    """Cut texts at blanks, around ASCII marks, and where another text begins."""
    kinds = KINDS.take(data)
    letters, marks = kinds == LETTER, kinds == MARK
    opens = np.zeros(len(data) + 1, bool)
    opens[offsets] = True
    begins, ends = letters | marks, letters | marks
    begins[1:] &= ~(letters[1:] & letters[:-1]) | opens[1:-1]
    ends[:-1] &= ~(letters[1:] & letters[:-1]) | opens[1:-1]
    starts = np.flatnonzero(begins)
    return _Stretches(starts, np.flatnonzero(ends) + 1, np.searchsorted(starts, offsets))


def _read_keys(block: bytes, words: _Stretches) -> np.ndarray:
    """Return each word as two integers, uint64 [2, words]; a long word has zeros.

    The last byte is the word's length, because a word may end with a character U+0000.
    """
    padded = block + bytes(KEY_BYTES + 1)
    # an integer begins at every byte of the block
    integers = np.ndarray((len(block) + 8,), "<u8", padded, strides=(1,))
    sizes = words.ends - words.starts
    short = sizes <= KEY_BYTES
    first = integers.take(words.starts) & MASKS.take(np.minimum(sizes, 8))
    second = integers.take(words.starts + 8) & MASKS.take(np.clip(sizes - 8, 0, 7))
    second |= sizes.astype(np.uint64) << np.uint64(56)
    return np.asarray(np.stack([first, second]) * short)


def _choose_slots(keys: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the slots of keys in each table."""
    for mixer in MIXERS:
        mixed = (keys[0] ^ (keys[1] * mixer)) * mixer
        yield ((mixed ^ (mixed >> np.uint64(32))) & np.uint64(SLOTS - 1)).view(np.int64)


def _count_characters(block: bytes, texts: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return bytes' places in their texts in characters; `texts` is where their texts begin."""
    if block.isascii():
        return np.asarray(places - texts, np.int32)
    begins = (np.frombuffer(block, np.uint8) & 0xC0) != 0x80
    counts = np.append(0, np.cumsum(begins, dtype=np.int32))
    return np.asarray(counts.take(places) - counts.take(texts))


def _grow(values: np.ndarray, size: int) -> np.ndarray:
    """Return an array with room for at least `size` values on its last axis."""
    room = values.shape[-1]
    if size <= room:
        return values
    grown = np.zeros((*values.shape[:-1], max(size, 2 * room)), values.dtype)
    grown[..., :room] = values
    return grown
