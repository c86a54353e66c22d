"""A pool that starts Python workers for a Flink TaskManager on the same machine.

TaskManagers use Beam's `EXTERNAL` environment. Beam's own pool isn't safe enough: it listens on
every address, runs the first `python` in PATH without the job's options, doesn't drain the workers'
stdout, and stops the wrong worker if two TaskManagers share it.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from apache_beam.portability.api import (
    beam_fn_api_pb2,
    beam_fn_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
)
from google.protobuf import json_format, text_format

from pipelines.engines.interface import build_safe_environment

LOG = logging.getLogger(__name__)
WORKER = (sys.executable, "-m", "apache_beam.runners.worker.sdk_worker_main")
PATIENCE = 10.0
"""How many seconds a worker has to exit after SIGTERM."""
PROVISION_TIMEOUT = 60
"""How many seconds to wait for the job's options."""


def build_worker_environment(request: beam_fn_api_pb2.StartWorkerRequest) -> dict[str, str]:
    """Ask the TaskManager for the job's options, and return a worker's environment variables."""
    with grpc.insecure_channel(request.provision_endpoint.url) as channel:
        stub = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        wanted = beam_provision_api_pb2.GetProvisionInfoRequest()
        info = stub.GetProvisionInfo(
            wanted, metadata=[("worker_id", request.worker_id)], timeout=PROVISION_TIMEOUT
        ).info
    return {
        "WORKER_ID": request.worker_id,
        "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(request.control_endpoint),
        "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(request.logging_endpoint),
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
        **build_safe_environment(),
    }


class WorkerPool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """Starts workers, and stops them when the pool closes.

    A worker exits when its TaskManager closes the connection.
    """

    def __init__(self) -> None:
        self._workers: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def StartWorker(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Start a worker with this Python interpreter, and send its stdout to the pool's stderr."""
        try:
            environment = os.environ | build_worker_environment(request)
            worker = subprocess.Popen(  # noqa: S603
                WORKER, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr
            )
        except (OSError, grpc.RpcError) as error:
            return beam_fn_api_pb2.StartWorkerResponse(
                error=f"congener's worker pool can't start a worker: {error}"
            )
        LOG.info(
            "worker %s for %s: process %d",
            request.worker_id,
            request.control_endpoint.url,
            worker.pid,
        )
        with self._lock:
            self._workers.add(worker)
        threading.Thread(target=self._await_end, args=(worker,), daemon=True).start()
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Do nothing. TaskManagers share worker ids, and workers exit on their own."""
        return beam_fn_api_pb2.StopWorkerResponse()

    def _await_end(self, worker: subprocess.Popen[bytes]) -> None:
        code = worker.wait()
        with self._lock:
            self._workers.discard(worker)
        LOG.info("process %d ended with %d", worker.pid, code)

    def list_running(self) -> list[int]:
        """Return the process ids of the running workers."""
        with self._lock:
            return sorted(worker.pid for worker in self._workers)

    def close(self) -> None:
        """Stop all workers."""
        with self._lock:
            workers = list(self._workers)
        for worker in workers:
            worker.terminate()
        for worker in workers:
            try:
                worker.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                worker.kill()


def serve(port: int, host: str = "127.0.0.1") -> tuple[WorkerPool, grpc.Server, int]:
    """Start a pool, and return it with its server and port.

    Port 0 means any free port.
    """
    pool = WorkerPool()
    server = grpc.server(ThreadPoolExecutor())
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    bound = server.add_insecure_port(f"{host}:{port}")
    server.start()
    return pool, server, bound


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.engines.worker_pool",
        description="Start Python workers for a Flink TaskManager on this machine.",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=50000,
        help="the port to listen on; 0 chooses a free one (default: %(default)s)",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen on; keep it on loopback, because anyone who reaches the pool "
        "can run code (default: %(default)s)",
    )
    given = parser.parse_args(arguments)
    # force this, because importing Beam may have configured logging
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    pool, server, port = serve(given.port, given.host)
    LOG.info("listening on %s:%d", given.host, port)
    stop.wait()
    server.stop(0)
    pool.close()


if __name__ == "__main__":
    main()
