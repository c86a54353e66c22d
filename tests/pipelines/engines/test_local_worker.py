"""A worker process: what it sends, what it prints, and when it ends."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from pipelines.engines.local_worker import NEEDLESS, is_unreported, write_whole
from schemas.errors import INTERRUPTED, InputError

WAITING = """
import threading
from pipelines.engines import local_worker
threading.Thread(target=local_worker.end_with_launcher, args=(0,), daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
"""
"""A process that waits for its launcher's end, as a worker does."""


def make_record(level: int, message: str) -> logging.LogRecord:
    """Return a log record."""
    return logging.LogRecord("beam", level, "worker.py", 1, message, None, None)


def test_a_worker_ends_with_its_launcher():
    """When stdin ends, because the launcher was killed, the worker ends without its threads."""
    with subprocess.Popen(
        [sys.executable, "-c", WAITING], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"ready\n"
        process.stdin.close()
        assert process.wait(20) == INTERRUPTED


def test_a_worker_leaves_ctrl_c_to_its_launcher():
    """A signal for the whole group doesn't end a worker, and prints nothing."""
    command = [sys.executable, "-m", "pipelines.engines.local_worker"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        until = time.monotonic() + 30
        while not ignores_interrupts(process.pid) and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        assert process.poll() is None
        _, printed = process.communicate(timeout=60)  # closes stdin
    assert b"KeyboardInterrupt" not in printed


def ignores_interrupts(pid: int) -> bool:
    """Return whether a process ignores SIGINT, from what the kernel says of it."""
    with open(f"/proc/{pid}/status") as lines:
        ignored = next(line for line in lines if line.startswith("SigIgn"))
    return bool(int(ignored.split()[1], 16) & 1 << (signal.SIGINT - 1))


@pytest.mark.parametrize(
    ("message", "printed"),
    [
        ("something is odd", True),
        (f"{NEEDLESS[0]}: user registered objects", False),
        ("Traceback\n  schemas.errors.InputError: x [while running 'Read']", False),
    ],
)
def test_only_useful_messages_are_printed(message, printed):
    """Needless warnings aren't printed, nor errors that the launcher prints with a remedy."""
    assert is_unreported(make_record(logging.WARNING, message)) is printed


def test_an_error_with_a_trace_is_left_to_the_launcher():
    """Beam logs the errors of stages with the error itself; other errors are printed."""
    for error, printed in ((InputError("can't be read"), False), (ValueError("a bug"), True)):
        record = make_record(logging.ERROR, str(error))
        record.exc_info = (type(error), error, None)
        assert is_unreported(record) is printed


LOGGING = """
import logging
from pipelines.engines.local_worker import set_up_logs
set_up_logs()
logging.getLogger().setLevel(logging.INFO)  # as Beam does
logging.getLogger("beam").info("a detail")
logging.getLogger("beam").warning("a danger")
logging.getLogger("beam").error("a fault\x1b[31m")
"""


def test_warnings_and_errors_are_printed():
    """Warnings and errors reach the terminal, escaped, and details don't."""
    ended = subprocess.run([sys.executable, "-c", LOGGING], capture_output=True, check=True)
    printed = ended.stderr.decode()
    assert "a detail" not in printed
    assert "WARNING:beam:a danger" in printed
    assert "ERROR:beam:a fault" in printed
    assert "\x1b" not in printed


def test_a_long_line_is_written_whole():
    """A pipe takes a part of a long line at once; the rest follows."""
    reader, writer = os.pipe()
    data, read = b"x" * 200_000, bytearray()

    def drain() -> None:
        while part := os.read(reader, 1000):
            read.extend(part)

    thread = threading.Thread(target=drain)
    thread.start()
    write_whole(writer, data)
    os.close(writer)
    thread.join(20)
    os.close(reader)
    assert bytes(read) == data
