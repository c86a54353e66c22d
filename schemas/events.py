"""Progress events: what happens in a run, for a terminal line, a log or a web page to follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from schemas.manifests import Manifest
from schemas.notices import Notice


class Noticed(NamedTuple):
    """There is something to know."""

    notice: Notice


class RowsPlanned(NamedTuple):
    """The work begins: rows of the corpus, and how many of them an earlier attempt has finished."""

    rows: int
    rows_done: int


class ShardStarted(NamedTuple):
    """A shard goes through the models."""

    rows: int


class WindowsPlanned(NamedTuple):
    """That many windows of text are about to go through a model."""

    windows: int


class BatchScored(NamedTuple):
    """A batch went through a model."""

    tokens: int
    windows: int


class BatchesCut(NamedTuple):
    """Memory ran out; from here on a batch holds at most `token_budget` padded tokens."""

    token_budget: int


class ShardWritten(NamedTuple):
    """A shard's files and receipt are written."""

    rows: int


class RowsFinished(NamedTuple):
    """So many rows have a receipt in all, counted from outside the processes that do the work."""

    rows: int


class FitStarted(NamedTuple):
    """Traits are about to be fitted."""

    traits: int


class RunSummarised(NamedTuple):
    """All rows are decided. Nothing is published yet."""

    manifest: Manifest


Event = (
    Noticed
    | RowsPlanned
    | ShardStarted
    | WindowsPlanned
    | BatchScored
    | BatchesCut
    | ShardWritten
    | RowsFinished
    | FitStarted
    | RunSummarised
)

Listener = Callable[[Event], None]
"""Receives the events of a run, in order, on the thread on which they happen."""


def ignore(event: Event) -> None:
    """Do nothing with an event; the listener of a run that nobody watches."""
