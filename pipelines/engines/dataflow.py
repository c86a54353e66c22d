"""Dataflow: what its preset sets and demands, and a Flex Template's parameters as the command line they stand for."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import typer
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    WorkerOptions,
)

from pipelines.config import Engine, FilterConfig
from pipelines.engines.launch import Preset
from schemas.errors import CardError, EngineError
from transforms.files import storage

ACCELERATOR = re.compile(
    r"type:[a-z0-9-]+;count:[1-9][0-9]*(;install-nvidia-driver(:[0-9a-z.]+)?)?"
)
JOB_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
TOLD = {
    "DataflowRuntimeException": "look at the job's log; the same command goes on with the shards that aren't done",
    "DataflowJobAlreadyExistsError": "wait until it has ended: the same command then publishes the run, or goes on with it",
}
"""Errors of the service's client, by name since they come with the extra, and what to do."""

DOCUMENTED = "see docs/operations.md, Dataflow"


@dataclass(frozen=True)
class DataflowPreset(Preset):
    """A preset that also demands what the service can't do without, before anything is read or paid for."""

    accelerator: str | None = None

    def options(self, given: Sequence[str] = ()) -> list[str]:
        """Return all options.

        Raises: CardError: One is unknown, missing, or contradicts the preset.
        """
        found = Preset.options(self, given)
        for problem in _problems(PipelineOptions(found), self.accelerator):
            raise CardError(f"Dataflow: {problem}", remedy=DOCUMENTED)
        return found

    def told(self, error: Exception) -> EngineError | None:
        """Return a job's failure, or the service's refusal of a second one, as an error of the run's."""
        remedy = TOLD.get(type(error).__name__)
        return EngineError(str(error).strip(), remedy=remedy) if remedy else None


def _problems(options: PipelineOptions, accelerator: str | None) -> list[str]:
    cloud, worker = options.view_as(GoogleCloudOptions), options.view_as(WorkerOptions)
    service = cloud.dataflow_service_options or []
    needed = {
        "project": cloud.project,
        "region": cloud.region,
        "temp_location": cloud.temp_location,
        "sdk_container_image": worker.sdk_container_image,
        "num_workers, that is congener's --workers,": worker.num_workers,
    }
    found = [f"--{name} is needed" for name, value in needed.items() if not value]
    places = {
        name: getattr(cloud, name) or "gs://" for name in ("temp_location", "staging_location")
    }
    found += [
        f"--{name} must be on gs://, not {value}"
        for name, value in places.items()
        if not value.startswith("gs://")
    ]
    if worker.num_workers != worker.max_num_workers:
        found.append(
            "--num_workers and --max_num_workers differ: the service scales by CPU, and a GPU that works leaves the CPU idle"
        )
    if cloud.job_name and not JOB_NAME.fullmatch(cloud.job_name):
        found.append(
            f"--job_name {cloud.job_name!r} isn't of lower-case letters, digits and hyphens"
        )
    if any(item.startswith("worker_accelerator") for item in service):
        found.append(
            "worker_accelerator puts a GPU on every machine; name it with congener's --accelerator, which the scoring alone gets"
        )
    if accelerator and cloud.flexrs_goal:
        found.append("--flexrs_goal and an accelerator can't go together")
    if options.view_as(DebugOptions).lookup_experiment("use_multiple_sdk_containers"):
        found.append("use_multiple_sdk_containers would load the models once for each vCPU")
    return found


def preset(engine: Engine) -> DataflowPreset:
    """Return what Dataflow needs of Beam; `workers` are machines, as many from the beginning to the end."""
    machines = (
        (f"--num_workers={engine.workers}", f"--max_num_workers={engine.workers}")
        if engine.workers
        else ()
    )
    waiting = () if engine.wait else ("--no_wait_until_finish",)
    return DataflowPreset(
        "DataflowRunner",
        (
            "--no_save_main_session",
            "--experiments=no_use_multiple_sdk_containers",
            *machines,
            *waiting,
        ),
        ("--number_of_worker_harness_threads=2", "--labels=made-by=congener"),
        accelerator=engine.accelerator,
    )


def require_ready(config: FilterConfig) -> None:
    """Refuse settings that mean one thing where the job is launched and another where it runs.

    Raises: CardError: A place is on this machine's disk, or device, precision and accelerator aren't settled.
    """
    for uri in (*config.input, config.output):
        if storage.is_local(uri):
            raise CardError(
                "Dataflow's machines can't reach this machine's disk",
                where=uri,
                remedy="put it on gs:// or s3://",
            )
    hardware, accelerator = config.hardware, config.engine.accelerator
    if "auto" in (hardware.device, hardware.precision):
        raise CardError(
            "on Dataflow the device and the precision must be named: the launcher's say nothing of the workers'",
            remedy="--device cuda --precision bf16 (or fp32), or --device cpu --precision fp32",
        )
    if (hardware.device == "cuda") != bool(accelerator):
        raise CardError(
            f"--device {hardware.device} {'without an' if hardware.device == 'cuda' else 'with an'} --accelerator",
            remedy="--device cuda --accelerator 'type:nvidia-l4;count:1;install-nvidia-driver', or --device cpu and none",
        )
    if accelerator and not ACCELERATOR.fullmatch(accelerator):
        raise CardError(
            f"--accelerator {accelerator!r}",
            remedy="type:NAME;count:N, and ;install-nvidia-driver if the image has none",
        )


def template_main() -> None:
    """Run `congener filter` as a Flex Template's launcher calls it."""
    from pipelines.cli.main import main

    sys.argv[1:] = as_command_line(sys.argv[1:])
    main()


def as_command_line(arguments: Sequence[str]) -> list[str]:
    """Return the `congener filter` command line that a Flex Template's parameters stand for.

    The template's launcher gives all of them as `--name=value`, its own and Beam's alike: those that `filter` knows
    become its options, the others Beam's. Lists come with commas between their items, flags as true or false.

    Raises: CardError: Something isn't `--name=value`, a flag is neither, or another runner is asked for.
    """
    own = filter_options()
    mine: list[str] = []
    beam: list[str] = []
    for argument in arguments:
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or (name in own and not equals):
            raise CardError(f"parameter {argument!r} isn't --name=value", remedy=DOCUMENTED)
        if name == "runner":
            _require_dataflow(value)
        elif name in own:
            mine += _as_options(name, value, own[name])
        else:
            beam.append(argument)
    return ["filter", "--runner", "dataflow", *mine, "--", *beam]


def _require_dataflow(value: str) -> None:
    if value not in ("DataflowRunner", "dataflow"):
        raise CardError(
            f"a Flex Template runs on Dataflow, not {value!r}", remedy="leave --runner out"
        )


def _as_options(name: str, value: str, kind: type) -> list[str]:
    option = f"--{name.replace('_', '-')}"
    if not value:
        return []  # the console sends parameters that were left empty
    if kind is list:
        return [word for item in value.split(",") for word in (option, item.strip())]
    if kind is not bool:
        return [option, value]
    if value not in ("true", "false"):
        raise CardError(f"parameter {name} is {value!r}, not true or false", remedy=DOCUMENTED)
    return [option] if value == "true" else []


def filter_options() -> dict[str, type]:
    """Return the options of `congener filter`, hyphens as underscores, and whether each is a list, a flag or a value."""
    from pipelines.cli.commands import filter_corpus

    app = typer.Typer(add_completion=False)
    app.command()(filter_corpus)
    found: dict[str, type] = {}
    for option in typer.main.get_command(app).params:
        if option.param_type_name == "option":
            name = max(option.opts, key=len).removeprefix("--").replace("-", "_")
            found[name] = (
                list
                if getattr(option, "multiple", False)
                else bool
                if getattr(option, "is_flag", False)
                else str
            )
    return found
