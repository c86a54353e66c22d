"""Ctrl-C: the first ends the work soon, the second ends the process."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from pipelines.display.interrupts import STOPPED, STOPPING, Interrupts
from schemas.errors import INTERRUPTED
from schemas.events import BatchScored, Noticed, RowsFinished, ShardWritten
from schemas.notices import Notice


@pytest.fixture(autouse=True)
def _restore():
    """Restore the process's handler, which an interrupt leaves changed."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press() -> None:
    """Send this process what Ctrl-C sends."""
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_signal_is_answered_at_once(capfd):
    """A line says that the work stops and how to stop it at once."""
    with pytest.raises(KeyboardInterrupt), Interrupts():
        press()
    assert capfd.readouterr().err == f"{STOPPING}\n"


def test_a_bar_makes_room_for_the_line(capfd):
    """On a terminal, the line takes the place of the bar."""
    with pytest.raises(KeyboardInterrupt), Interrupts(is_terminal=True):
        press()
    assert capfd.readouterr().err == f"\r\x1b[2K{STOPPING}\n"


def test_work_ends_at_its_next_event(capfd):
    """After a signal, events of work in this process raise, and others don't."""
    interrupts = Interrupts()
    events = BatchScored(1, 1), ShardWritten(1)
    for event in events:
        interrupts.check(event)
    with pytest.raises(KeyboardInterrupt), interrupts:
        press()
    for event in events:
        with pytest.raises(KeyboardInterrupt):
            interrupts.check(event)
    interrupts.check(RowsFinished(1))
    interrupts.check(Noticed(Notice("a fact")))
    assert capfd.readouterr().err


def test_the_handler_is_put_back():
    """After a block without a signal, Ctrl-C does what it did before."""
    with Interrupts():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_process_that_ignores_the_signal_still_does():
    """A process in the background, such as one under nohup, isn't stopped."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interrupts():
        press()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_another_thread_changes_nothing():
    """Only the main thread may set handlers; a block in another thread works without one."""
    found = []

    def work() -> None:
        with Interrupts():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


STUBBORN = """
import signal, sys, time
from pipelines.display.interrupts import Interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)
def wait():
    print("ready", flush=True)
    time.sleep(60)
try:
    with Interrupts(is_terminal=sys.argv[1] == "terminal"):
        wait()
except KeyboardInterrupt:
    wait()
"""


@pytest.mark.parametrize("kind", ["terminal", "pipe"])
def test_the_second_signal_ends_the_process(kind):
    """A second Ctrl-C ends a process that waits for something, also after the block."""
    command = [sys.executable, "-c", STUBBORN, kind]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(2):
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == INTERRUPTED
    assert STOPPED in said
    assert ("\x1b[?25h" in said) == (kind == "terminal")
