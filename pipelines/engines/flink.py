"""Flink: what its preset sets, and how a job is cancelled there."""

from __future__ import annotations

import json
import uuid
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
)

from pipelines.config import Engine
from pipelines.engines.launch import Preset
from schemas.errors import EngineError

MASTER = "localhost:8081"
JOB_ENDPOINT = "localhost:8099"
WORKER_POOL = "localhost:50000"
"""Where `deploy/flink/local.sh` puts Flink, Beam's job server and the Python worker pool."""

ENDED = ("FINISHED", "FAILED", "CANCELED")


def preset(engine: Engine) -> Preset:
    """Run on a Flink cluster through Beam's job server, Python in worker pools beside the TaskManagers; nothing is staged."""
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
        cancel=cancel,
    )


def cancel(options: PipelineOptions) -> None:
    """Cancel a job at Flink itself: Beam's job server forgets a batch job that it is told to cancel, and the job runs on.

    Raises: EngineError: Flink can't be asked.
    """
    master, name = (
        options.view_as(FlinkRunnerOptions).flink_master,
        options.view_as(GoogleCloudOptions).job_name,
    )
    try:
        for job in _ask(master, "/jobs/overview")["jobs"]:
            if job["name"] == name and job["state"] not in ENDED:
                _ask(master, f"/jobs/{job['jid']}?mode=cancel", "PATCH")
    except (URLError, OSError) as error:
        raise EngineError(
            f"the job {name} can't be cancelled: {error}",
            where=master,
            remedy="cancel it on Flink's page, or -- --flink_master=HOST:PORT",
        ) from error


def _ask(master: str, path: str, method: str = "GET") -> dict[str, Any]:
    root = master if master.startswith(("http://", "https://")) else f"http://{master}"
    with urlopen(Request(root + path, method=method), timeout=30) as answer:  # noqa: S310
        return dict(json.loads(answer.read() or b"{}"))
