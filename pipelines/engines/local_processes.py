"""The worker processes of the local engine, as the launcher starts, hears and ends them.

Beam starts workers of its own through a shell, passes on everything that they log, waits for the
end of their bundles after an error or Ctrl-C, and waits forever for one that was killed. These
workers send the events of their work, end at once with the launcher's block, and their death is an
error.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

import grpc
from apache_beam.portability import python_urns
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    GrpcWorkerHandler,
    WorkerHandler,
)
from google.protobuf import json_format, text_format

from schemas.errors import MachineError
from schemas.events import read_event
from transforms.listeners import emit

WORKER = (sys.executable, "-m", "pipelines.engines.local_worker")
CONNECTIONS = logging.getLogger("apache_beam.runners.worker.data_plane")
"""The logger of Beam's connections for data."""

PAUSE_SECONDS = 0.2
MOMENT = 1.0
"""How many seconds a process may need to end after its connections did."""

PATIENCE = 30.0
"""How many seconds a worker without work has to end."""


class LocalWorker(GrpcWorkerHandler):
    """A worker process on this machine, in Beam's terms, which belongs to a group of workers."""

    def __init__(self, group: list[LocalWorker], *given: Any) -> None:
        super().__init__(*given)
        self._group, self._closed = group, threading.Event()
        group.append(self)

    def start_worker(self) -> None:
        """Start the process, and the threads that hear its events and watch it."""
        descriptor = self.control_api_service_descriptor()
        environment = os.environ | {
            "WORKER_ID": self.worker_id,
            "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(descriptor),
            "PIPELINE_OPTIONS": json_format.MessageToJson(
                self.provision_info.provision_info.pipeline_options
            ),
        }
        self._process = subprocess.Popen(  # noqa: S603
            WORKER, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for work in (self._hear, self._watch):
            threading.Thread(target=work, daemon=True).start()

    def _hear(self) -> None:
        """Pass the worker's events on to the listeners of this process, until the worker ends."""
        with self._get_pipe("stdout") as lines:
            for line in lines:
                with suppress(KeyboardInterrupt):  # an answer to Ctrl-C, which this worker ignores
                    emit(*read_event(line))

    def _watch(self) -> None:
        """Wait until the worker ends, and fail the work of all workers if that is too early."""
        code = self._process.wait()
        error = MachineError(
            f"a worker process ended {describe_end(code)}",
            where=f"process {self._process.pid}",
            remedy="if memory ran out, use fewer --workers or a smaller hardware.token_budget; "
            "the same command resumes the run",
        )
        while not self._closed.wait(PAUSE_SECONDS):
            for worker in self._group:
                worker.control_conn.abort(error)

    def has_ended(self) -> bool:
        """Return whether the process has ended, or is about to because of a signal."""
        if not self._closed.is_set():
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(MOMENT)
        return self._closed.is_set() or self._process.returncode is not None

    def _get_pipe(self, name: str) -> IO[bytes]:
        pipe: IO[bytes] | None = getattr(self._process, name)
        if pipe is None:
            raise AssertionError(f"the worker has no {name}")
        return pipe

    def close(self) -> None:
        """End the process: after its work, or at once if an error or Ctrl-C ends the pipeline."""
        if sys.exc_info()[0] is not None:
            self.end()
        try:
            super().close()
        except grpc.RpcError:  # connections to a process that was ended are lost
            if not self._closed.is_set():
                raise

    def stop_worker(self) -> None:
        """Wait for the end of a worker without work, and end one that doesn't end."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
        self.end()

    def end(self) -> None:
        """End the process at once. Its shards without a receipt are processed again."""
        self._closed.set()
        self._process.kill()
        self._process.wait()
        self._get_pipe("stdin").close()


def describe_end(code: int) -> str:
    """Say how a process ended, from its exit status as `subprocess` gives it."""
    if code >= 0:
        return f"with exit code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"


@contextmanager
def use_own_workers() -> Iterator[None]:
    """Make Beam's local runner start these workers instead of its own, inside the block.

    Errors of connections to workers that have ended aren't printed: either the end was wanted, or
    it is an error of its own.
    """
    known, urn = WorkerHandler._registered_environments, python_urns.SUBPROCESS_SDK  # noqa: SLF001
    before, hook, workers = known[urn], threading.excepthook, list[LocalWorker]()

    def make(command: bytes, *given: Any) -> LocalWorker:  # noqa: ARG001 (Beam's own workers)
        return LocalWorker(workers, *given)

    def is_lost(error: BaseException | None) -> bool:
        return isinstance(error, grpc.RpcError) and any(worker.has_ended() for worker in workers)

    def report(failed: threading.ExceptHookArgs) -> None:
        if not is_lost(failed.exc_value):
            hook(failed)

    def is_reported(record: logging.LogRecord) -> bool:
        return not (record.exc_info and is_lost(record.exc_info[1]))

    known[urn], threading.excepthook = (make, bytes), report
    CONNECTIONS.addFilter(is_reported)
    try:
        yield
    finally:
        known[urn], threading.excepthook = before, hook
        CONNECTIONS.removeFilter(is_reported)
