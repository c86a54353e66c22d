"""The tokens of whole texts as arrays, from a tokenizer and a memory of words."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.models.word_memory import WordMemory, find_literals

CHARS_PER_CALL = 1 << 20
"""How many characters each tokenizer call gets, which keeps its threads busy."""

MOST_UNUSUAL = 0.3
"""A text with a larger share of bytes outside ASCII is split by the tokenizer itself.

Chinese and Japanese have no blanks between words, so a memory of words has few of theirs.
"""


class TextTokens(NamedTuple):
    """The tokens of texts in order, without special tokens.

    `ids`, `starts` and `ends` are int32 [tokens]; positions are in characters of the token's text.
    Text number t has the tokens from `bounds[t]` to `bounds[t + 1]`, int64 [texts + 1].
    """

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    bounds: np.ndarray


class TextTokenizer:
    """A fast tokenizer that remembers the words it has split, where that changes nothing.

    `prefix` and `suffix` are the special tokens around every text.
    """

    def __init__(self, backend: Any) -> None:
        """Take over a tokenizer of the `tokenizers` package, whose settings are changed."""
        backend.no_padding()
        backend.no_truncation()
        self.backend = backend
        self.prefix, self.suffix = _find_special_tokens(backend)
        self._literals = find_literals(backend)
        self._memory = None if self._literals is None else WordMemory(self._split_words)
        self._turn = threading.Lock()

    def tokenise(self, texts: Sequence[str] | pa.LargeStringArray) -> TextTokens:
        """Return the tokens of texts, equal to those that the tokenizer gives each whole text."""
        if not isinstance(texts, pa.Array):
            texts = pa.array(texts, pa.large_string())
        if self._memory is None:
            return self._tokenise_whole(texts)
        unusual = _find_unusual(texts, self._literals or ())
        if not unusual.any():
            return self._recall(texts)
        usual = np.flatnonzero(~unusual)
        parts = [
            self._recall(texts.take(pa.array(usual))),
            self._tokenise_whole(texts.filter(pa.array(unusual))),
        ]
        return reorder(join_tokens(parts), np.concatenate([usual, np.flatnonzero(unusual)]))

    def _recall(self, texts: pa.LargeStringArray) -> TextTokens:
        assert self._memory is not None
        with self._turn:  # threads share the memory
            return join_tokens([TextTokens(*part) for part in self._memory.split(texts)])

    def _split_words(self, words: Sequence[str]) -> TextTokens:
        """Return the tokens of words, which are faster to split as one text with blanks."""
        whole = self._tokenise_whole(pa.array([" ".join(words)], pa.large_string()))
        sizes = np.array([len(word) + 1 for word in words], np.int32)
        begins = (np.cumsum(sizes) - sizes).astype(np.int32)
        bounds = np.searchsorted(whole.starts, np.append(begins, sizes.sum()))
        before = np.repeat(begins, np.diff(bounds))
        return TextTokens(whole.ids, whole.starts - before, whole.ends - before, bounds)

    def _tokenise_whole(self, texts: pa.LargeStringArray) -> TextTokens:
        ids, spans, counts = [np.empty(0, np.int32)], [np.empty((0, 2), np.int32)], [0]
        for batch in _batch_texts(texts.to_pylist()):
            for found in self.backend.encode_batch(batch, add_special_tokens=False):
                ids.append(np.array(found.ids, np.int32))
                spans.append(np.array(found.offsets, np.int32).reshape(-1, 2))
                counts.append(len(found))
        starts, ends = np.concatenate(spans).T
        return TextTokens(np.concatenate(ids), starts, ends, np.cumsum(counts))


def _find_special_tokens(backend: Any) -> tuple[list[int], list[int]]:
    """Return the ids of the special tokens before and after a text."""
    encoding = backend.encode("a")
    special = encoding.special_tokens_mask
    before = special.index(0) if 0 in special else len(special)
    after = special[::-1].index(0) if 0 in special else 0
    return encoding.ids[:before], encoding.ids[len(special) - after :]


def _find_unusual(texts: pa.LargeStringArray, literals: Sequence[str]) -> np.ndarray:
    """Return a mask of the texts that a memory of words is no help with.

    These contain a special token's text, or many characters outside ASCII.
    """
    offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset :][: len(texts) + 1]
    data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    counts = np.concatenate([[0], np.cumsum(data >= 0x80, dtype=np.int64)])
    foreign = np.diff(counts[offsets - offsets[0]])
    unusual = foreign > MOST_UNUSUAL * np.diff(offsets)
    whole = bytes(data)
    for literal in literals:
        if literal.encode() in whole:
            unusual |= pc.match_substring(texts, literal).to_numpy(zero_copy_only=False)
    return np.asarray(unusual)


def _batch_texts(texts: Sequence[str]) -> Iterator[list[str]]:
    first, size = 0, 0
    for index, text in enumerate(texts):
        size += len(text)
        if size >= CHARS_PER_CALL:
            yield list(texts[first : index + 1])
            first, size = index + 1, 0
    if first < len(texts):
        yield list(texts[first:])


def join_tokens(parts: Sequence[TextTokens]) -> TextTokens:
    """Return the tokens of several groups of texts as those of one group."""
    if len(parts) == 1:
        return parts[0]
    before = np.cumsum([0, *(len(part.ids) for part in parts)])
    none, zero = np.empty(0, np.int32), np.zeros(1, np.int64)
    ids, starts, ends = (
        np.concatenate([none, *(part[column] for part in parts)]) for column in range(3)
    )
    shifted = [part.bounds[1:] + count for part, count in zip(parts, before.tolist(), strict=False)]
    return TextTokens(ids, starts, ends, np.concatenate([zero, *shifted]))


def reorder(tokens: TextTokens, places: np.ndarray) -> TextTokens:
    """Return the same tokens with the texts in another order; `places` are their new indexes."""
    order = np.argsort(places)
    chosen = list_runs(tokens.bounds[:-1][order], np.diff(tokens.bounds)[order])
    bounds = np.concatenate([[0], np.cumsum(np.diff(tokens.bounds)[order])])
    return TextTokens(tokens.ids[chosen], tokens.starts[chosen], tokens.ends[chosen], bounds)


def list_runs(firsts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return runs of consecutive integers: for each first one, as many as its count."""
    before = np.cumsum(counts) - counts
    return np.asarray(np.repeat(firsts - before, counts) + np.arange(counts.sum()))
