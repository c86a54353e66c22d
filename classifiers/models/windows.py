"""Overlapping windows of tokens, and batches of windows with little padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

CHARS_PER_CALL = 1 << 20
"""How many characters each tokenizer call gets, which keeps its threads busy."""


class Window(NamedTuple):
    """A run of tokens from one text, with special tokens and the covered characters.

    `text` is the text's index.
    """

    text: int
    ids: list[int]
    start: int
    end: int


@dataclass
class BatchCounts:
    """How much a model has computed.

    `tokens` excludes padding, and `padded` includes it. `budget_cuts` counts how often memory ran
    out.
    """

    tokens: int = 0
    padded: int = 0
    windows: int = 0
    budget_cuts: int = 0

    def add(self, tokens: int, padded: int, windows: int) -> None:
        """Count one batch."""
        self.tokens += tokens
        self.padded += padded
        self.windows += windows

    @property
    def padding_waste(self) -> float:
        """Return the padding's share of all computed tokens."""
        return 1 - self.tokens / self.padded if self.padded else 0.0


def cut_windows(tokenizer: Any, texts: Sequence[str], size: int, overlap: int) -> list[Window]:
    """Cut texts into windows of at most `size` tokens, including special tokens.

    Neighbouring windows share `overlap` tokens. Every text has at least one window. The function
    changes the tokenizer's padding and truncation settings.
    """
    tokenizer.no_padding()
    tokenizer.enable_truncation(size, stride=overlap)
    return [
        window
        for first, batch in _batch_texts(texts)
        for index, encoding in enumerate(tokenizer.encode_batch(batch), first)
        for window in _list_windows(index, encoding)
    ]


def _batch_texts(texts: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    first, size = 0, 0
    for index, text in enumerate(texts):
        size += len(text)
        if size >= CHARS_PER_CALL:
            yield first, list(texts[first : index + 1])
            first, size = index + 1, 0
    if first < len(texts):
        yield first, list(texts[first:])


def _list_windows(text: int, encoding: Any) -> Iterator[Window]:
    for part in (encoding, *encoding.overflowing):
        offsets = part.offsets
        inside = [index for index, special in enumerate(part.special_tokens_mask) if not special]
        start, end = (offsets[inside[0]][0], offsets[inside[-1]][1]) if inside else (0, 0)
        yield Window(text, part.ids, start, end)


def plan_batches(lengths: Sequence[int], budget: int) -> list[np.ndarray]:
    """Group windows by length into batches of at most `budget` padded tokens.

    Each batch is an array of indexes into `lengths`. The longest windows come first, and windows of
    equal length are in index order. A window beyond the budget is a batch by itself.
    """
    order = np.lexsort((np.arange(len(lengths)), -np.asarray(lengths)))
    batches, first = [], 0
    while first < len(order):
        count = max(1, budget // lengths[order[first]])
        batches.append(order[first : first + count])
        first += count
    return batches


def pad_batch(ids: Sequence[list[int]], pad: int) -> tuple[np.ndarray, np.ndarray]:
    """Return token ids and attention mask, both int64 [windows, longest], padded on the right."""
    width = max(map(len, ids))
    tokens = np.full((len(ids), width), pad, np.int64)
    mask = np.zeros((len(ids), width), np.int64)
    for row, item in enumerate(ids):
        tokens[row, : len(item)] = item
        mask[row, : len(item)] = 1
    return tokens, mask
