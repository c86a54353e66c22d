"""Exemplar search for many traits at once: one product with all of their exemplars."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from classifiers.signals.exemplars import (
    SCRATCH_BYTES,
    contrast,
    move_to_device,
    searches_on_card,
)

MOST_EXEMPLARS = 1 << 16
"""Beyond this number of different exemplars, FAISS searches each index, if it can on the device."""

SIMILARITIES_AT_ONCE = 1 << 23
"""How many similarities are in memory at once.

Threads of a product wait for each other at its end, so a few large products cost less than many.
"""

SIMILARITIES_ON_CARD = SCRATCH_BYTES // 4
"""How many similarities are in a card's memory at once, in single precision."""

ROWS_AT_ONCE = 256
"""How many vectors' similarities are searched at once, so that they stay in a core's cache."""

FEWEST_SHARED = 64
"""A block of exemplars with fewer vectors isn't searched apart from those of a single index."""


_turn = threading.Lock()
"""FAISS's memory for searches on a GPU isn't made for several threads at once."""


class Exemplars(NamedTuple):
    """A trait's indexes, and how many neighbours count. `negatives` may be None or empty."""

    positives: Any
    negatives: Any
    neighbours: int

    def move(self, device: str) -> Exemplars:
        """Return the same exemplars with their indexes on a device."""
        positives, negatives = (move_to_device(index, device) for index in self[:2])
        return Exemplars(positives, negatives, self.neighbours)


class ExemplarTable:
    """The exemplars of many traits.

    Traits share most of their negatives, which come from the same clean texts. A vector that is in
    several indexes is compared once, and a large block of vectors that are in the same indexes is
    searched once. The similarities are those that FAISS computes, except for their last digit.

    On a card (`device` is `cuda`), torch computes the product and finds the nearest. It also does
    so for more exemplars than `MOST_EXEMPLARS` if FAISS isn't a build for GPUs.
    """

    def __init__(self, traits: Sequence[Exemplars], device: str = "cpu") -> None:
        """Collect the vectors of all indexes, which are on the CPU."""
        self._traits, self._device = list(traits), device
        indexes = [index for trait in traits for index in (trait.positives, trait.negatives)]
        self._vectors, members = _collect_vectors(indexes)
        many = len(self._vectors) > MOST_EXEMPLARS
        self._uses_faiss = many and (device != "cuda" or searches_on_card())
        self._on_device: dict[str, Any] = {}
        if self._uses_faiss:
            self._traits = [trait.move(device) for trait in traits]
        self._blocks = list(_find_shared_blocks(members))
        shared = np.zeros(members.shape[1], bool)
        for block in self._blocks:
            shared[block.columns] = True
        self._own = [np.flatnonzero(row & ~shared) for row in members]
        self._counts = members.sum(axis=1)

    def contrast(self, vectors: np.ndarray) -> np.ndarray:
        """Return each trait's contrast for each vector, float32 [traits, vectors].

        See `exemplars.contrast`.
        """
        if self._uses_faiss:
            with _turn if self._device == "cuda" else nullcontext():
                return np.stack([contrast(vectors, *trait) for trait in self._traits])
        if self._device == "cuda":
            return self.contrast_in_torch(vectors, self._device)
        found = np.empty((len(self._traits), len(vectors)), np.float32)
        step = max(1, SIMILARITIES_AT_ONCE // max(1, len(self._vectors)))
        for first in range(0, len(vectors), step):
            similarities = vectors[first : first + step] @ self._vectors.T
            for begin in range(0, len(similarities), ROWS_AT_ONCE):
                part = similarities[begin : begin + ROWS_AT_ONCE]
                place = slice(first + begin, first + begin + len(part))
                found[:, place] = self._contrast(part)
        return found

    def _contrast(self, similarities: np.ndarray) -> np.ndarray:
        means = self._average_nearest(similarities, select_highest, np.concatenate)
        return np.asarray(np.stack(means[::2]) - np.stack(means[1::2]))

    def contrast_in_torch(self, vectors: np.ndarray, device: str) -> np.ndarray:
        """Return the same as `contrast`, computed by torch on a device."""
        import torch  # noqa: PLC0415 - what needs no card loads without torch

        def select(values: Any, count: int) -> Any:
            return values.topk(min(count, values.shape[1]), dim=1).values

        if device not in self._on_device:
            self._on_device[device] = torch.from_numpy(self._vectors).to(device)
        table = self._on_device[device]
        at_once = SIMILARITIES_ON_CARD if device == "cuda" else SIMILARITIES_AT_ONCE
        step = max(1, at_once // max(1, len(table)))
        found = [torch.empty((len(self._traits), 0), device=device)]
        with torch.inference_mode():
            for part in torch.from_numpy(vectors).to(device).split(step):
                means = self._average_nearest(part @ table.T, select, torch.cat)
                found.append(torch.stack(means[::2]) - torch.stack(means[1::2]))
            return np.asarray(torch.cat(found, dim=1).cpu().numpy())

    def _average_nearest(self, similarities: Any, select: Any, join: Any) -> list[Any]:
        """Return each index's mean over the nearest vectors, or zeros if the index is empty.

        The similarities are an array or a tensor; `select` and `join` are for the same kind.
        """
        most = max(trait.neighbours for trait in self._traits)
        shared = [
            (block.indexes, select(similarities[:, block.columns], most)) for block in self._blocks
        ]
        means = []
        for number, own in enumerate(self._own):
            highest = [values for indexes, values in shared if number in indexes]
            count = min(self._traits[number // 2].neighbours, int(self._counts[number]))
            if count:
                near = join([similarities[:, own], *highest], 1)
                means.append(select(near, count).mean(1))
            else:
                means.append(similarities[:, :1].sum(1) * 0)
        return means


class _SharedBlock(NamedTuple):
    """A range of columns whose vectors are in the same indexes."""

    columns: slice
    indexes: tuple[int, ...]


def _collect_vectors(indexes: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the different vectors of indexes, and which index has which, bool [indexes, vectors].

    Vectors of the same indexes are neighbours. A vector that an index has twice counts twice.
    """
    found: dict[tuple[bytes, int], tuple[np.ndarray, set[int]]] = {}
    for number, index in enumerate(indexes):
        times: dict[bytes, int] = {}
        for vector in _read_vectors(index):
            data = vector.tobytes()
            times[data] = times.get(data, 0) + 1
            found.setdefault((data, times[data]), (vector, set()))[1].add(number)
    entries = sorted(found.values(), key=lambda entry: sorted(entry[1]))
    members = np.zeros((len(indexes), len(entries)), bool)
    for column, (_, numbers) in enumerate(entries):
        members[list(numbers), column] = True
    return np.array([vector for vector, _ in entries], np.float32), members


def _read_vectors(index: Any) -> np.ndarray:
    if index is None or not index.ntotal:
        return np.empty((0, 0), np.float32)
    return np.asarray(index.reconstruct_n(0, index.ntotal))


def _find_shared_blocks(members: np.ndarray) -> Iterator[_SharedBlock]:
    """Yield the large ranges of columns that belong to the same indexes, if to more than one."""
    changes = np.flatnonzero((members[:, 1:] != members[:, :-1]).any(axis=0)) + 1
    edges = [0, *changes.tolist(), members.shape[1]]
    for begin, end in pairwise(edges):
        indexes = tuple(np.flatnonzero(members[:, begin]).tolist()) if end > begin else ()
        if len(indexes) > 1 and end - begin >= FEWEST_SHARED:
            yield _SharedBlock(slice(begin, end), indexes)


def select_highest(values: np.ndarray, count: int) -> np.ndarray:
    """Return each row's `count` highest values, or all if there are fewer, highest first."""
    if values.shape[1] > count:
        values = np.partition(values, values.shape[1] - count, axis=1)[:, -count:]
    return np.sort(values, axis=1)[:, ::-1]
