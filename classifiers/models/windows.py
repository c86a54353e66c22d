"""Overlapping windows of tokens, and batches of windows with little padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from classifiers.models.tokens import TextTokenizer, list_runs


class Window(NamedTuple):
    """A run of tokens from one text, with special tokens and the covered characters.

    `text` is the text's index.
    """

    text: int
    ids: list[int]
    start: int
    end: int


class TokenRuns(NamedTuple):
    """Runs of token ids in one array: run number r is `ids[bounds[r] : bounds[r + 1]]`."""

    ids: np.ndarray
    bounds: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Return the length of every run."""
        return np.diff(self.bounds)

    def take(self, runs: np.ndarray) -> TokenRuns:
        """Return the runs at these indexes, in this order."""
        lengths = self.lengths[runs]
        chosen = list_runs(self.bounds[:-1][runs], lengths)
        return TokenRuns(self.ids.take(chosen), np.append(0, np.cumsum(lengths)))


def collect_runs(runs: Sequence[Sequence[int]] | TokenRuns) -> TokenRuns:
    """Return lists of token ids as one array."""
    if isinstance(runs, TokenRuns):
        return runs
    bounds = np.cumsum([0, *map(len, runs)])
    ids = np.concatenate([np.empty(0, np.int32), *(np.asarray(run, np.int32) for run in runs)])
    return TokenRuns(ids, bounds)


@dataclass(frozen=True, eq=False)
class Windows(Sequence[Window]):
    """Windows as parallel arrays: `texts`, `starts` and `ends` are as in `Window`."""

    texts: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    runs: TokenRuns

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: Any) -> Any:
        """Return one window, or the list of those in a slice."""
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        begin, end = self.runs.bounds[place : place + 2].tolist()
        ids = self.runs.ids[begin:end].tolist()
        return Window(int(self.texts[place]), ids, int(self.starts[place]), int(self.ends[place]))

    def __eq__(self, other: object) -> bool:
        """Compare with any sequence of windows."""
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    @property
    def spans(self) -> np.ndarray:
        """Return the windows' starts and ends, int32 [windows, 2]."""
        return np.stack([self.starts, self.ends], axis=1).astype(np.int32)

    def shift(self, starts: np.ndarray) -> Windows:
        """Return windows of parts of texts as windows of the texts; each part has its start."""
        more = np.asarray(starts)[self.texts] if len(self) else np.empty(0, np.int32)
        return Windows(self.texts, self.starts + more, self.ends + more, self.runs)


def collect_windows(windows: Sequence[Window]) -> Windows:
    """Return windows as parallel arrays."""
    if isinstance(windows, Windows):
        return windows
    texts, starts, ends = (
        np.array([getattr(window, name) for window in windows], np.int64)
        for name in ("text", "start", "end")
    )
    return Windows(texts, starts, ends, collect_runs([window.ids for window in windows]))


def join_windows(parts: Sequence[Windows]) -> Windows:
    """Return several groups of windows as one; texts keep their indexes."""
    if len(parts) == 1:
        return parts[0]
    none = np.empty(0, np.int64)
    texts, starts, ends = (
        np.concatenate([none, *(getattr(part, name) for part in parts)])
        for name in ("texts", "starts", "ends")
    )
    lengths = np.concatenate([none, *(part.runs.lengths for part in parts)])
    ids = np.concatenate([np.empty(0, np.int32), *(part.runs.ids for part in parts)])
    return Windows(texts, starts, ends, TokenRuns(ids, np.append(0, np.cumsum(lengths))))


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

    def merge(self, other: BatchCounts) -> None:
        """Add what was counted elsewhere."""
        self.add(other.tokens, other.padded, other.windows)
        self.budget_cuts += other.budget_cuts

    @property
    def padding_waste(self) -> float:
        """Return the padding's share of all computed tokens."""
        return 1 - self.tokens / self.padded if self.padded else 0.0


def cut_windows(
    tokenizer: TextTokenizer,
    texts: Sequence[str] | pa.LargeStringArray,
    size: int,
    overlap: int,
) -> Windows:
    """Cut texts into windows of at most `size` tokens, including special tokens.

    Neighbouring windows share `overlap` tokens. Every text has at least one window.
    """
    tokens = tokenizer.tokenise(texts)
    room = size - len(tokenizer.prefix) - len(tokenizer.suffix)
    step, sizes = room - overlap, np.diff(tokens.bounds)
    counts = 1 + np.maximum(0, -(-(sizes - room) // step))
    text = np.repeat(np.arange(len(sizes)), counts)
    number = np.arange(len(text)) - np.repeat(np.cumsum(counts) - counts, counts)
    begins = tokens.bounds[:-1][text] + number * step
    ends = np.minimum(begins + room, tokens.bounds[1:][text])
    runs = _add_special_tokens(tokens.ids, begins, ends, tokenizer)
    if not len(tokens.ids):
        none = np.zeros(len(text), np.int64)
        return Windows(text, none, none, runs)
    full = ends > begins
    last = len(tokens.ids) - 1
    starts = np.where(full, tokens.starts[np.minimum(begins, last)], 0)
    return Windows(text, starts, np.where(full, tokens.ends[ends - 1], 0), runs)


def _add_special_tokens(
    ids: np.ndarray, begins: np.ndarray, ends: np.ndarray, tokenizer: TextTokenizer
) -> TokenRuns:
    """Return the runs of tokens between these places, each with the special tokens around it."""
    before, after = len(tokenizer.prefix), len(tokenizer.suffix)
    lengths = ends - begins
    bounds = np.append(0, np.cumsum(lengths + before + after))
    whole = np.empty(bounds[-1], np.int32)
    whole[list_runs(bounds[:-1] + before, lengths)] = ids.take(list_runs(begins, lengths))
    for place, token in enumerate(tokenizer.prefix):
        whole[bounds[:-1] + place] = token
    for place, token in enumerate(tokenizer.suffix):
        whole[bounds[1:] - after + place] = token
    return TokenRuns(whole, bounds)


def plan_batches(lengths: Sequence[int] | np.ndarray, budget: int) -> list[np.ndarray]:
    """Group windows by length into batches of at most `budget` padded tokens.

    Each batch is an array of indexes into `lengths`. The longest windows come first, and windows of
    equal length are in index order. A window beyond the budget is a batch by itself.
    """
    order = np.lexsort((np.arange(len(lengths)), -np.asarray(lengths)))
    batches, first = [], 0
    while first < len(order):
        count = max(1, budget // int(lengths[order[first]]))
        batches.append(order[first : first + count])
        first += count
    return batches


def plan_packed_batches(lengths: np.ndarray, budget: int) -> list[np.ndarray]:
    """Group windows by length into batches of at most `budget` tokens without padding.

    See `plan_batches`.
    """
    order = np.lexsort((np.arange(len(lengths)), -np.asarray(lengths)))
    ends = np.cumsum(lengths[order])
    batches, first, before = [], 0, 0
    while first < len(order):
        last = max(first + 1, int(np.searchsorted(ends, before + budget, "right")))
        batches.append(order[first:last])
        first, before = last, int(ends[last - 1])
    return batches


def pad_batch(ids: Sequence[Sequence[int]] | TokenRuns, pad: int) -> tuple[np.ndarray, np.ndarray]:
    """Return token ids and attention mask, both int64 [windows, longest], padded on the right."""
    runs = collect_runs(ids)
    lengths = runs.lengths
    inside = np.arange(lengths.max()) < lengths[:, None]
    tokens = np.full(inside.shape, pad, np.int64)
    tokens[inside] = runs.ids
    return tokens, inside.astype(np.int64)
