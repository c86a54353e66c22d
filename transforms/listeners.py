"""Listeners: how a stage that runs in this process reports its progress.

Beam copies its stages, so a stage can't hold a listener itself. Instead, the stage emits events to
a named channel, and the caller that runs the pipeline listens to that channel. In worker processes,
nobody listens, so events are dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from schemas.events import BatchesCut, BatchScored, Event, Listener, WindowsPlanned

_listeners: dict[str, tuple[Listener, ...]] = {}
_lock = threading.Lock()


@contextmanager
def listen_to(channel: str, listener: Listener) -> Iterator[None]:
    """Send the events of a channel to a listener, one at a time, until the block ends."""
    turn = threading.Lock()
    is_open = True

    def receive(event: Event) -> None:
        with turn:
            if is_open:
                listener(event)

    with _lock:
        _listeners[channel] = (*_listeners.get(channel, ()), receive)
    try:
        yield
    finally:
        with turn:
            is_open = False
        with _lock:
            _listeners[channel] = tuple(item for item in _listeners[channel] if item != receive)


def emit(channel: str, event: Event) -> None:
    """Send an event to every listener of the channel in this process."""
    for receive in _listeners.get(channel, ()):
        receive(event)


@dataclass(frozen=True)
class ModelProgress:
    """A `Progress` for encoders and classifiers that reports batches as events."""

    listener: Listener

    def expect(self, windows: int, tokens: int) -> None:
        """Report how many windows are about to be encoded, and their tokens."""
        self.listener(WindowsPlanned(windows, tokens))

    def batch(self, tokens: int, windows: int) -> None:
        """Report a batch."""
        self.listener(BatchScored(tokens, windows))

    def cut(self, budget: int) -> None:
        """Report that memory ran out, and how large batches may be from now on."""
        self.listener(BatchesCut(budget))
