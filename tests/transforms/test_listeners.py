"""Listeners: events reach them one at a time, on their channel."""

import threading
import time

import pytest

from schemas.events import (
    BatchesCut,
    BatchScored,
    RowsFinished,
    RowsPlanned,
    ShardWritten,
    WindowsPlanned,
)
from transforms.listeners import ModelProgress, emit, listen_to, pass_on


def test_events_reach_the_listener_of_their_channel():
    """A listener receives only its own channel's events, in order."""
    events, others = [], []
    with listen_to("run", events.append), listen_to("other", others.append):
        emit("run", ShardWritten(1))
        emit("nobody", ShardWritten(2))
        emit("run", ShardWritten(3))
    assert events == [ShardWritten(1), ShardWritten(3)]
    assert others == []


def test_nobody_needs_to_listen():
    """Events without a listener are dropped."""
    emit("nobody", ShardWritten(1))
    with listen_to("run", lambda _: None):
        pass
    emit("run", ShardWritten(1))


def test_nothing_arrives_after_the_block():
    """A listener receives nothing after its block."""
    events = []

    def run():
        with listen_to("run", events.append):
            emit("run", ShardWritten(1))
            raise KeyError

    with pytest.raises(KeyError):
        run()
    emit("run", ShardWritten(2))
    assert events == [ShardWritten(1)]


def test_listeners_of_one_channel_do_not_end_each_other():
    """Several blocks can share a channel and end in any order."""
    first, second = [], []
    one, two = listen_to("run", first.append), listen_to("run", second.append)
    one.__enter__()
    emit("run", RowsFinished(1))
    two.__enter__()
    emit("run", RowsFinished(2))
    one.__exit__(None, None, None)
    emit("run", RowsFinished(3))
    two.__exit__(None, None, None)
    emit("run", RowsFinished(4))
    assert first == [RowsFinished(1), RowsFinished(2)]
    assert second == [RowsFinished(2), RowsFinished(3)]


def test_events_arrive_one_at_a_time():
    """A listener handles one event at a time, from any thread."""
    inside, overlaps, events = 0, 0, []

    def listen(event):
        nonlocal inside, overlaps
        overlaps += inside
        inside += 1
        time.sleep(0.0005)
        inside -= 1
        events.append(event)

    def send(first):
        for number in range(first, first + 20):
            emit("run", RowsFinished(number))

    threads = [threading.Thread(target=send, args=(100 * index,)) for index in range(4)]
    with listen_to("run", listen):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert overlaps == 0
    numbers = [event.rows for event in events]
    assert len(numbers) == 80
    for index in range(4):
        own = [number for number in numbers if number // 100 == index]
        assert own == sorted(own), "each thread's events keep their order"


def test_the_block_ends_after_the_event_in_progress():
    """A block ends after the event in progress."""
    started, released, events = threading.Event(), threading.Event(), []

    def listen(event):
        started.set()
        released.wait(10)
        events.append(event)

    block = listen_to("run", listen)
    block.__enter__()
    senders = [
        threading.Thread(target=emit, args=("run", RowsFinished(number))) for number in range(2)
    ]
    senders[0].start()
    started.wait(10)
    ending = threading.Thread(target=block.__exit__, args=(None, None, None))
    ending.start()
    assert ending.is_alive()
    assert events == []
    released.set()
    ending.join(10)
    assert events == [RowsFinished(0)]
    senders[1].start()
    for thread in senders:
        thread.join(10)
    assert events == [RowsFinished(0)]


def test_a_listener_that_fails_fails_its_emitter():
    """A listener's exception reaches the emitter, and the channel still works."""
    calls = []

    def fail(event):
        calls.append(event)
        raise ValueError("no")

    with listen_to("run", fail):
        for number in (1, 2):
            with pytest.raises(ValueError, match="no"):
                emit("run", RowsFinished(number))
    assert calls == [RowsFinished(1), RowsFinished(2)]


def test_a_models_progress_becomes_events():
    """A model's progress becomes events of its shard."""
    events = []
    progress = ModelProgress(events.append, "part-1")
    progress.expect(7, 300)
    progress.batch(120, 3)
    progress.cut(4_096)
    assert events == [
        WindowsPlanned(7, 300, "part-1"),
        BatchScored(120, 3, "part-1"),
        BatchesCut(4_096),
    ]


def test_threads_end_after_an_interrupt():
    """Work that goes on after Ctrl-C ends at its next event, and a new listener hears its own."""
    heard = []

    def work() -> None:
        with listen_to("interrupted", heard.append):
            emit("interrupted", RowsPlanned(3, 0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    with pytest.raises(KeyboardInterrupt):
        emit("interrupted", RowsPlanned(4, 0))
    with listen_to("interrupted", heard.append):
        emit("interrupted", RowsPlanned(5, 0))
    emit("interrupted", RowsPlanned(6, 0))
    assert heard == [RowsPlanned(3, 0), RowsPlanned(5, 0)]


def test_events_are_passed_on_to_another_process():
    """Inside the block, a relay gets the events of every channel, and listeners get theirs."""
    sent, heard = [], []
    with pass_on(lambda channel, event: sent.append((channel, event))):
        emit("nobody", ShardWritten(1))
        with listen_to("run", heard.append):
            emit("run", ShardWritten(2))
    emit("run", ShardWritten(3))
    assert sent == [("nobody", ShardWritten(1)), ("run", ShardWritten(2))]
    assert heard == [ShardWritten(2)]
