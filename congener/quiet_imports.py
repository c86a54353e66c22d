"""Import Beam without its warning about an extra that congener doesn't need."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

NEEDLESS = "apitools not found"
"""How Beam's warning about BigQuery begins."""


@contextmanager
def import_quietly() -> Iterator[None]:
    """Drop Beam's warning while modules are imported.

    Beam warns through the root logger, which would get a handler of its own from that. A handler
    that does nothing prevents this, so a script can still configure logging.
    """
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)
    root.addFilter(is_needed)
    try:
        yield
    finally:
        root.removeFilter(is_needed)
        root.removeHandler(handler)


def is_needed(record: logging.LogRecord) -> bool:
    """Return whether a log record isn't Beam's needless warning."""
    return not str(record.msg).startswith(NEEDLESS)
