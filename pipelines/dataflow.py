"""Dataflow: what its preset sets."""

from __future__ import annotations

from pipelines.config import Engine
from pipelines.runners import Preset


def preset(engine: Engine) -> Preset:
    """Return what Dataflow needs of Beam; `workers` are machines."""
    machines = (f"--num_workers={engine.workers}", f"--max_num_workers={engine.workers}") if engine.workers else ()
    return Preset("DataflowRunner", ("--no_save_main_session", *machines))
