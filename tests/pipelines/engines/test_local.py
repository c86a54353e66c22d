"""The local engine: processes that share the cores."""

import json
import os
import subprocess
import sys
import threading

import apache_beam as beam
import pytest

from pipelines.engines.interface import Engine
from pipelines.engines.launch import open_pipeline
from pipelines.engines.local import (
    THREADS_PER_WORKER,
    count_possible_threads,
    make_local_preset,
    require_threads,
)
from schemas.errors import MachineError
from tests.support.engines import LOOPBACK, listening_addresses

HOSTILE = """
import pathlib
pathlib.Path({marker!r}).write_text(__name__)
raise ImportError("imported from the current folder")
"""


def count_threads() -> int:
    """Return the number of torch's threads in this process."""
    import torch

    return torch.get_num_threads()


class Observe(beam.DoFn):
    """Records each worker's process and threads, and where the launcher listens."""

    def __init__(self, launcher: int, path: str) -> None:
        self.launcher, self.path = launcher, path

    def process(self, item):
        """Add a line. Only the first item's worker loads torch, which takes seconds."""
        worker = {
            "process": os.getpid(),
            "limit": os.environ.get("OMP_NUM_THREADS"),
            "threads": str(count_threads()) if item == 0 else None,
            "addresses": sorted(listening_addresses(self.launcher)),
            "safe_path": sys.flags.safe_path,
        }
        with open(self.path, "a") as stream:
            stream.write(json.dumps(worker) + "\n")


@pytest.mark.parametrize("workers", [None, 1])
def test_one_worker_is_this_process(workers):
    """A single worker starts no process and needs no environment."""
    preset = make_local_preset(Engine(workers=workers))
    assert preset.fixed == ("--direct_num_workers=1",)
    assert preset.environment == {}


def test_more_workers_than_cores_have_a_thread_each():
    """Processes divide the threads, with at least one each."""
    environment = make_local_preset(Engine(workers=1000)).environment
    assert environment == {"OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}


def test_workers_are_processes_that_share_the_cores(tmp_path):
    """Two workers are new processes with half the cores each, and Beam listens on loopback."""
    with open_pipeline(Engine(workers=2)) as pipeline:
        (
            pipeline
            | beam.Create(range(40))
            | beam.Reshuffle()
            | beam.ParDo(Observe(os.getpid(), str(tmp_path / "seen")))
        )
    seen = [json.loads(line) for line in (tmp_path / "seen").read_text().splitlines()]
    share = str(max(1, os.cpu_count() // 2))
    assert len({worker["process"] for worker in seen} - {os.getpid()}) == 2
    assert {worker["limit"] for worker in seen} == {share}
    assert {worker["threads"] for worker in seen} == {share, None}
    assert {address for worker in seen for address in worker["addresses"]} <= LOOPBACK
    assert all(worker["safe_path"] for worker in seen)


WORK = """
import apache_beam as beam
from pipelines.engines.interface import Engine
from pipelines.engines.launch import open_pipeline

def decode(line):
    from transforms.files import json_lines
    return json_lines.parse_line(line)

with open_pipeline(Engine(workers=2)) as pipeline:
    pipeline | beam.Create([b"{}"]) | beam.Map(decode)
"""
"""A launcher whose workers import a congener module and orjson."""


def test_workers_import_nothing_from_the_current_folder(tmp_path):
    """Workers never import modules from the current folder."""
    folder, marker = tmp_path / "hostile", tmp_path / "imported"
    (folder / "transforms").mkdir(parents=True)
    for name in ("orjson.py", "transforms/__init__.py"):
        (folder / name).write_text(HOSTILE.format(marker=str(marker)))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        [sys.executable, "-P", "-c", WORK],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert not marker.exists()
    imported = subprocess.run([sys.executable, "-c", "import orjson"], cwd=folder, check=False)
    assert (imported.returncode, marker.exists()) == (1, True), "the trap works without the guard"


def test_workers_leave_the_current_folder_out(monkeypatch, tmp_path):
    """Empty entries of PYTHONPATH, and the current folder by name, don't reach the workers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f":/elsewhere::{tmp_path}")
    assert make_local_preset(Engine(workers=2)).environment["PYTHONPATH"] == "/elsewhere"
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    assert "PYTHONPATH" not in make_local_preset(Engine(workers=2)).environment


@pytest.fixture
def allow_threads(monkeypatch):
    """Return a function that sets how many threads may be started."""

    def allow(most: int) -> None:
        real, started = threading.Thread.start, []

        def start(thread):
            if len(started) >= most:
                raise RuntimeError("can't start new thread")
            started.append(thread)
            real(thread)

        monkeypatch.setattr(threading.Thread, "start", start)

    return allow


def test_workers_need_their_threads(allow_threads):
    """With too few threads, several workers aren't started; one worker isn't checked."""
    allow_threads(50)
    with pytest.raises(MachineError, match="only 50 more threads, but 2 workers need about 90"):
        require_threads(Engine(workers=2))
    require_threads(Engine(workers=1))
    require_threads(Engine(runner="flink"))


def test_far_more_workers_than_cores_are_refused(monkeypatch):
    """Without this limit, processes are started until the memory is full."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    require_threads(Engine(workers=32))
    with pytest.raises(MachineError, match="33 workers are more than 16 for each core") as caught:
        require_threads(Engine(workers=33))
    assert "at most 32" in caught.value.remedy
    require_threads(Engine(runner="flink", workers=33))


def test_enough_threads_are_enough(allow_threads):
    """With as many threads as are needed, nothing happens, and no thread is left."""
    allow_threads(2 * THREADS_PER_WORKER)
    before = threading.active_count()
    require_threads(Engine(workers=2))
    assert threading.active_count() == before


def test_a_large_number_of_workers_is_tried_only_in_part(monkeypatch):
    """At most a thousand threads are tried."""
    tried = []
    monkeypatch.setattr(
        "pipelines.engines.local.count_possible_threads", lambda most: tried.append(most) or most
    )
    monkeypatch.setattr(os, "cpu_count", lambda: 100)
    require_threads(Engine(workers=1000))
    assert tried == [1000]
    assert count_possible_threads(3) == 3
