"""Launching: options reach the runner, the environment is restored, late jobs are cancelled."""

import os

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import DirectOptions, GoogleCloudOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    BeamFnControlServicer,
    ControlConnection,
)
from apache_beam.runners.runner import PipelineState

from pipelines.engines import launch
from pipelines.engines.interface import Engine
from pipelines.engines.launch import (
    build_engine_options,
    dismiss_late_workers,
    is_handed_over,
    open_pipeline,
)
from schemas.errors import CardError, EngineError


def test_the_local_pipeline_names_its_runner():
    """The local pipeline uses a runner in Beam's package."""
    with open_pipeline(Engine()) as pipeline:
        assert isinstance(pipeline.runner, FnApiRunner)


@pytest.mark.parametrize("repeats", [0, 2])
def test_options_reach_the_runner(repeats):
    """Given options are the pipeline's options."""
    with open_pipeline(Engine(), [f"--direct_runner_bundle_repeat={repeats}"]) as pipeline:
        assert pipeline.options.view_as(DirectOptions).direct_runner_bundle_repeat == repeats


def test_the_environment_is_restored():
    """Variables for workers are set only while the pipeline is open."""
    before, seen = dict(os.environ), {}

    def stop() -> None:
        seen.update(os.environ)
        raise KeyError("before any worker starts")

    with pytest.raises(KeyError, match="before"), open_pipeline(Engine(workers=2)):
        stop()
    assert seen["OMP_NUM_THREADS"] == str(max(1, os.cpu_count() // 2))
    assert seen["PYTHONSAFEPATH"] == "1"
    assert dict(os.environ) == before


def test_settings_are_checked_before_anything_runs():
    """Unusable settings are refused before anything runs."""
    with pytest.raises(CardError, match="jobs on a cluster"), open_pipeline(Engine(deadline=1)):
        pass
    with pytest.raises(CardError, match="don't apply to --runner local"):
        build_engine_options(Engine(wait=False))
    with pytest.raises(CardError, match="'x' is not an option"):
        build_engine_options(Engine(), ["x"])


class Job:
    """A job that ends in a given state or is interrupted."""

    def __init__(self, state: str, interrupted: bool = False) -> None:
        self.state, self.interrupted, self.cancelled = state, interrupted, False

    def wait_until_finish(self, duration):
        """Return the state at once."""
        self.duration = duration
        if self.interrupted:
            raise KeyboardInterrupt
        return self.state

    def cancel(self):
        """Record the call."""
        self.cancelled = True


def test_a_late_job_is_cancelled():
    """After the deadline, Beam and the engine cancel the job, and the error says so."""
    job, also = Job("RUNNING"), []
    with pytest.raises(EngineError, match=r"after 0\.5 minutes"):
        launch._wait(job, 0.5, lambda: also.append(True))
    assert (job.cancelled, also, job.duration) == (True, [True], 30_000)


def test_an_interrupted_job_is_cancelled():
    """Ctrl-C makes Beam and the engine cancel the job."""
    job, also = Job("RUNNING", interrupted=True), []
    with pytest.raises(KeyboardInterrupt):
        launch._wait(job, None, lambda: also.append(True))
    assert (job.cancelled, also) == (True, [True])


@pytest.mark.parametrize(
    ("state", "fails"), [(PipelineState.DONE, False), (PipelineState.FAILED, True)]
)
def test_only_a_job_that_is_done_ends_well(state, fails):
    """Any final state but DONE is an error, and nothing is cancelled."""
    job = Job(state)
    if fails:
        with pytest.raises(EngineError, match="ended as FAILED"):
            launch._wait(job, None, pytest.fail)
    else:
        launch._wait(job, None, pytest.fail)
    assert not job.cancelled


def test_a_job_has_the_runs_name_unless_the_options_name_it():
    """A job has the pipeline's name, unless the options name it."""
    for given, name in (([], "congener-1"), (["--job_name=mine"], "mine")):
        with open_pipeline(Engine(), given, "congener-1") as pipeline:
            pipeline | beam.Create([1])
        assert pipeline.options.view_as(GoogleCloudOptions).job_name == name


@pytest.mark.parametrize(
    ("given", "handed_over"),
    [([], False), (["--no_wait_until_finish"], True), (["--template_location=gs://b/t"], True)],
)
def test_when_a_job_goes_on_alone(given, handed_over):
    """A job outlives its launcher if nobody waits, or if it is saved as a template."""
    assert is_handed_over(PipelineOptions(given)) is handed_over


@pytest.mark.parametrize("secret", ["--s3_secret_access_key=hush", "--s3_session_token=hush"])
def test_secrets_are_refused(secret):
    """A store's keys are refused as options, since many files would hold them."""
    with pytest.raises(CardError, match="AWS_SECRET_ACCESS_KEY in the environment") as caught:
        build_engine_options(Engine(), [secret])
    assert "hush" not in str(caught.value)


def test_a_worker_that_connects_late_is_ended():
    """A connection that is closed before its worker connects holds the order to end."""
    original = ControlConnection.close
    with dismiss_late_workers():
        connection = ControlConnection()
        connection.close()
    assert connection._push_queue.get(timeout=5) is BeamFnControlServicer._DONE_MARKER
    assert ControlConnection.close is original


def test_a_late_worker_can_still_connect():
    """After the close, a worker's connection is accepted and ends at once."""
    with dismiss_late_workers():
        connection = ControlConnection()
        connection.close()
        connection.set_input(iter(()))
        assert connection.get_req() is BeamFnControlServicer._DONE_MARKER
        connection.close()
