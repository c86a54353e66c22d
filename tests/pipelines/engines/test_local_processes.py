"""The local engine's processes: events, ends that were wanted, and ends that weren't."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.portability import python_urns
from apache_beam.runners.portability.fn_api_runner.worker_handlers import WorkerHandler

from pipelines.engines.interface import Engine
from pipelines.engines.launch import open_pipeline
from pipelines.engines.local_processes import describe_end, use_own_workers
from schemas.errors import InputError, MachineError
from schemas.events import BatchScored
from transforms.listeners import emit, listen_to

RUNNING = "/proc/{pid}/stat"


class Work(beam.DoFn):
    """Sends an event with its process, notes it in a file, and then does what an item says."""

    def __init__(self, path: str) -> None:
        self.path = path

    def process(self, item: str):
        """Do as the item says: stay, fail, die, or anything else."""
        emit("test", BatchScored(os.getpid(), 1, item))
        with open(self.path, "a") as stream:
            stream.write(f"{os.getpid()}\n")
        if item == "stay":
            time.sleep(300)
        if item == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if item == "fail":
            raise InputError("can't be read", where="a.jsonl", remedy="look at it")


def work(items: list[str], path: Path) -> None:
    """Work on items in two processes."""
    with open_pipeline(Engine(workers=2)) as pipeline:
        pipeline | beam.Create(items) | beam.Reshuffle() | beam.ParDo(Work(str(path)))


def list_running(path: Path) -> list[int]:
    """Return the noted processes that are still there."""
    noted = {int(line) for line in path.read_text().split()}
    return [pid for pid in noted if Path(RUNNING.format(pid=pid)).exists()]


def test_events_of_all_processes_reach_the_listener(tmp_path, capfd):
    """A listener hears both processes, nothing is logged, and both end with the pipeline."""
    events = []
    with listen_to("test", events.append):
        work([f"item {number}" for number in range(30)], tmp_path / "noted")
    assert sorted(event.shard for event in events) == sorted(f"item {n}" for n in range(30))
    assert len({event.tokens for event in events} - {os.getpid()}) == 2
    assert list_running(tmp_path / "noted") == []
    assert capfd.readouterr() == ("", "")


def test_an_error_of_a_worker_is_reported_once(tmp_path, capfd):
    """An error in one process ends the other one too, and isn't printed by the worker."""
    with pytest.raises(InputError, match="can't be read"):
        work(["fail", "pass"], tmp_path / "noted")
    assert list_running(tmp_path / "noted") == []
    assert "Traceback" not in capfd.readouterr().err


def test_a_worker_that_is_killed_is_an_error(tmp_path, capfd):
    """If a process dies, for example because memory ran out, the run ends and says so."""
    with pytest.raises(MachineError, match="a worker process ended by SIGKILL") as caught:
        work(["die", "stay"], tmp_path / "noted")
    assert "fewer --workers" in str(caught.value.remedy)
    assert list_running(tmp_path / "noted") == []
    assert "Traceback" not in capfd.readouterr().err


# A test command in a shell's background ignores SIGINT, and so would this process.
INTERRUPTED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from congener.quiet_imports import import_quietly
from pipelines.display.interrupts import Interrupts
with import_quietly():
    from tests.pipelines.engines.test_local_processes import work
try:
    with Interrupts():
        work(["stay"] * 4, Path(sys.argv[1]))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("whom", ["group", "launcher"])
def test_ctrl_c_ends_all_processes_at_once(tmp_path, whom):
    """Ctrl-C doesn't wait for the work in progress, prints no traceback, and leaves no process."""
    noted = tmp_path / "noted"
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(noted)],
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as launcher:
        await_work(noted)
        pressed = time.monotonic()
        if whom == "group":
            os.killpg(launcher.pid, signal.SIGINT)
        else:
            launcher.send_signal(signal.SIGINT)
        _, printed = launcher.communicate(timeout=60)
        assert time.monotonic() - pressed < 30
    assert launcher.returncode == 130
    assert printed.decode().splitlines() == ["stopping; press Ctrl-C again to stop at once"]
    assert list_running(noted) == []


def test_workers_end_with_a_killed_launcher(tmp_path):
    """If the launcher is killed, its workers end too."""
    noted = tmp_path / "noted"
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(noted)], stderr=subprocess.PIPE
    ) as launcher:
        await_work(noted)
        launcher.kill()
        launcher.communicate(timeout=60)
    until = time.monotonic() + 20
    while list_running(noted) and time.monotonic() < until:
        time.sleep(0.05)
    assert list_running(noted) == []


def await_work(noted: Path) -> None:
    """Wait until a process works."""
    until = time.monotonic() + 120
    while not (noted.exists() and noted.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    assert noted.read_text()


def test_beam_and_python_are_left_as_they_were():
    """After the block, Beam's own workers and Python's report of failed threads are back."""
    urn, known = python_urns.SUBPROCESS_SDK, WorkerHandler._registered_environments
    before, hook = known[urn], threading.excepthook
    with use_own_workers():
        assert known[urn] != before
    assert (known[urn], threading.excepthook) == (before, hook)


def test_other_failures_of_threads_are_still_reported(monkeypatch):
    """Only lost connections to workers that ended are left out."""
    reported = []
    monkeypatch.setattr(threading, "excepthook", lambda failed: reported.append(failed.exc_type))
    with use_own_workers():
        thread = threading.Thread(target=lambda: json.loads("x"))
        thread.start()
        thread.join()
    assert reported == [json.JSONDecodeError]


@pytest.mark.parametrize(
    ("code", "said"),
    [(1, "with exit code 1"), (-9, "by SIGKILL"), (-11, "by SIGSEGV"), (-99, "by signal 99")],
)
def test_an_end_is_said_in_words(code, said):
    """A signal is named, and an exit code is a number."""
    assert describe_end(code) == said
