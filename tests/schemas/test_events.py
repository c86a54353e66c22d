"""Events and the listener of an unwatched run."""

import inspect
import pickle
from typing import get_args

import pytest

from schemas import events
from schemas.events import (
    WORK_EVENTS,
    BatchScored,
    Event,
    Noticed,
    RowsPlanned,
    ShardWritten,
    ignore,
    read_event,
    write_event,
)
from schemas.notices import Notice

KINDS = get_args(Event)


def test_every_kind_of_event_is_in_the_union():
    """`Event` includes every event of the module."""
    defined = {
        item
        for _, item in inspect.getmembers(events, inspect.isclass)
        if item.__module__ == events.__name__
    }
    assert defined == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_events_are_plain_values(kind):
    """Events can be compared, pickled and ignored."""
    event = kind(*range(len(kind._fields)))
    assert pickle.loads(pickle.dumps(event)) == event
    assert ignore(event) is None


def test_events_are_told_apart_by_class():
    """Events with equal fields are equal tuples, so listeners must match the class."""
    assert len({kind.__name__ for kind in KINDS}) == len(KINDS)
    assert RowsPlanned(rows=9, rows_done=2) == (9, 2, ())
    assert Noticed(Notice("text")).notice.severity == "info"


@pytest.mark.parametrize("kind", WORK_EVENTS.values())
def test_events_of_work_can_be_sent(kind):
    """An event of work is one line, from which its channel and the event come back."""
    event = kind(*range(len(kind._fields)))
    line = write_event("run\n1", event)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    channel, back = read_event(line)
    assert (channel, back, type(back)) == ("run\n1", event, kind)


def test_equal_events_keep_their_class():
    """Two events with equal fields aren't mixed up on the way."""
    for event in (BatchScored(1, 2, "a"), ShardWritten(1, "a")):
        assert type(read_event(write_event("run", event))[1]) is type(event)


@pytest.mark.parametrize(
    "line",
    [b"{}", b"[]", b"3", b"x", b'["run", "Noticed", 1]', b'["run", "ShardWritten", 1, 2, 3]'],
)
def test_other_lines_are_no_events(line):
    """A line that holds no event of work is refused."""
    with pytest.raises(ValueError):
        read_event(line)
