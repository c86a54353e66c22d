"""The Flink engine: its preset, and the cancellation of its jobs."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

from pipelines.engines.interface import Engine, Preset
from schemas.errors import EngineError

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

MASTER = "localhost:8081"
JOB_ENDPOINT = "localhost:8099"
WORKER_POOL = "localhost:50000"
"""Addresses of Flink, Beam's job server and the Python worker pool in `deploy/flink/local.sh`."""

ENDED = ("FINISHED", "FAILED", "CANCELED")
TIMEOUT = 30
"""How many seconds to wait for Flink to answer."""


def make_flink_preset(engine: Engine) -> Preset:
    """Return the preset for a Flink cluster behind Beam's job server.

    Python runs in worker pools beside the TaskManagers. Nothing is staged.
    """
    parallelism = (f"--parallelism={engine.workers}",) if engine.workers else ()
    return Preset(
        "PortableRunner",
        ("--environment_type=EXTERNAL", "--no_save_main_session", *parallelism),
        (
            f"--flink_master={MASTER}",
            f"--job_endpoint={JOB_ENDPOINT}",
            "--job_server_timeout=60",
            f"--job_name=congener-{uuid.uuid4().hex[:12]}",
            f"--environment_config={WORKER_POOL}",
            "--parallelism=2",
        ),
        cancel=cancel_job,
    )


def cancel_job(options: PipelineOptions) -> None:
    """Cancel a job through Flink's REST interface.

    Beam's job server only forgets a cancelled batch job, which keeps running.

    Raises: EngineError: Flink doesn't answer.
    """
    given = options.get_all_options()
    master, name = given["flink_master"], given["job_name"]
    try:
        for job in _request(master, "/jobs/overview")["jobs"]:
            if job["name"] == name and job["state"] not in ENDED:
                _request(master, f"/jobs/{job['jid']}?mode=cancel", "PATCH")
    except OSError as error:  # a URLError is an OSError
        raise EngineError(
            f"the job {name} can't be cancelled: {error}",
            where=master,
            remedy="cancel it on Flink's web page, or give another address with "
            "-- --flink_master=HOST:PORT",
        ) from error


def _request(master: str, path: str, method: str = "GET") -> dict[str, Any]:
    """Return Flink's JSON answer to a request."""
    root = master if master.startswith(("http://", "https://")) else f"http://{master}"
    request = Request(root + path, method=method)  # noqa: S310
    with urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
        return dict(json.loads(answer.read() or b"{}"))
