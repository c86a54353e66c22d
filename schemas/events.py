"""Events: the progress of a run, for a terminal, a log or a web page."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from schemas.manifests import Manifest
from schemas.notices import Notice


class Noticed(NamedTuple):
    """A notice for the person who started the run."""

    notice: Notice


class RowsPlanned(NamedTuple):
    """Work begins on `rows` rows; an earlier attempt finished `rows_done` of them."""

    rows: int
    rows_done: int


class ShardStarted(NamedTuple):
    """The models begin to score a shard."""

    rows: int


class WindowsPlanned(NamedTuple):
    """Windows of text are about to go through a model."""

    windows: int
    tokens: int = 0


class BatchScored(NamedTuple):
    """A batch went through a model."""

    tokens: int
    windows: int


class BatchesCut(NamedTuple):
    """Memory ran out, so from now on a batch has at most `token_budget` padded tokens."""

    token_budget: int


class ShardWritten(NamedTuple):
    """A shard's files and receipt are written."""

    rows: int


class RowsFinished(NamedTuple):
    """A process that watches the work has counted the rows of finished shards."""

    rows: int


class FitStarted(NamedTuple):
    """Traits are about to be fitted."""

    traits: int


class RunSummarised(NamedTuple):
    """All rows are decided, but nothing is published yet."""

    manifest: Manifest


class DonorFiltered(NamedTuple):
    """A donor of a swap or a mix is filtered; no trait fires on `usable` of its rows."""

    name: str
    rows: int
    usable: int


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
    | DonorFiltered
)

Listener = Callable[[Event], None]
"""A function that receives the events of a run, one at a time, on the thread that emits them."""


def ignore(event: Event) -> None:
    """Do nothing, as the listener of an unwatched run."""
