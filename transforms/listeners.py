"""Listeners: how a stage that runs in this process reports what it does.

Beam copies its stages, so that they can't hold a listener themselves. They name a channel; whoever runs the
pipeline listens to it. In the processes of another engine nobody does, and events are dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from schemas.events import BatchesCut, BatchScored, Event, Listener, WindowsPlanned, ignore

_listeners: dict[str, Listener] = {}
_lock = threading.Lock()


@contextmanager
def listen_to(channel: str, listener: Listener) -> Iterator[None]:
    """Send the events of a channel to a listener, one at a time, until the block ends."""
    turn = threading.Lock()

    def receive(event: Event) -> None:
        with turn:
            listener(event)

    with _lock:
        _listeners[channel] = receive
    try:
        yield
    finally:
        with _lock:
            del _listeners[channel]


def emit(channel: str, event: Event) -> None:
    """Send an event to whoever listens to the channel in this process."""
    _listeners.get(channel, ignore)(event)


@dataclass(frozen=True)
class ModelProgress:
    """Turns the progress of a model's batches into events; the `Progress` of encoders and classifiers."""

    listener: Listener

    def expect(self, windows: int) -> None:
        """Report how many windows are about to be encoded."""
        self.listener(WindowsPlanned(windows))

    def batch(self, tokens: int, windows: int) -> None:
        """Report a batch."""
        self.listener(BatchScored(tokens, windows))

    def cut(self, budget: int) -> None:
        """Report that memory ran out, and how large batches are from here on."""
        self.listener(BatchesCut(budget))
