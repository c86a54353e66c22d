"""Flink's preset and the cancellation of jobs, with a fake Flink."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    SetupOptions,
)

from pipelines.engines.flink import cancel_job
from schemas.errors import CardError, EngineError
from tests.support.engines import preset_options


def test_flink_stages_nothing_and_names_its_workers():
    """The preset names the job server and the worker pool, and given options replace it."""
    default = preset_options("flink")
    assert default.view_as(PortableOptions).job_endpoint == "localhost:8099"
    assert default.view_as(PortableOptions).environment_config == "localhost:50000"
    assert default.view_as(SetupOptions).save_main_session is False
    assert default.view_as(FlinkRunnerOptions).parallelism == 2
    assert preset_options("flink", ["--parallelism=7"]).view_as(FlinkRunnerOptions).parallelism == 7
    assert (
        preset_options("flink", ["--job_endpoint=other:1"]).view_as(PortableOptions).job_endpoint
        == "other:1"
    )
    assert preset_options("flink", workers=5).view_as(FlinkRunnerOptions).parallelism == 5
    with pytest.raises(CardError, match="can't be 7 here: the preset sets 5"):
        preset_options("flink", ["--parallelism=7"], workers=5)


def test_every_job_has_another_name():
    """Every job has a different name, since Flink looks jobs up by name."""
    names = {preset_options("flink").view_as(GoogleCloudOptions).job_name for _ in range(3)}
    assert len(names) == 3


class Flink(BaseHTTPRequestHandler):
    """A server with Flink's REST answers, which records requests."""

    asked: list[str] = []  # noqa: RUF012

    def do_GET(self):
        """Answer with our job, an older job of the same name, and another run's job."""
        jobs = [("a", "ours", "RUNNING"), ("b", "ours", "FAILED"), ("c", "other", "RUNNING")]
        self.answer(
            {"jobs": [{"jid": jid, "name": name, "state": state} for jid, name, state in jobs]}
        )

    def do_PATCH(self):
        """Record the path."""
        self.asked.append(self.path)
        self.answer({})

    def answer(self, value):
        """Send JSON."""
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """Log nothing."""


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_only_our_running_job_is_cancelled(scheme):
    """Only our running job is cancelled."""
    Flink.asked.clear()
    with HTTPServer(("127.0.0.1", 0), Flink) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cancel_job(
            PipelineOptions(
                [f"--flink_master={scheme}127.0.0.1:{server.server_port}", "--job_name=ours"]
            )
        )
        server.shutdown()
    assert Flink.asked == ["/jobs/a?mode=cancel"]


def test_a_job_that_cannot_be_cancelled_is_reported():
    """The error for a silent Flink names the job, which may still run."""
    with pytest.raises(EngineError, match="the job ours can't be cancelled"):
        cancel_job(PipelineOptions(["--flink_master=localhost:1", "--job_name=ours"]))
