"""The interface of the engines: the settings that choose an engine, and the engine's preset.

This module imports neither Beam nor other parts of `pipelines`. An engine is a module that makes a
`Preset`. Only the module `launch` knows all engines.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from schemas.cards import Strict
from schemas.errors import CardError, EngineError

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

SAFE_PATH = {"PYTHONSAFEPATH": "1"}
"""The environment variable that stops `python -m` from importing from the current folder.

Every Python process of an engine has this variable, because a corpus folder may contain an
`orjson.py` or a package named `transforms`.
"""


PATH = "PYTHONPATH"


def build_safe_environment() -> dict[str, str]:
    """Return the variables that keep a Python process from importing from the current folder.

    An empty entry of PYTHONPATH means the current folder, so such entries are left out. The folder
    of congener's own packages stays.
    """
    own, here = Path(__file__).resolve().parents[2], Path.cwd()
    if PATH not in os.environ:
        return dict(SAFE_PATH)
    given = os.environ[PATH].split(os.pathsep)
    kept = [entry for entry in given if entry and Path(entry).resolve() not in {here} - {own}]
    return SAFE_PATH | ({PATH: os.pathsep.join(kept)} if kept != given else {})


class Engine(Strict):
    """The settings that choose an engine.

    They aren't part of a run's identity, because every engine gives the same bytes.
    """

    runner: Literal["local", "flink", "dataflow"] = "local"
    workers: int | None = Field(None, ge=1)
    """Processes (local, default 1), parallel tasks (flink, default 2) or machines (dataflow)."""
    accelerator: str | None = None
    """The GPU of Dataflow machines, such as `type:nvidia-l4;count:1;install-nvidia-driver`."""
    deadline: float | None = Field(None, gt=0)
    """The number of minutes after which a job on a cluster is cancelled."""
    wait: bool = True
    """Whether the launcher waits for the job and publishes the run. Only Dataflow allows False."""

    @property
    def uses_other_processes(self) -> bool:
        """Return whether other processes do the work."""
        return self.runner != "local" or (self.workers or 1) > 1


@dataclass(frozen=True)
class Preset:
    """How an engine uses Beam: a runner, its options and the engine's hooks."""

    runner: str
    """The name of Beam's runner."""
    fixed: tuple[str, ...] = ()
    """Options that the user can't change."""
    defaults: tuple[str, ...] = ()
    """Options that the user can override after `--`."""
    extra: tuple[str, ...] = ()
    """Names of engine options that Beam's Python code doesn't know."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables for the processes that the runner starts."""
    check: Callable[[PipelineOptions], None] = lambda _: None
    """Raises CardError for options that the engine would refuse later or that waste money."""
    cancel: Callable[[PipelineOptions], None] = lambda _: None
    """Cancels a job that Beam's own cancellation doesn't stop."""
    translate: Callable[[Exception], EngineError | None] = lambda _: None
    """Turns an engine client's error into one with a remedy, or returns None."""


def check_engine(engine: Engine, given: Sequence[str] = ()) -> None:
    """Check the settings and the Beam options without Beam.

    Raises: CardError: a setting has no meaning for the runner, or an option doesn't begin with `-`.
    """
    if engine.runner != "dataflow" and (engine.accelerator or not engine.wait):
        raise CardError(
            f"--accelerator and --no-wait don't apply to --runner {engine.runner}",
            remedy="leave them out, or choose --runner dataflow",
        )
    if engine.runner == "local" and engine.deadline:
        raise CardError(
            "--deadline is for jobs on a cluster",
            remedy="leave it out; timeout(1) ends a local run, and the same command resumes it",
        )
    if stray := next((option for option in given if not option.startswith("-")), None):
        raise CardError(
            f"{stray!r} is not an option",
            remedy="give every input its own --input, or quote a glob so that the shell doesn't "
            "expand it; Beam's options are written --name=value",
        )
