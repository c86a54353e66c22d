"""Whose turn it is on a device, and the copies of a model on several cards."""

from __future__ import annotations

import copy
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import LifoQueue
from typing import Any, NamedTuple

import torch

_turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


class Replica(NamedTuple):
    """A model's weights on one card."""

    model: torch.nn.Module
    device: torch.device


class Cards:
    """The copies of a model on cards, each of which one thread uses at a time."""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self.replicas = tuple(replicas)
        self._free: LifoQueue[Replica] = LifoQueue()
        for replica in reversed(self.replicas):
            self._free.put(replica)

    @contextmanager
    def borrow(self) -> Iterator[Replica]:
        """Yield a copy that no other thread uses, after waiting for one."""
        replica = self._free.get()
        try:
            yield replica
        finally:
            self._free.put(replica)


@contextmanager
def take_turn(runner: Any) -> Iterator[Any]:
    """Yield a model that may run now: alone on its device, or on a free one of its cards.

    Threads share a device, but its memory has room for the batch of one.
    """
    cards: Cards | None = getattr(runner, "cards", None)
    if cards is None:
        with _turns[str(runner.device)]:
            yield runner
        return
    with cards.borrow() as replica, _turns[str(replica.device)]:
        placed = copy.copy(runner)
        placed.model, placed.device = replica
        try:
            yield placed
        finally:
            runner.token_budget = min(runner.token_budget, placed.token_budget)


def list_cards(first: torch.device) -> list[torch.device]:
    """Return every card that this process sees, or the device itself if it isn't a card."""
    if first.type != "cuda":
        return [first]
    return [torch.device("cuda", number) for number in range(torch.cuda.device_count())]
