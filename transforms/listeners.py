"""Listeners: how a stage in this process reports its progress.

Beam copies stages, so a stage can't hold a listener. A stage emits events to a named channel, and
the pipeline's caller listens to that channel. A worker process on the caller's machine passes its
events on to the caller's process (`pass_on`). On other machines nobody listens, and events are
dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from schemas.events import BatchesCut, BatchScored, Event, Listener, WindowsPlanned

Relay = Callable[[str, Event], None]
"""A function that sends an event of a channel to another process."""

_listeners: dict[str, tuple[Listener, ...]] = {}
_relays: list[Relay] = []
_lock = threading.Lock()


@contextmanager
def listen_to(channel: str, listener: Listener) -> Iterator[None]:
    """Send a channel's events to a listener, one at a time, until the block ends.

    If Ctrl-C ends the block, threads that still work raise KeyboardInterrupt at their next event,
    because the process waits for them before it ends.
    """
    turn = threading.Lock()
    is_open = True

    def receive(event: Event) -> None:
        with turn:
            if is_open:
                listener(event)

    with _lock:
        kept = (item for item in _listeners.get(channel, ()) if item is not _stop)
        _listeners[channel] = (*kept, receive)
    after: tuple[Listener, ...] = ()
    try:
        yield
    except KeyboardInterrupt:
        after = (_stop,)
        raise
    finally:
        with turn:
            is_open = False
        with _lock:
            others = (item for item in _listeners[channel] if item != receive)
            _listeners[channel] = (*others, *after)


def _stop(event: Event) -> None:  # noqa: ARG001 (a listener)
    """End the work of a thread.

    Raises: KeyboardInterrupt: always.
    """
    raise KeyboardInterrupt


def emit(channel: str, event: Event) -> None:
    """Send an event to every listener of a channel, and to the process that started this one."""
    for receive in _listeners.get(channel, ()):
        receive(event)
    for relay in _relays:
        relay(channel, event)


@contextmanager
def pass_on(relay: Relay) -> Iterator[None]:
    """Send this process's events, of every channel, to another process until the block ends."""
    _relays.append(relay)
    try:
        yield
    finally:
        _relays.remove(relay)


@dataclass(frozen=True)
class ModelProgress:
    """A `Progress` for encoders and classifiers that reports batches as a shard's events."""

    listener: Listener
    shard: str = ""

    def expect(self, windows: int, tokens: int) -> None:
        """Report that windows are about to be encoded."""
        self.listener(WindowsPlanned(windows, tokens, self.shard))

    def batch(self, tokens: int, windows: int) -> None:
        """Report a batch."""
        self.listener(BatchScored(tokens, windows, self.shard))

    def cut(self, budget: int) -> None:
        """Report that memory ran out, and the new limit on batches."""
        self.listener(BatchesCut(budget))
