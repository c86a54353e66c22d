"""Ctrl-C: a line at once, the end of the work soon, and a second Ctrl-C that ends the process."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from schemas.errors import INTERRUPTED
from schemas.events import BatchScored, Event, ShardStarted, ShardWritten, WindowsPlanned

STOPPING = "stopping; press Ctrl-C again to stop at once"

STOPPED = "congener: interrupted; the same command resumes the run"

STDERR = 2
CLEAR_LINE = "\r\x1b[2K"
SHOW_CURSOR = "\x1b[?25h"

OWN_WORK = (BatchScored, ShardStarted, ShardWritten, WindowsPlanned)
"""The events of work in this process, which an interrupt ends."""


class Interrupts:
    """Handles SIGINT inside a block, in the main thread of a process that doesn't ignore it.

    The first signal prints a line and raises KeyboardInterrupt, also in the threads that work on
    shards, at their next event, because the engine and the interpreter wait for these threads. The
    second signal ends the process, as SIGTERM does, and so does one that comes after the block.
    """

    def __init__(self, is_terminal: bool = False) -> None:
        self._is_terminal = is_terminal
        self._count = 0
        self._before: Any = None

    def __enter__(self) -> Self:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None):
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None and not self._count:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def check(self, event: Event) -> None:
        """End the work that an event is about.

        Raises: KeyboardInterrupt: a signal came before it.
        """
        if self._count and isinstance(event, OWN_WORK):
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (the API)
        self._count += 1
        if self._count > 1:
            self._write(STOPPED, SHOW_CURSOR)
            os._exit(INTERRUPTED)
        self._write(STOPPING)
        raise KeyboardInterrupt

    def _write(self, text: str, end: str = "") -> None:
        """Write a line to the process's stderr.

        Python's streams aren't used, because the signal may come while one of them is writing.
        """
        if self._is_terminal:
            text = f"{CLEAR_LINE}{text}{end}"
        with contextlib.suppress(OSError):
            os.write(STDERR, f"{text}\n".encode())
