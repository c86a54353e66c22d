"""Listeners: how a stage in this process reports its progress.

Beam copies stages, so a stage can't hold a listener. A stage emits events to a named channel, and
the pipeline's caller listens to that channel. In worker processes, nobody listens, and events are
dropped.
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
    """Send a channel's events to a listener, one at a time, until the block ends."""
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
    """Send an event to every listener of a channel."""
    for receive in _listeners.get(channel, ()):
        receive(event)


@dataclass(frozen=True)
class ModelProgress:
    """A `Progress` for encoders and classifiers that reports batches as events."""

    listener: Listener

    def expect(self, windows: int, tokens: int) -> None:
        """Report that windows are about to be encoded."""
        self.listener(WindowsPlanned(windows, tokens))

    def batch(self, tokens: int, windows: int) -> None:
        """Report a batch."""
        self.listener(BatchScored(tokens, windows))

    def cut(self, budget: int) -> None:
        """Report that memory ran out, and the new limit on batches."""
        self.listener(BatchesCut(budget))
