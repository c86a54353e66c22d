"""Turn an engine's errors into errors with a remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions

from pipelines.engines.interface import Preset
from schemas.errors import CongenerError, EngineError

RAISED = re.compile(
    r"^(?:.*: )?schemas\.errors\.(\w+): (.*?)(?:\n  remedy: (.*?))?"
    r"(?: \[while running '[^'\n]*'.*)?$",
    re.MULTILINE,
)
"""A congener error in a worker's traceback: its class, message and remedy."""


@contextmanager
def translate_failures(options: PipelineOptions, preset: Preset) -> Iterator[None]:
    """Turn an engine's errors inside the block into errors with a remedy.

    Possible bugs are raised unchanged.

    Raises:
        CongenerError: a worker raised it.
        EngineError: the engine can't be reached, or the job failed.
    """
    try:
        yield
    except (grpc.RpcError, grpc.FutureTimeoutError) as error:
        raise EngineError(
            f"Beam's job server can't be reached: {error}",
            where=options.view_as(PortableOptions).job_endpoint,
            remedy="check that it is up (deploy/flink/local.sh status), or give another address "
            "with -- --job_endpoint=HOST:PORT",
        ) from error
    except Exception as error:
        if found := preset.translate(error) or _translate_runtime_error(error):
            raise found from error
        raise


def _translate_runtime_error(error: Exception) -> CongenerError | None:
    """Return the congener error or failed job behind one of Beam's RuntimeErrors, or None."""
    if not isinstance(error, RuntimeError):
        return None
    if found := find_worker_error(str(error)):
        return found
    if not str(error).startswith("Pipeline "):
        return None
    return EngineError(
        f"the job failed: {find_innermost_cause(str(error))}",
        remedy="the same command resumes it; the engine's own logs have the details",
    )


def find_worker_error(trace: str) -> CongenerError | None:
    """Rebuild the congener error from a worker's traceback, since a worker sends only text."""
    kinds = {kind.__name__: kind for kind in CongenerError.__subclasses__()}
    for name, problem, remedy in reversed(RAISED.findall(trace)):
        if name in kinds:
            return kinds[name](problem, remedy=remedy or None)
    return None


def find_innermost_cause(trace: str) -> str:
    """Return the innermost cause in a Java stack trace, or the last line of a Python traceback."""
    lines = [
        line.strip()
        for line in trace.splitlines()
        if line.strip() and not line.startswith(("\tat ", "\t..."))
    ]
    java = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return (java or lines or ["no message"])[-1]
