"""The local engine: this process, or several processes on this machine."""

from __future__ import annotations

import os
import threading

from pipelines.engines.interface import Engine, Preset, build_safe_environment
from schemas.errors import MachineError

THREADS_PER_WORKER = 45
"""About how many threads launcher and workers have for each worker (measured: 90 with two)."""

MOST_THREADS_TRIED = 1_000

MOST_PER_CORE = 16
"""The most workers for each core. More gain nothing, and fill the memory of any machine."""


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


def require_threads(engine: Engine) -> None:
    """Check that the system allows the threads of an engine with several processes.

    Without this check, gRPC aborts the process when it can't start a thread, or the launcher waits
    for a worker that couldn't start.

    Raises: MachineError: the system doesn't allow as many threads, or the cores are far fewer than
        the workers.
    """
    if engine.runner != "local" or not engine.uses_other_processes:
        return
    workers = engine.workers or 1
    if workers > (most := MOST_PER_CORE * (os.cpu_count() or 1)):
        raise MachineError(
            f"{workers:,} workers are more than {MOST_PER_CORE} for each core of this machine",
            where="--workers",
            remedy=f"use as many workers as there are cores, and at most {most}",
        )
    needed = THREADS_PER_WORKER * workers
    if (found := count_possible_threads(min(needed, MOST_THREADS_TRIED))) < needed:
        if found == MOST_THREADS_TRIED:
            return
        raise MachineError(
            f"the system allows only {found} more threads, but {workers} workers need about "
            f"{needed}",
            where="--workers",
            remedy="raise the limit of processes (ulimit -u, or pids.max of the container), or "
            "use fewer workers; the same command resumes the run",
        )


def count_possible_threads(most: int) -> int:
    """Return how many threads can be started at once, up to `most`."""
    stop, threads = threading.Event(), []
    try:
        for _ in range(most):
            thread = threading.Thread(target=stop.wait, daemon=True)
            thread.start()
            threads.append(thread)
    except RuntimeError:  # can't start new thread
        pass
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    return len(threads)
