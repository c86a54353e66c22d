"""Counting rows: shards of several processes, resumed runs, speed and time left."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.display.row_counts import RowCount, ShardProgress
from schemas.events import (
    BatchScored,
    FitStarted,
    Noticed,
    RowsFinished,
    RowsPlanned,
    ShardStarted,
    ShardWritten,
    WindowsPlanned,
)
from schemas.notices import Notice


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """Return a list whose only number is the time."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def count_after(*events) -> RowCount:
    """Return the count after some events."""
    count = RowCount()
    for event in events:
        count.update(event)
    return count


def begin(shard: str, rows: int, windows: int, scored: int) -> list:
    """Return the events of a shard of which some windows are scored, in two batches."""
    batches = [BatchScored(10, scored // 2, shard), BatchScored(10, scored - scored // 2, shard)]
    return [ShardStarted(rows, shard), WindowsPlanned(windows, 0, shard), *batches]


def test_a_shard_in_progress_counts_in_part():
    """Half of a shard's windows count as half of its rows."""
    count = count_after(RowsPlanned(100, 5), *begin("a", 10, 4, 2))
    assert (count.count_rows(), count.tokens) == (10, 20)
    count.update(ShardWritten(10, "a"))
    assert count.count_rows() == 15


def test_shards_of_several_processes_are_added_up():
    """Shards in progress at the same time, in threads or processes, all count."""
    events = [RowsPlanned(100, 0), *begin("a", 40, 4, 2), *begin("b", 20, 2, 1)]
    count = count_after(*events, *begin("c", 8, 8, 2))
    assert count.count_rows() == 20 + 10 + 2
    count.update(ShardWritten(20, "b"))
    assert count.count_rows() == 20 + 20 + 2


def test_the_count_never_falls():
    """More windows for the same shard, or a second attempt at it, take no rows away."""
    count = count_after(RowsPlanned(100, 0), *begin("a", 10, 4, 4))
    assert count.count_rows() == 10
    count.update(WindowsPlanned(4, 0, "a"))
    assert count.count_rows() == 10
    count.update(ShardStarted(10, "a"))
    assert count.count_rows() == 10


def test_a_shard_that_is_written_twice_counts_once():
    """A bundle that is retried adds no rows a second time."""
    events = [RowsPlanned(30, 0), ShardWritten(10, "a"), ShardWritten(10, "a")]
    assert count_after(*events).count_rows() == 10


def test_shards_that_are_processed_again_add_no_rows():
    """On a resumed run, a finished shard that is read once more is work, but not a new row."""
    count = count_after(RowsPlanned(30, 10, (("a", 10),)), *begin("a", 10, 2, 1))
    assert count.count_rows() == 10
    for event in (ShardWritten(10, "a"), ShardWritten(10, "b")):
        count.update(event)
    assert count.count_rows() == 20


def test_the_time_left_is_of_this_session(clock):
    """Rows of an earlier attempt took none of this session's time."""
    count = count_after(RowsPlanned(100, 60))
    assert count.estimate_seconds() is None
    clock[0] += 50  # loading models takes time without rows
    count.update(ShardStarted(10, "a"))
    clock[0] += 20
    count.update(ShardWritten(10, "a"))
    assert count.measure_speed() == (0.5, 0)
    assert count.estimate_seconds() == 60


def test_the_time_left_includes_shards_that_are_processed_again(clock):
    """The time for finished shards that are read once more is part of the time left."""
    count = count_after(RowsPlanned(40, 20, (("a", 20),)), ShardStarted(20, "a"))
    clock[0] += 20
    count.update(ShardWritten(20, "a"))
    assert count.count_rows() == 20
    assert count.estimate_seconds() == 20


def test_the_time_left_grows_while_nothing_is_done(clock):
    """Without progress, the mean speed falls, so the time left grows instead of standing still."""
    count = count_after(RowsPlanned(40, 0))
    clock[0] += 60
    count.update(RowsFinished(10))
    assert count.estimate_seconds() == 180
    clock[0] += 60
    assert count.estimate_seconds() == 360


def test_rows_that_a_cluster_finished_are_counted():
    """On a cluster, receipts give the rows, and the count doesn't fall if a listing is late."""
    count = count_after(RowsPlanned(100, 20), RowsFinished(60))
    assert count.count_rows() == 60
    count.update(RowsFinished(50))
    assert count.count_rows() == 60


def test_another_run_begins_at_its_own_rows():
    """A second run's count has nothing of the first one's."""
    count = count_after(RowsPlanned(100, 0), *begin("a", 10, 4, 4), RowsPlanned(40, 3))
    assert (count.total, count.count_rows(), count.tokens) == (40, 3, 0)


def test_events_without_rows_are_ignored():
    """A shard without windows counts only when it is written."""
    events = (RowsPlanned(10, 0), ShardStarted(10, "a"), FitStarted(3), Noticed(Notice("x")))
    assert count_after(*events).count_rows() == 0


def test_windows_of_no_shard_are_ignored():
    """The windows of a fit belong to no shard; their tokens were processed all the same."""
    count = count_after(RowsPlanned(10, 0), WindowsPlanned(4), BatchScored(7, 2))
    assert (count.count_rows(), count.tokens) == (0, 7)


def test_more_windows_than_were_planned_are_no_more_rows():
    """A window that is scored again, because memory ran out, adds nothing beyond the shard."""
    assert ShardProgress(10, planned=4, scored=6).estimate_rows() == 10
    assert ShardProgress(10).estimate_rows() == 0


SHARDS = {"a": 10, "b": 7, "c": 20}

EVENTS = st.one_of(
    st.builds(lambda shard: ShardStarted(SHARDS[shard], shard), st.sampled_from("abc")),
    st.builds(
        lambda n, shard: WindowsPlanned(n, 0, shard), st.integers(1, 9), st.sampled_from("abc")
    ),
    st.builds(lambda n, shard: BatchScored(n, n, shard), st.integers(1, 9), st.sampled_from("abc")),
    st.builds(lambda shard: ShardWritten(SHARDS[shard], shard), st.sampled_from("abc")),
)


@given(st.lists(EVENTS, max_size=40), st.booleans())
def test_any_order_of_events_gives_a_sound_count(events, resumed):
    """The count never falls, never exceeds the total, and the time left is never negative."""
    planned = RowsPlanned(37, 10, (("a", 10),)) if resumed else RowsPlanned(37, 0)
    count, before = count_after(planned), 0
    for event in events:
        count.update(event)
        now, left = count.count_rows(), count.estimate_seconds()
        assert planned.rows_done <= now <= 37
        assert now >= before
        assert left is None or left >= 0
        before = now
