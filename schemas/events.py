"""Events: the progress of a run, for a terminal, a log or a web page."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

from schemas.manifests import Manifest
from schemas.notices import Notice


class Noticed(NamedTuple):
    """A notice for the person who started the run."""

    notice: Notice


class RowsPlanned(NamedTuple):
    """Work begins on `rows` rows; an earlier attempt finished `rows_done` of them.

    `again` are finished shards that are processed again, with their rows, because other shards that
    are only read together with them aren't finished.
    """

    rows: int
    rows_done: int
    again: tuple[tuple[str, int], ...] = ()


class ShardStarted(NamedTuple):
    """The models begin to score a shard."""

    rows: int
    shard: str = ""


class WindowsPlanned(NamedTuple):
    """Windows of text, of a shard unless traits are fitted, are about to go through a model."""

    windows: int
    tokens: int = 0
    shard: str = ""


class BatchScored(NamedTuple):
    """A batch, of a shard unless traits are fitted, went through a model."""

    tokens: int
    windows: int
    shard: str = ""


class BatchesCut(NamedTuple):
    """Memory ran out, so from now on a batch has at most `token_budget` padded tokens."""

    token_budget: int


class ShardWritten(NamedTuple):
    """A shard's files and receipt are written."""

    rows: int
    shard: str = ""


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

WORK_EVENTS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (ShardStarted, WindowsPlanned, BatchScored, BatchesCut, ShardWritten)
}
"""The events of work on shards, which a process can send to another one."""

Listener = Callable[[Event], None]
"""A function that receives the events of a run, one at a time, on the thread that emits them."""


def ignore(event: Event) -> None:
    """Do nothing, as the listener of an unwatched run."""


def write_event(channel: str, event: Event) -> bytes:
    """Return an event of work on a channel as a line of JSON."""
    return json.dumps([channel, type(event).__name__, *event]).encode() + b"\n"


def read_event(line: bytes) -> tuple[str, Event]:
    """Return the channel and the event of a line that `write_event` wrote.

    Raises: ValueError: the line isn't such a line.
    """
    try:
        channel, kind, *fields = json.loads(line)
        return channel, WORK_EVENTS[kind](*fields)
    except (KeyError, TypeError) as error:
        raise ValueError(f"no event of work: {line!r}") from error
