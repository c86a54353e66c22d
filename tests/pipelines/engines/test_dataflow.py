"""What Dataflow's preset sets and demands, and what a template's parameters stand for."""

import sys

import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    WorkerOptions,
)

from pipelines.cli import main as cli
from pipelines.config import Engine, FilterConfig
from pipelines.engines.dataflow import (
    as_command_line,
    filter_options,
    preset,
    require_ready,
    template_main,
)
from pipelines.engines.launch import handed_over
from schemas.errors import CardError

GIVEN = (
    "--project=p",
    "--region=r",
    "--temp_location=gs://bucket/temp",
    "--sdk_container_image=image",
)
GPU = "type:nvidia-l4;count:1;install-nvidia-driver"


def options(*given: str, **engine) -> PipelineOptions:
    """Return the options of a launch on three machines."""
    return PipelineOptions(
        preset(Engine(**{"runner": "dataflow", "workers": 3} | engine)).options([*GIVEN, *given])
    )


def test_what_the_preset_sets():
    """As many machines from beginning to end, one process and two threads on each, no main session, a label."""
    found = options()
    worker, debug = found.view_as(WorkerOptions), found.view_as(DebugOptions)
    assert worker.num_workers == worker.max_num_workers == 3
    assert debug.lookup_experiment("no_use_multiple_sdk_containers")
    assert debug.number_of_worker_harness_threads == 2
    assert found.view_as(SetupOptions).save_main_session is False
    assert found.view_as(GoogleCloudOptions).labels == ["made-by=congener"]
    assert found.view_as(StandardOptions).no_wait_until_finish is False


def test_what_can_be_said_otherwise():
    """Threads and labels give way to what is given."""
    found = options(
        "--number_of_worker_harness_threads=4", "--labels=team=data", "--machine_type=g2-standard-8"
    )
    assert found.view_as(DebugOptions).number_of_worker_harness_threads == 4
    assert found.view_as(GoogleCloudOptions).labels == ["team=data"]
    assert found.view_as(WorkerOptions).machine_type == "g2-standard-8"


@pytest.mark.parametrize("left_out", GIVEN)
def test_what_must_be_given(left_out):
    """Project, region, a place for temporary files and the image are needed."""
    with pytest.raises(CardError, match=f"{left_out.partition('=')[0]} is needed"):
        preset(Engine(runner="dataflow", workers=3)).options(
            [item for item in GIVEN if item != left_out]
        )


def test_machines_must_be_given():
    """How many machines isn't left to the service."""
    with pytest.raises(CardError, match="--num_workers, that is congener's --workers, is needed"):
        options(workers=None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--staging_location=/tmp/staging", "--staging_location must be on gs://"),
        ("--max_num_workers=9", "can't be 9 here: the preset sets 3"),
        ("--save_main_session", "can't be True here"),
        ("--job_name=My_Job", "isn't of lower-case letters"),
        (
            "--dataflow_service_options=worker_accelerator=type:nvidia-l4;count:1",
            "congener's --accelerator",
        ),
        ("--experiments=use_multiple_sdk_containers", "once for each vCPU"),
        ("--wrong_option=1", "no option '--wrong_option=1'"),
    ],
)
def test_what_would_go_wrong_is_refused(given, message):
    """What the service would refuse later, or carry out at a price, is refused before anything is read."""
    with pytest.raises(CardError, match=message):
        options(given)


def test_cheap_machines_have_no_gpu():
    """Flexible scheduling and an accelerator don't go together; without one it is allowed."""
    assert options("--flexrs_goal=COST_OPTIMIZED")
    with pytest.raises(CardError, match="can't go together"):
        options("--flexrs_goal=COST_OPTIMIZED", accelerator=GPU)


def test_when_nobody_waits():
    """Without waiting, or as a template, a job goes on without its launcher."""
    assert not handed_over(options())
    assert handed_over(options(wait=False))
    assert handed_over(options("--template_location=gs://bucket/job_object"))


def config(**changes) -> FilterConfig:
    """Return settings that are ready for Dataflow, but for the changes."""
    base = {
        "input": ("gs://bucket/corpus",),
        "output": "gs://bucket/run",
        "hardware": {"device": "cuda", "precision": "bf16"},
        "engine": {"runner": "dataflow", "workers": 3, "accelerator": GPU},
    }
    return FilterConfig.model_validate(base | changes)


def test_what_is_ready():
    """GPU and precision named, all on stores: ready, on either store, and without a GPU in the same way."""
    require_ready(config())
    require_ready(
        config(
            input=("s3://bucket/corpus",),
            hardware={"device": "cpu", "precision": "fp32"},
            engine={"runner": "dataflow"},
        )
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"input": ("gs://bucket/a", "corpus/")},
            "corpus/: Dataflow's machines can't reach this machine's disk",
        ),
        ({"output": "run/"}, "run/: Dataflow's machines"),
        ({"hardware": {"device": "cuda"}}, "the device and the precision must be named"),
        ({"hardware": {"precision": "bf16"}}, "the device and the precision must be named"),
        ({"engine": {"runner": "dataflow"}}, "--device cuda without an --accelerator"),
        (
            {"hardware": {"device": "cpu", "precision": "fp32"}},
            "--device cpu with an --accelerator",
        ),
        (
            {"engine": {"runner": "dataflow", "accelerator": "nvidia-l4"}},
            "--accelerator 'nvidia-l4'",
        ),
    ],
)
def test_what_is_not_ready(changes, message):
    """What would mean one thing on the launcher and another on the machines is refused."""
    with pytest.raises(CardError, match=message):
        require_ready(config(**changes))


def test_the_launcher_takes_whatever_device_it_has():
    """On the launcher models run on what is there, in the workers' precision; elsewhere settings stay as they are."""
    here = config().on_launcher().hardware
    assert (here.device, here.precision) == ("auto", "bf16")
    local = FilterConfig.model_validate({"hardware": {"device": "cuda"}})
    assert local.on_launcher() is local


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("input", "isn't --name=value"),
        ("--input", "isn't --name=value"),
        ("--vectors=yes", "vectors is 'yes', not true or false"),
        ("--runner=FlinkRunner", "runs on Dataflow, not 'FlinkRunner'"),
    ],
)
def test_parameters_that_mean_nothing(argument, message):
    """A parameter that isn't a name and a value, a flag that is neither, or another runner is an error."""
    with pytest.raises(CardError, match=message):
        as_command_line([argument])


def test_what_filter_does_not_know_is_beams():
    """Names that `filter` doesn't have go to Beam, flags of Beam's too; they are checked there."""
    given = [
        "--rows_per_shard=7",
        "--signals=head, lexicon",
        "--vectors=true",
        "--no_auth",
        "--project=p",
    ]
    assert as_command_line(given) == [
        *[
            "filter",
            "--runner",
            "dataflow",
            "--rows-per-shard",
            "7",
            "--signals",
            "head",
            "--signals",
            "lexicon",
            "--vectors",
            "--",
        ],
        "--no_auth",
        "--project=p",
    ]


def test_options_are_told_apart_by_kind():
    """Lists, flags and values are told apart as the command line itself does."""
    found = filter_options()
    assert (found["input"], found["vectors"], found["output"], found["workers"]) == (
        list,
        bool,
        str,
        str,
    )
    assert "help" not in found


def test_a_template_runs_the_command_line(monkeypatch):
    """The template's entry hands its parameters over and ends as the command line does."""
    monkeypatch.setattr(sys, "argv", ["main.py", "--input=corpus/", "--output=gs://bucket/run"])
    with pytest.raises(SystemExit) as ended:
        template_main()
    assert ended.value.code == 2
    assert sys.argv == [
        "main.py",
        *[
            "filter",
            "--runner",
            "dataflow",
            "--input",
            "corpus/",
            "--output",
            "gs://bucket/run",
            "--",
        ],
    ]
    assert cli.app.registered_commands
