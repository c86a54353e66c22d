"""Launch a pipeline on an engine: build its options, set its environment and wait."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    S3Options,
    StandardOptions,
)
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    BeamFnControlServicer,
    ControlConnection,
)
from apache_beam.runners.runner import PipelineResult, PipelineState
from grpc import _server as grpc_server

from pipelines.engines import dataflow, flink, local
from pipelines.engines.beam_options import combine_options
from pipelines.engines.failures import translate_failures
from pipelines.engines.interface import Engine, Preset, check_engine
from pipelines.engines.local_processes import use_own_workers
from schemas.errors import CardError, EngineError

PRESETS: dict[str, Callable[[Engine], Preset]] = {
    "local": local.make_local_preset,
    "flink": flink.make_flink_preset,
    "dataflow": dataflow.make_dataflow_preset,
}


def build_engine_options(engine: Engine, given: Sequence[str] = ()) -> PipelineOptions:
    """Combine the engine's options with the user's options.

    The options also configure object stores.

    Raises: CardError: a setting has no meaning here, an option is unknown or contradicts the
    preset, or an option holds a secret.
    """
    check_engine(engine, given)
    options = PipelineOptions(combine_options(PRESETS[engine.runner](engine), given))
    secrets = options.view_as(S3Options)
    if secrets.s3_secret_access_key or secrets.s3_session_token:
        raise CardError(
            "a secret among Beam's options would be written to job descriptions and the manifest",
            remedy="set AWS_SECRET_ACCESS_KEY in the environment of launcher and workers, "
            "or give their machines a role",
        )
    return options


def is_handed_over(options: PipelineOptions) -> bool:
    """Return whether a job continues without its launcher, or is only saved as a template."""
    return bool(
        options.view_as(StandardOptions).no_wait_until_finish
        or options.view_as(GoogleCloudOptions).template_location
    )


@contextmanager
def open_pipeline(
    engine: Engine, given: Sequence[str] = (), name: str | None = None
) -> Iterator[beam.Pipeline]:
    """Yield a pipeline, and run it on the engine when the block ends.

    After a block without an error, the pipeline has finished or was handed over. `name` is the
    default job name. Dataflow refuses a second job with the same name while the first one is
    active.

    Raises:
        CardError: the settings or the options are wrong.
        CongenerError: a worker raised it.
        EngineError: the engine can't be reached, failed or missed the deadline.
        MachineError: the system doesn't allow the threads of several local processes.
    """
    options = build_engine_options(engine, given)
    local.require_threads(engine)
    preset = PRESETS[engine.runner](engine)
    cloud = options.view_as(GoogleCloudOptions)
    cloud.job_name = cloud.job_name or name
    with (
        _set_environment(preset.environment),
        listen_on_loopback(),
        dismiss_late_workers(),
        use_own_workers(),
    ):
        pipeline = beam.Pipeline(runner=preset.runner, options=options)
        yield pipeline
        with translate_failures(options, preset):
            result = pipeline.run()
            if not is_handed_over(options):
                _wait(result, engine.deadline, lambda: preset.cancel(options))


def _wait(result: PipelineResult, deadline: float | None, cancel: Callable[[], None]) -> None:
    """Wait for a job, and cancel it at the deadline or on an interrupt."""
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
            remedy="find out what is slow; the same command resumes it",
        )
    if state != PipelineState.DONE:
        raise EngineError(f"the job ended as {state}", remedy="the same command resumes it")


@contextmanager
def _set_environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables inside the block."""
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
def listen_on_loopback() -> Iterator[None]:
    """Make Beam's servers for its workers listen only on the loopback address."""
    server = grpc_server._Server  # noqa: SLF001
    original = server.add_insecure_port

    def add_insecure_port(self: Any, address: str) -> int:
        return int(original(self, address.replace("[::]", "127.0.0.1")))

    server.add_insecure_port = add_insecure_port
    try:
        yield
    finally:
        server.add_insecure_port = original


@contextmanager
def dismiss_late_workers() -> Iterator[None]:
    """Make Beam end workers that connect only after their connection was closed.

    Beam 2.77 tells a worker to end only if the worker has connected by then. After an early error,
    a worker that is still starting would wait for work forever, and the launcher for that worker.
    """
    original = ControlConnection.close

    def close(self: Any) -> None:
        if self._state == BeamFnControlServicer.UNSTARTED_STATE:
            self.push(BeamFnControlServicer._DONE_MARKER)  # noqa: SLF001
        original(self)

    ControlConnection.close = close
    try:
        yield
    finally:
        ControlConnection.close = original
