"""Dataflow's preset, and refused settings and options."""

import subprocess
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

from pipelines.engines.dataflow import require_ready, translate_error
from pipelines.engines.launch import is_handed_over
from schemas.errors import CardError
from tests.support.engines import preset_options

GIVEN = (
    "--project=p",
    "--region=r",
    "--temp_location=gs://bucket/temp",
    "--sdk_container_image=image",
)
GPU = "type:nvidia-l4;count:1;install-nvidia-driver"


def build(*given: str, **engine) -> PipelineOptions:
    """Return the options for three machines."""
    return preset_options("dataflow", [*GIVEN, *given], **{"workers": 3} | engine)


def test_the_presets_options():
    """The number of machines is fixed, each machine runs one process, and no session is pickled."""
    found = build()
    worker, debug = found.view_as(WorkerOptions), found.view_as(DebugOptions)
    assert worker.num_workers == worker.max_num_workers == 3
    assert debug.lookup_experiment("no_use_multiple_sdk_containers")
    assert debug.number_of_worker_harness_threads == 2
    assert found.view_as(SetupOptions).save_main_session is False
    assert found.view_as(GoogleCloudOptions).labels == ["made-by=congener"]
    assert found.view_as(StandardOptions).no_wait_until_finish is False


def test_options_that_can_be_replaced():
    """Given options replace the preset's threads and labels."""
    given = ("--number_of_worker_harness_threads=4", "--labels=team=data")
    found = build(*given, "--machine_type=g2-standard-8")
    assert found.view_as(DebugOptions).number_of_worker_harness_threads == 4
    assert found.view_as(GoogleCloudOptions).labels == ["team=data"]
    assert found.view_as(WorkerOptions).machine_type == "g2-standard-8"


@pytest.mark.parametrize("left_out", GIVEN)
def test_options_that_must_be_given(left_out):
    """A project, a region, a temporary folder and an image are required."""
    rest = [option for option in GIVEN if option != left_out]
    with pytest.raises(CardError, match=f"{left_out.partition('=')[0]} is needed"):
        preset_options("dataflow", rest, workers=3)


def test_the_number_of_machines_must_be_given():
    """The number of machines is required."""
    with pytest.raises(
        CardError, match="--num_workers, which congener's --workers sets, is needed"
    ):
        build(workers=None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--staging_location=/tmp/staging", "--staging_location must be on gs://"),
        ("--max_num_workers=9", "can't be 9 here: the preset sets 3"),
        ("--save_main_session", "can't be True here"),
        ("--job_name=My_Job", "may only have lower-case letters"),
        (
            "--dataflow_service_options=worker_accelerator=type:nvidia-l4;count:1",
            "congener's --accelerator",
        ),
        ("--experiments=use_multiple_sdk_containers", "once for each vCPU"),
        ("--wrong_option=1", "no option '--wrong_option=1'"),
    ],
)
def test_options_that_would_fail_later_are_refused(given, message):
    """Options that would fail later, or cost money for nothing, are refused at once."""
    with pytest.raises(CardError, match=message):
        build(given)


def test_machines_that_scale_are_refused():
    """The initial and the largest number of machines must agree."""
    given = [*GIVEN, "--num_workers=2", "--max_num_workers=3"]
    with pytest.raises(CardError, match="scales by CPU load"):
        preset_options("dataflow", given)


def test_flexible_scheduling_has_no_gpu():
    """Flexible scheduling can't be combined with an accelerator."""
    assert build("--flexrs_goal=COST_OPTIMIZED")
    assert build(accelerator=GPU)
    with pytest.raises(CardError, match="can't be combined"):
        build("--flexrs_goal=COST_OPTIMIZED", accelerator=GPU)


def test_when_the_launcher_does_not_wait():
    """A job outlives its launcher if nobody waits, or if it is saved as a template."""
    assert not is_handed_over(build())
    assert is_handed_over(build(wait=False))
    assert is_handed_over(build("--template_location=gs://bucket/job_object"))


STORES = ("gs://bucket/corpus", "gs://bucket/run")


@pytest.mark.parametrize(
    "settings",
    [
        (STORES, "cuda", "bf16", GPU),
        (STORES, "cuda", "fp32", "type:nvidia-l4;count:2"),
        (("s3://bucket/corpus", "gs://bucket/run"), "cpu", "fp32", None),
    ],
)
def test_settings_that_are_ready(settings):
    """Settings with device, precision and files on stores are accepted."""
    require_ready(*settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            (("gs://bucket/a", "corpus/"), "cuda", "bf16", GPU),
            "corpus/: Dataflow's machines can't reach this machine's disk",
        ),
        ((("run/",), "cuda", "bf16", GPU), "run/: Dataflow's machines"),
        ((STORES, "cuda", "auto", GPU), "needs a named device and precision"),
        ((STORES, "auto", "bf16", GPU), "needs a named device and precision"),
        ((STORES, "cuda", "bf16", None), "--device cuda without an --accelerator"),
        ((STORES, "cpu", "fp32", GPU), "--device cpu with an --accelerator"),
        ((STORES, "cuda", "bf16", "nvidia-l4"), "--accelerator 'nvidia-l4' doesn't have the form"),
    ],
)
def test_settings_that_are_not_ready(settings, message):
    """Settings with different meanings on launcher and machines are refused."""
    with pytest.raises(CardError, match=message):
        require_ready(*settings)


def test_errors_of_the_client_are_translated_by_name():
    """Client errors are recognised by class name, since the client may be missing."""
    kind = type("DataflowJobAlreadyExistsError", (Exception,), {})
    found = translate_error(kind("a job of this name is running\n"))
    assert str(found).startswith("a job of this name is running\n  remedy: wait for the end")
    assert translate_error(ValueError("x")) is None


def test_settings_are_checked_without_beam():
    """Settings are checked without importing Beam."""
    code = (
        "import sys; from pipelines.engines.dataflow import require_ready; "
        "require_ready((), 'cpu', 'fp32', None); print('apache_beam' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"
