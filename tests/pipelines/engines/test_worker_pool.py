"""The worker pool: real workers for Beam's own job service."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability import portable_runner

from pipelines.engines import worker_pool
from pipelines.engines.launch import listen_on_loopback
from tests.support.engines import LOOPBACK, listening_addresses


@pytest.fixture
def pool():
    """Serve a pool on a free port."""
    workers, server, port = worker_pool.serve(0)
    yield workers, port
    server.stop(0)
    workers.close()


class Note(beam.DoFn):
    """Prints a lot, and records the process, its Python and its safe path."""

    def __init__(self, path: str) -> None:
        self.path = path

    def process(self, item):
        """Print more than an unread pipe can hold, then record."""
        sys.stdout.write("x" * 200_000)
        sys.stdout.flush()
        with open(self.path, "a") as stream:
            stream.write(f"{os.getpid()} {sys.executable} {sys.flags.safe_path}\n")


def test_workers_of_this_python_do_the_work(pool, tmp_path):
    """A job gets a new process of the same Python, which ends with the job."""
    workers, port = pool
    options = PipelineOptions(
        [
            "--job_endpoint=embed",
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{port}",
        ]
    )
    with (
        listen_on_loopback(),
        beam.Pipeline(runner=portable_runner.PortableRunner(), options=options) as pipeline,
    ):
        pipeline | beam.Create(range(3)) | beam.ParDo(Note(str(tmp_path / "notes")))
    (process, python, safe_path), *others = [
        line.split() for line in (tmp_path / "notes").read_text().splitlines()
    ]
    assert len(others) == 2
    assert int(process) != os.getpid()
    assert Path(python).samefile(sys.executable)
    assert safe_path == "True"
    deadline = time.monotonic() + 20
    while workers.list_running() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert workers.list_running() == []


def test_a_worker_that_cannot_start_is_an_error(pool):
    """The reply for a worker that can't start gives the reason."""
    workers, _ = pool
    request = beam_fn_api_pb2.StartWorkerRequest(worker_id="1-1")
    request.provision_endpoint.url = "localhost:1"
    assert "can't start a worker" in workers.StartWorker(request, None).error
    assert workers.list_running() == []


def test_it_listens_on_loopback_and_ends_on_sigterm(tmp_path):
    """The pool listens only on loopback, and exits with 0 on SIGTERM."""
    with open(tmp_path / "log", "w") as log:
        program = subprocess.Popen(
            [sys.executable, "-m", "pipelines.engines.worker_pool", "--port", "0"],
            stderr=log,
            cwd=Path(__file__).parents[3],
        )
    try:
        deadline = time.monotonic() + 60
        while (
            "listening on 127.0.0.1" not in (tmp_path / "log").read_text()
            and time.monotonic() < deadline
        ):
            time.sleep(0.2)
        assert "listening on 127.0.0.1" in (tmp_path / "log").read_text()
        assert listening_addresses(program.pid)
        assert listening_addresses(program.pid) <= LOOPBACK
        program.send_signal(signal.SIGTERM)
        assert program.wait(30) == 0
    finally:
        program.kill()
        program.wait()
