"""A worker process of the local engine: Beam's worker, with its events and logs for the launcher.

The launcher holds the worker's stdin and stdout. On stdout, the worker writes the events of its
work, one line each. When stdin ends, the launcher is gone, however it ended, and the worker ends at
once. Ctrl-C at a terminal reaches workers too, but only the launcher answers it.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading

from pipelines.display.terminal import EscapingFormatter
from schemas.errors import INTERRUPTED, CongenerError
from schemas.events import WORK_EVENTS, Event, write_event
from transforms.listeners import pass_on

NEEDLESS = ("No semi_persistent_directory found", "apitools not found")
"""How warnings of Beam begin that are about containers, and about an extra for BigQuery."""

REPORTED = "schemas.errors."
"""What tracebacks of congener's own errors have in them, which the launcher reports."""


def main() -> None:
    """Work for the launcher until it ends the connection or itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_launcher, args=(sys.stdin.fileno(),), daemon=True).start()
    events = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # no other output may mix with events
    set_up_logs()
    from apache_beam.runners.worker import sdk_worker, sdk_worker_main

    # Beam prints each error's trace, which it also sends to the launcher
    sdk_worker.print = lambda *_, **__: None
    lock = threading.Lock()

    def relay(channel: str, event: Event) -> None:
        if type(event).__name__ in WORK_EVENTS:
            with lock:
                write_whole(events, write_event(channel, event))

    with pass_on(relay):
        sdk_worker_main.main(sys.argv)


def end_with_launcher(stdin: int) -> None:
    """Wait until stdin ends, and then end the process without waiting for any thread."""
    while os.read(stdin, 1):
        pass
    os._exit(INTERRUPTED)


def write_whole(file: int, data: bytes) -> None:
    """Write all bytes to an open file, which may be a pipe that takes only a part at once."""
    while data:
        data = data[os.write(file, data) :]


def set_up_logs() -> None:
    """Print warnings and errors on stderr that the launcher doesn't report, and nothing else.

    Beam sets the root logger's level to that of information, so the handler has a level.
    """
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(EscapingFormatter(logging.BASIC_FORMAT))
    handler.addFilter(is_unreported)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def is_unreported(record: logging.LogRecord) -> bool:
    """Return whether a log record is worth printing: neither needless nor an error of congener.

    The launcher gets the errors of stages from Beam, and prints them once, with a remedy.
    """
    error, message = record.exc_info and record.exc_info[1], record.getMessage()
    is_reported = isinstance(error, CongenerError) or REPORTED in message
    return not (is_reported or message.startswith(NEEDLESS))


if __name__ == "__main__":
    main()
