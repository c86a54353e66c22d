"""The engines: which Beam runner each name stands for, the options it must have, and what may be added after `--`.

Beam only warns of options that it doesn't know, and lets a later option win over an earlier one; here both are errors.
"""

from __future__ import annotations

import difflib
import os
import re
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    S3Options,
    StandardOptions,
    _BeamArgumentParser,
)
from apache_beam.runners.runner import PipelineResult, PipelineState
from grpc import _server as grpc_server

from pipelines.config import Engine
from schemas.errors import CardError, CongenerError, EngineError


@dataclass(frozen=True)
class Preset:
    """What an engine needs of Beam.

    `fixed` options can't be said otherwise, `defaults` can, after `--`; `extra` names options that only the engine's
    side knows. `environment` is set for the processes that the runner starts. `cancel` cancels where Beam's own way doesn't reach.
    """

    runner: str
    fixed: tuple[str, ...] = ()
    defaults: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    cancel: Callable[[PipelineOptions], None] = lambda _: None

    def options(self, given: Sequence[str] = ()) -> list[str]:
        """Return all options, those given checked against Beam's own and against the fixed ones.

        Raises: CardError: An option is unknown, or contradicts the preset.
        """
        fixed, added = self._understood(self.fixed), self._understood(given)
        for name, value in added.items():
            if name == "runner" or (
                name in fixed and not isinstance(value, list) and value != fixed[name]
            ):
                wanted = self.runner if name == "runner" else fixed[name]
                raise CardError(
                    f"--{name} can't be {value!r} here: the preset sets {wanted!r}",
                    remedy="leave it out, or choose another --runner",
                )
        kept = [
            option
            for option in self.defaults
            if not self._understood([option]).keys() & {**fixed, **added}
        ]
        return [*self.fixed, *kept, *given]

    def told(self, error: Exception) -> EngineError | None:  # noqa: ARG002
        """Return in our words what the engine's client says went wrong, if it is more than a fault."""
        return None

    def _understood(self, options: Sequence[str]) -> dict[str, Any]:
        """Return the names and values of options as Beam parses them, without the defaults of others."""
        parser = _parser(self.extra)
        unset = Namespace(
            **dict.fromkeys(vars(parser.parse_args([])))
        )  # or else argparse fills in the defaults
        found, unknown = parser.parse_known_args(list(options), unset)
        if unknown:
            if not unknown[0].startswith("-"):
                raise CardError(
                    f"{unknown[0]!r} stands alone",
                    remedy="give every input its own --input, or quote a glob so that the shell leaves it alone; Beam's options are --name=value",
                )
            close = difflib.get_close_matches(unknown[0].split("=")[0], parser.known, 1)
            raise CardError(
                f"Beam has no option {unknown[0]!r}",
                remedy=f"did you mean {close[0]}?"
                if close
                else "what follows -- are Beam's options, written --name=value",
            )
        return {name: value for name, value in vars(found).items() if value is not None}


class _Parser(_BeamArgumentParser):  # type: ignore[misc]
    @property
    def known(self) -> list[str]:
        """Return all options that it knows."""
        return [name for action in self._actions for name in action.option_strings]

    def error(self, message: str) -> NoReturn:
        raise CardError(
            f"Beam's options: {message}",
            remedy="what follows -- are Beam's options, written --name=value",
        )


def _parser(extra: Sequence[str]) -> _Parser:
    parser = _Parser(allow_abbrev=False, add_help=False)
    for kind in {str(kind): kind for kind in PipelineOptions.__subclasses__()}.values():
        if "_add_argparse_args" in vars(kind):
            kind._add_argparse_args(parser)  # noqa: SLF001
    for name in extra:
        parser.add_argument(f"--{name}")
    return parser


def local(engine: Engine) -> Preset:
    """Run in this process, or in `workers` processes whose torch shares the cores."""
    if engine.workers is None or engine.workers == 1:
        return Preset("FnApiRunner", ("--direct_num_workers=1",))
    threads = max(1, (os.cpu_count() or 1) // engine.workers)
    return Preset(
        "FnApiRunner",
        (f"--direct_num_workers={engine.workers}", "--direct_running_mode=multi_processing"),
        environment={"OMP_NUM_THREADS": str(threads)},
    )


def flink(engine: Engine) -> Preset:
    """Run on a Flink cluster."""
    from pipelines.engines.flink import preset

    return preset(engine)


def dataflow(engine: Engine) -> Preset:
    """Run on Dataflow."""
    from pipelines.engines.dataflow import preset

    return preset(engine)


PRESETS: dict[str, Callable[[Engine], Preset]] = {
    "local": local,
    "flink": flink,
    "dataflow": dataflow,
}


def engine_options(engine: Engine, given: Sequence[str] = ()) -> PipelineOptions:
    """Return the engine's options and those given, which say among other things how object stores are reached.

    Raises: CardError: An option is unknown or contradicts the preset.
    """
    if engine.runner != "dataflow" and (engine.accelerator or not engine.wait):
        raise CardError(
            "--accelerator and --no-wait are for --runner dataflow", remedy="leave them out"
        )
    options = PipelineOptions(PRESETS[engine.runner](engine).options(given))
    secrets = options.view_as(S3Options)
    if secrets.s3_secret_access_key or secrets.s3_session_token:
        raise CardError(
            "a secret among Beam's options would stand in job descriptions and in the manifest",
            remedy="AWS_SECRET_ACCESS_KEY in the environment of launcher and workers, or a role of theirs",
        )
    return options


def handed_over(options: PipelineOptions) -> bool:
    """Say whether a job with these options goes on without its launcher: nobody waits, or it is written down as a template."""
    return bool(
        options.view_as(StandardOptions).no_wait_until_finish
        or options.view_as(GoogleCloudOptions).template_location
    )


@contextmanager
def engine_pipeline(
    engine: Engine, given: Sequence[str] = (), name: str | None = None
) -> Iterator[beam.Pipeline]:
    """Yield a pipeline on the engine; on the way out it runs, and has ended well unless it is handed over.

    `name` is the job's, if none is given: Dataflow refuses a second job of a name while the first one runs.

    Raises:
        CardError: An option is unknown or contradicts the preset.
        CongenerError: What a worker raised, wherever it ran.
        EngineError: The engine can't be reached, failed or took longer than the deadline.
    """
    if engine.deadline and engine.runner == "local":
        raise CardError(
            "--deadline is for jobs on a cluster",
            remedy="leave it out; timeout(1) ends a local run, and the same command resumes",
        )
    preset = PRESETS[engine.runner](engine)
    options = engine_options(engine, given)
    cloud = options.view_as(GoogleCloudOptions)
    cloud.job_name = cloud.job_name or name
    with _environment(preset.environment), _on_loopback():
        pipeline = beam.Pipeline(runner=preset.runner, options=options)
        yield pipeline
        with _as_ours(options, preset):
            result = pipeline.run()
            if not handed_over(options):
                _await(result, engine.deadline, lambda: preset.cancel(options))


def _await(result: PipelineResult, deadline: float | None, cancel: Callable[[], None]) -> None:
    try:
        state = result.wait_until_finish(duration=int(deadline * 60_000) if deadline else None)
    except KeyboardInterrupt:
        result.cancel()
        cancel()
        raise
    if not PipelineState.is_terminal(state):
        result.cancel()
        cancel()
        raise EngineError(
            f"the job wasn't done after {deadline:g} minutes and was cancelled",
            remedy="the same command resumes it; look for what is slow first",
        )
    if state != PipelineState.DONE:
        raise EngineError(f"the job ended as {state}", remedy="the same command resumes it")


@contextmanager
def _as_ours(options: PipelineOptions, preset: Preset) -> Iterator[None]:
    """Turn what an engine raises into errors with a remedy; an error that can't be told from a fault of ours passes."""
    try:
        yield
    except (grpc.RpcError, grpc.FutureTimeoutError) as error:
        raise EngineError(
            f"Beam's job server can't be reached: {error}",
            where=options.view_as(PortableOptions).job_endpoint,
            remedy="is it up (deploy/flink/local.sh status)? another: -- --job_endpoint=HOST:PORT",
        ) from error
    except Exception as error:
        if raised := preset.told(error) or (
            raised_in_worker(str(error)) if isinstance(error, RuntimeError) else None
        ):
            raise raised from error
        if not isinstance(error, RuntimeError) or not str(error).startswith("Pipeline "):
            raise
        raise EngineError(
            f"the job failed: {last_cause(str(error))}",
            remedy="the same command resumes it; the engine's own logs say more",
        ) from error


RAISED = re.compile(
    r"^(?:.*: )?schemas\.errors\.(\w+): (.*?)(?:\n  remedy: (.*?))?(?: \[while running '[^'\n]*'.*)?$",
    re.MULTILINE,
)


def raised_in_worker(text: str) -> CongenerError | None:
    """Find the congener error in the trace that a worker sent, as text is all that crosses."""
    found = RAISED.findall(text)
    kinds = {kind.__name__: kind for kind in CongenerError.__subclasses__()}
    return next(
        (
            kinds[name](problem, remedy=remedy or None)
            for name, problem, remedy in reversed(found)
            if name in kinds
        ),
        None,
    )


def last_cause(text: str) -> str:
    """Return the innermost cause of a Java trace, or the last line of a Python one."""
    causes = [
        line.strip()
        for line in text.splitlines()
        if line.strip() and not line.startswith(("\tat ", "\t..."))
    ]
    java = [line.removeprefix("Caused by: ") for line in causes if line.startswith("Caused by: ")]
    return (java or causes or ["no message"])[-1]


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Have the servers that Beam opens for its worker processes listen on loopback; they would on every interface."""
    server = grpc_server._Server  # noqa: SLF001
    real = server.add_insecure_port

    def add_insecure_port(self: Any, address: str) -> int:
        return int(real(self, address.replace("[::]", "127.0.0.1")))

    server.add_insecure_port = add_insecure_port
    try:
        yield
    finally:
        server.add_insecure_port = real
