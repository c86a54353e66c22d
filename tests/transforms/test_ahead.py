"""Work ahead: results in order, errors in their place, and a bounded number of items at a time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms import ahead as module
from transforms.ahead import WorkAhead, count_threads


def run_all(ahead, items):
    """Return all results for these items, in the order in which they come."""
    found = [result for item in items for result in ahead.put(item)]
    return [*found, *ahead.finish()]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 5))
def test_results_come_in_the_order_of_their_items(delays, most):
    """A slow item doesn't let the next one pass it."""

    def wait(item):
        number, delay = item
        time.sleep(delay / 2_000)
        return number

    items = list(enumerate(delays))
    assert run_all(WorkAhead(wait, most), items) == [number for number, _ in items]


@pytest.mark.parametrize("most", [1, 2, 4])
def test_the_number_of_items_at_a_time_is_bounded(most):
    """No more items are begun than may wait, whatever the number of threads."""
    begun, taken, highest = 0, 0, 0
    lock = threading.Lock()

    def work(item):
        nonlocal begun, highest
        with lock:
            begun += 1
            highest = max(highest, begun - taken)
        return item

    ahead = WorkAhead(work, most)
    for item in range(20):
        for _ in ahead.put(item):
            with lock:
                taken += 1
        time.sleep(0.001)
    list(ahead.finish())
    assert begun == 20
    assert highest <= most


def test_items_are_worked_on_while_others_wait():
    """Two items are worked on at the same time."""
    both = threading.Barrier(2)

    def meet(item):
        both.wait(20)
        return item

    assert run_all(WorkAhead(meet, 2), range(4)) == [0, 1, 2, 3]


def test_a_result_that_is_ready_is_not_held_back():
    """A finished first item is yielded without waiting for more items."""
    ahead = WorkAhead(str, 4)
    first = list(ahead.put(1))
    deadline = time.monotonic() + 20
    while not first and time.monotonic() < deadline:
        time.sleep(0.001)
        first = list(ahead.put(2))
    assert first[0] == "1"
    list(ahead.finish())


class Panic(BaseException):
    """An error that isn't an `Exception`, such as a Rust panic."""


@pytest.mark.parametrize("kind", [ValueError, MemoryError, Panic])
def test_an_error_is_raised_in_its_place(kind):
    """The results before an error come first, and the error is that of the work itself."""
    error = kind("no third")

    def work(item):
        if item == 2:
            raise error
        return item

    ahead, found = WorkAhead(work, 3), []
    with pytest.raises(kind) as caught:  # noqa: PT012 - the results before the error count
        for item in range(6):
            found += ahead.put(item)
        found += ahead.finish()
    assert caught.value is error
    assert found == [0, 1]
    assert run_all(ahead, [5, 7]) == [5, 7], "the items after the error are dropped"


def test_an_error_of_the_reader_drops_what_was_begun():
    """If results aren't read to the end, no item is worked on that hasn't begun."""
    gate, worked = threading.Event(), []

    def work(item):
        gate.wait(20)
        worked.append(item)
        return item

    ahead = WorkAhead(work, count_threads() + 3)
    for item in range(count_threads() + 3):
        assert list(ahead.put(item)) == []
    results = ahead.finish()
    gate.set()
    next(results)
    results.close()
    assert list(ahead.finish()) == []


def test_dropped_items_do_not_begin(monkeypatch):
    """An item that waits for a thread is never worked on after it is dropped."""
    monkeypatch.setattr(module, "_turns", threading.BoundedSemaphore(1))
    gate, begun = threading.Event(), []

    def work(item):
        begun.append(item)
        gate.wait(20)
        return item

    ahead = WorkAhead(work, 3)
    for item in range(3):
        list(ahead.put(item))
    while not begun:
        time.sleep(0.001)
    ahead.drop()
    gate.set()
    assert run_all(WorkAhead(str, 1), [1]) == ["1"], "the turn was given back"
    assert len(begun) == 1


def test_without_threads_the_work_is_done_at_once(monkeypatch):
    """If the system allows no more threads, the bundle's own thread works."""

    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert run_all(WorkAhead(str, 3), [1, 2]) == ["1", "2"]


def test_bundles_share_the_threads(monkeypatch):
    """All bundles of a process together use no more threads than it may."""
    monkeypatch.setattr(module, "_turns", threading.BoundedSemaphore(2))
    running, highest, lock = 0, 0, threading.Lock()

    def work(item):
        nonlocal running, highest
        with lock:
            running += 1
            highest = max(highest, running)
        time.sleep(0.002)
        with lock:
            running -= 1
        return item

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: run_all(WorkAhead(work, 4), range(5)), range(3)))
    assert found == [[0, 1, 2, 3, 4]] * 3
    assert highest <= 2


@pytest.mark.parametrize(
    ("allowed", "expected"), [("1", 2), ("3", 3), ("64", 8)], ids=["one", "three", "many"]
)
def test_threads_by_the_share_of_the_cores(monkeypatch, allowed, expected):
    """The engine's share of the cores decides, within limits."""
    monkeypatch.setenv("OMP_NUM_THREADS", allowed)
    assert count_threads() == expected


def test_threads_without_a_share(monkeypatch):
    """Without a share, the cores that the process may use decide."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(5)))
    assert count_threads() == 5
