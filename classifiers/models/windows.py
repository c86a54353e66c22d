"""Overlapping windows of tokens over texts, and batches of them that waste little padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

CHARS_PER_CALL = 1 << 20
"""Texts are handed to the tokenizer in batches of about this many characters: enough to keep its threads busy."""


class Window(NamedTuple):
    """Some tokens of one text, special tokens included, and the characters they cover."""

    text: int
    ids: list[int]
    start: int
    end: int


@dataclass
class BatchCounts:
    """What went through a model: tokens that count, tokens computed with padding, windows, and budget cuts after running out of memory."""

    tokens: int = 0
    padded: int = 0
    windows: int = 0
    budget_cuts: int = 0

    def add(self, tokens: int, padded: int, windows: int) -> None:
        """Count a batch."""
        self.tokens += tokens
        self.padded += padded
        self.windows += windows

    @property
    def padding_waste(self) -> float:
        """Return the share of computed tokens that were padding."""
        return 1 - self.tokens / self.padded if self.padded else 0.0


def cut_windows(tokenizer: Any, texts: Sequence[str], size: int, overlap: int) -> list[Window]:
    """Tokenise texts into windows of at most `size` tokens (special ones included) that share `overlap` tokens.

    Every text yields at least one window. The tokenizer's truncation settings are changed.
    """
    tokenizer.no_padding()
    tokenizer.enable_truncation(size, stride=overlap)
    return [
        window
        for first, batch in _batched(texts)
        for place, encoding in enumerate(tokenizer.encode_batch(batch), first)
        for window in _windows(place, encoding)
    ]


def _batched(texts: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    first, size = 0, 0
    for place, text in enumerate(texts):
        size += len(text)
        if size >= CHARS_PER_CALL:
            yield first, list(texts[first : place + 1])
            first, size = place + 1, 0
    if first < len(texts):
        yield first, list(texts[first:])


def _windows(place: int, encoding: Any) -> Iterator[Window]:
    for part in (encoding, *encoding.overflowing):
        offsets = part.offsets
        inside = [at for at, special in enumerate(part.special_tokens_mask) if not special]
        start, end = (offsets[inside[0]][0], offsets[inside[-1]][1]) if inside else (0, 0)
        yield Window(place, part.ids, start, end)


def plan_batches(lengths: Sequence[int], budget: int) -> list[np.ndarray]:
    """Group windows of similar length so that length × count stays within `budget` tokens; longest first, ties by place."""
    order = np.lexsort((np.arange(len(lengths)), -np.asarray(lengths)))
    batches, at = [], 0
    while at < len(order):
        count = max(1, budget // lengths[order[at]])
        batches.append(order[at : at + count])
        at += count
    return batches


def padded(
    ids: Sequence[list[int]], pad: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and attention mask, both int64 [windows, longest], padded on the right."""
    width = max(map(len, ids))
    tokens = np.full((len(ids), width), pad, np.int64)
    mask = np.zeros((len(ids), width), np.int64)
    for row, item in enumerate(ids):
        tokens[row, : len(item)] = item
        mask[row, : len(item)] = 1
    return torch.from_numpy(tokens).to(device), torch.from_numpy(mask).to(device)
