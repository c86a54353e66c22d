"""The Dataflow engine: its preset, and the settings and options that it requires."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pipelines.engines.interface import Engine, Preset
from schemas.errors import CardError, EngineError
from transforms.files import storage

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

ACCELERATOR = re.compile(
    r"type:[a-z0-9-]+;count:[1-9][0-9]*(;install-nvidia-driver(:[0-9a-z.]+)?)?"
)
JOB_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
REMEDIES = {
    "DataflowRuntimeException": "read the job's log; the same command resumes the run",
    "DataflowJobAlreadyExistsError": "wait for the end of the job; the same command then publishes "
    "the run, or resumes it",
}
"""Remedies for client errors, by class name because the client may not be installed."""

DOCUMENTED = "see docs/operations.md, Dataflow"


def make_dataflow_preset(engine: Engine) -> Preset:
    """Return the preset for Dataflow with a constant number of machines (`workers`)."""
    machines = (
        (f"--num_workers={engine.workers}", f"--max_num_workers={engine.workers}")
        if engine.workers
        else ()
    )
    waiting = () if engine.wait else ("--no_wait_until_finish",)
    fixed = (
        "--no_save_main_session",
        "--experiments=no_use_multiple_sdk_containers",
        *machines,
        *waiting,
    )

    def check(options: PipelineOptions) -> None:
        require_options(options, engine.accelerator)

    return Preset(
        "DataflowRunner",
        fixed,
        ("--number_of_worker_harness_threads=2", "--labels=made-by=congener"),
        check=check,
        translate=translate_error,
    )


def translate_error(error: Exception) -> EngineError | None:
    """Return an error with a remedy for a failed or refused job, or None for other errors."""
    remedy = REMEDIES.get(type(error).__name__)
    return EngineError(str(error).strip(), remedy=remedy) if remedy else None


def require_options(options: PipelineOptions, accelerator: str | None) -> None:
    """Refuse options that the service would refuse later, or that would waste machines.

    Raises: CardError: an option is missing or wrong.
    """
    given = options.get_all_options()
    problems = (*_find_missing(given), *_find_wrong_values(given, accelerator))
    for problem in problems[:1]:
        raise CardError(f"Dataflow: {problem}", remedy=DOCUMENTED)


def _find_missing(given: dict[str, Any]) -> Iterator[str]:
    needed = ("project", "region", "temp_location", "sdk_container_image", "num_workers")
    for name in needed:
        if not given[name]:
            own = ", which congener's --workers sets," if name == "num_workers" else ""
            yield f"--{name}{own} is needed"


def _find_wrong_values(given: dict[str, Any], accelerator: str | None) -> Iterator[str]:
    for name in ("temp_location", "staging_location"):
        if given[name] and not given[name].startswith("gs://"):
            yield f"--{name} must be on gs://, not {given[name]}"
    if given["num_workers"] != given["max_num_workers"]:
        yield (
            "--num_workers and --max_num_workers differ: the service scales by CPU load, "
            "which a busy GPU doesn't cause"
        )
    if given["job_name"] and not JOB_NAME.fullmatch(given["job_name"]):
        yield (
            f"--job_name {given['job_name']!r} may only have lower-case letters, digits and hyphens"
        )
    service = given["dataflow_service_options"] or ()
    if any(option.startswith("worker_accelerator") for option in service):
        yield (
            "worker_accelerator puts a GPU on every machine; congener's --accelerator puts it on "
            "the scoring machines only"
        )
    if accelerator and given["flexrs_goal"]:
        yield "--flexrs_goal and --accelerator can't be combined"
    experiments = {option.partition("=")[0] for option in given["experiments"] or ()}
    if "use_multiple_sdk_containers" in experiments:
        yield "use_multiple_sdk_containers would load the models once for each vCPU"


def require_ready(
    uris: Iterable[str], device: str, precision: str, accelerator: str | None
) -> None:
    """Refuse settings with different meanings on the launcher and on the machines.

    Raises: CardError: one of `uris` is a local path, or device, precision and accelerator don't
    agree.
    """
    for uri in uris:
        if storage.is_local(uri):
            raise CardError(
                "Dataflow's machines can't reach this machine's disk",
                where=uri,
                remedy="put it on gs:// or s3://",
            )
    if "auto" in (device, precision):
        raise CardError(
            "Dataflow needs a named device and precision: the launcher can't see the machines",
            remedy="--device cuda --precision bf16 (or fp32), or --device cpu --precision fp32",
        )
    if (device == "cuda") != bool(accelerator):
        raise CardError(
            f"--device {device} {'without an' if device == 'cuda' else 'with an'} --accelerator",
            remedy="--device cuda --accelerator 'type:nvidia-l4;count:1;install-nvidia-driver', "
            "or --device cpu without --accelerator",
        )
    if accelerator and not ACCELERATOR.fullmatch(accelerator):
        raise CardError(
            f"--accelerator {accelerator!r} doesn't have the form type:NAME;count:N",
            remedy="add ;install-nvidia-driver if the image has no driver",
        )
