"""The local engine: this process, or several processes on this machine."""

from __future__ import annotations

import os

from pipelines.engines.interface import Engine, Preset, build_safe_environment


def make_local_preset(engine: Engine) -> Preset:
    """Return the preset for this process, or for `workers` processes that share the CPU cores."""
    if not engine.uses_other_processes:
        return Preset("FnApiRunner", ("--direct_num_workers=1",))
    workers = engine.workers or 1
    threads = max(1, (os.cpu_count() or 1) // workers)
    return Preset(
        "FnApiRunner",
        (f"--direct_num_workers={workers}", "--direct_running_mode=multi_processing"),
        environment={"OMP_NUM_THREADS": str(threads), **build_safe_environment()},
    )
