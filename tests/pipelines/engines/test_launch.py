"""Engines are named, never defaulted; options are checked, not warned about."""

import json
import os

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
)
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from pipelines.config import Engine
from pipelines.engines import launch
from pipelines.engines.launch import (
    Preset,
    engine_options,
    engine_pipeline,
    last_cause,
    raised_in_worker,
)
from schemas.errors import CardError, EngineError, InputError, ModelError
from tests.support.engines import LOOPBACK, listening_addresses, preset_options


def test_the_local_pipeline_names_its_runner():
    """Beam's default would try to download a runner; ours is the one in the package."""
    with engine_pipeline(Engine()) as pipeline:
        assert isinstance(pipeline.runner, FnApiRunner)


@pytest.mark.parametrize("repeats", [0, 2])
def test_options_reach_the_runner(repeats):
    """Options given are the pipeline's."""
    with engine_pipeline(Engine(), [f"--direct_runner_bundle_repeat={repeats}"]) as pipeline:
        assert pipeline.options.view_as(DirectOptions).direct_runner_bundle_repeat == repeats


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--paralellism=4", r"no option '--paralellism=4'\n  remedy: did you mean --parallelism"),
        ("--no_such_thing_at_all", "written --name=value"),
        ("parallelism=4", "'parallelism=4' stands alone"),
        ("--parallelism=many", "invalid int value"),
        ("--environment_type=DOCKER", "can't be 'DOCKER' here: the preset sets 'EXTERNAL'"),
        ("--save_main_session", "can't be True here: the preset sets False"),
        ("--runner=DirectRunner", "the preset sets 'PortableRunner'"),
    ],
)
def test_unknown_and_contradicting_options_are_refused(given, message):
    """Beam would warn and go on, or let the later of two options win."""
    with pytest.raises(CardError, match=message):
        preset_options("flink", [given])


def test_what_agrees_with_the_preset_is_allowed():
    """Saying what the preset says anyway is no contradiction, and lists are added to."""
    assert (
        preset_options("flink", ["--environment_type=EXTERNAL"])
        .view_as(PortableOptions)
        .environment_type
        == "EXTERNAL"
    )
    both = Preset("FnApiRunner", ("--experiments=a",)).options(["--experiments=b"])
    assert PipelineOptions(both).get_all_options()["experiments"] == ["a", "b"]


def test_options_that_only_the_engine_knows():
    """A preset may allow options that Beam's Python half has never heard of."""
    assert Preset("PortableRunner", extra=("execution_retry_delay",)).options(
        ["--execution_retry_delay=5"]
    ) == ["--execution_retry_delay=5"]


def a_worker(_: int) -> tuple[int, str | None, int]:
    """Return a worker's process, its thread limit and how many threads torch takes."""
    import torch

    return os.getpid(), os.environ.get("OMP_NUM_THREADS"), torch.get_num_threads()


class Observe(beam.DoFn):
    """Note in a file who works, and on which addresses the launcher listens."""

    def __init__(self, launcher: int, path: str) -> None:
        self.launcher, self.path = launcher, path

    def process(self, item):
        """Add a line."""
        with open(self.path, "a") as stream:
            stream.write(
                json.dumps([a_worker(item), sorted(listening_addresses(self.launcher))]) + "\n"
            )


def test_workers_are_processes_that_share_the_cores(tmp_path):
    """Two workers are two other processes, torch takes a share of the cores in each, and Beam's servers stay on loopback."""
    with engine_pipeline(Engine(workers=2)) as pipeline:
        (
            pipeline
            | beam.Create(range(40))
            | beam.Reshuffle()
            | beam.ParDo(Observe(os.getpid(), str(tmp_path / "seen")))
        )
    seen = [json.loads(line) for line in (tmp_path / "seen").read_text().splitlines()]
    share = max(1, os.cpu_count() // 2)
    assert len({worker[0] for worker, _ in seen} - {os.getpid()}) == 2
    assert {tuple(worker[1:]) for worker, _ in seen} == {(str(share), share)}
    assert {address for _, addresses in seen for address in addresses} <= LOOPBACK


def test_nothing_of_the_engines_stays_in_the_environment():
    """Thread limits meant for worker processes are gone afterwards."""
    before = dict(os.environ)
    with engine_pipeline(Engine(workers=2)) as pipeline:
        pipeline | beam.Create([1])
        assert os.environ["OMP_NUM_THREADS"] == str(max(1, os.cpu_count() // 2))
    assert dict(os.environ) == before


def fail_with_advice(item: int) -> int:
    """Raise an error of ours, with a remedy."""
    raise ModelError(f"no GPU for {item}", where="device cuda", remedy="--device auto")


def fail_otherwise(_: int) -> int:
    """Raise an error that isn't ours."""
    raise ValueError("odd")


def test_an_error_of_ours_comes_back_from_another_process():
    """What a worker process raised is raised here, with its kind, message and remedy, and without Beam's words."""
    with pytest.raises(ModelError) as raised, engine_pipeline(Engine(workers=2)) as pipeline:
        pipeline | beam.Create([7]) | beam.Map(fail_with_advice)
    assert (raised.value.problem, raised.value.remedy) == (
        "device cuda: no GPU for 7",
        "--device auto",
    )


def test_other_errors_stay_what_they_are():
    """A fault of ours in a worker is no error of the engine's."""
    with pytest.raises(RuntimeError, match="odd"), engine_pipeline(Engine(workers=2)) as pipeline:
        pipeline | beam.Create([7]) | beam.Map(fail_otherwise)


JAVA = """java.util.concurrent.ExecutionException: java.lang.RuntimeException: Error received from SDK harness: Traceback (most recent call last):
  File "transforms/readers.py", line 1, in read_task
schemas.errors.InputError: /data/a.jsonl: rows 0 to 5 can't be read
  remedy: did the file change during the run? [while running 'Read/Rows']

\tat org.apache.beam.runners.fnexecution.control.FnApiControlClient
Caused by: java.io.IOException: connection lost
\tat java.base/java.lang.Thread.run
"""


def test_errors_are_read_from_a_trace():
    """A trace of Java's around one of Python's gives the error of ours, or else its innermost cause."""
    found = raised_in_worker(JAVA)
    assert isinstance(found, InputError)
    assert (
        str(found)
        == "/data/a.jsonl: rows 0 to 5 can't be read\n  remedy: did the file change during the run?"
    )
    assert raised_in_worker("schemas.errors.NoSuchError: x") is None
    assert last_cause(JAVA) == "java.io.IOException: connection lost"
    assert last_cause("") == "no message"


def test_a_job_server_that_is_not_there():
    """The message names it and what to do."""
    nowhere = ["--job_endpoint=localhost:1", "--job_server_timeout=2"]
    message = r"localhost:1: Beam's job server can't be reached[\s\S]*local.sh status"
    with (
        pytest.raises(EngineError, match=message),
        engine_pipeline(Engine(runner="flink"), nowhere) as pipeline,
    ):
        pipeline | beam.Create([1])


def test_a_deadline_is_for_clusters():
    """A local run has no job to cancel."""
    with pytest.raises(CardError, match="jobs on a cluster"), engine_pipeline(Engine(deadline=1)):
        pass


class Slow:
    """A job that never ends."""

    cancelled = False

    def wait_until_finish(self, duration):
        """Return after no time at all."""
        return "RUNNING"

    def cancel(self):
        """Note it."""
        self.cancelled = True


def test_a_job_that_takes_too_long_is_cancelled():
    """Past the deadline the job is cancelled, and the error says so."""
    job, also = Slow(), []
    with pytest.raises(EngineError, match=r"after 0\.5 minutes"):
        launch._await(job, 0.5, lambda: also.append(True))
    assert job.cancelled
    assert also


@pytest.mark.parametrize("settings", [{"accelerator": "type:nvidia-l4;count:1"}, {"wait": False}])
def test_what_only_dataflow_has_is_refused_elsewhere(settings):
    """An accelerator or leaving early would mean nothing on this machine."""
    with pytest.raises(CardError, match="are for --runner dataflow"):
        engine_options(Engine(**settings))


def test_a_job_has_the_runs_name_unless_it_has_one():
    """The name given to the pipeline is the job's, but not over one among the options."""
    for given, name in (([], "congener-1"), (["--job_name=mine"], "mine")):
        with engine_pipeline(Engine(), given, "congener-1") as pipeline:
            pipeline | beam.Create([1])
        assert pipeline.options.view_as(GoogleCloudOptions).job_name == name


@pytest.mark.parametrize("secret", ["--s3_secret_access_key=hush", "--s3_session_token=hush"])
def test_secrets_are_refused(secret):
    """Options are written down in many places: keys of a store belong in the environment, and the message doesn't repeat them."""
    with pytest.raises(CardError, match="AWS_SECRET_ACCESS_KEY in the environment") as caught:
        engine_options(Engine(), [secret])
    assert "hush" not in str(caught.value)
