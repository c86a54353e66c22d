"""Events and the listener of an unwatched run."""

import inspect
import pickle
from typing import get_args

import pytest

from schemas import events
from schemas.events import Event, Noticed, RowsPlanned, ignore
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
    assert RowsPlanned(rows=9, rows_done=2) == (9, 2)
    assert Noticed(Notice("text")).notice.severity == "info"
