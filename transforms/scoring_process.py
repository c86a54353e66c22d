"""What a process changes about itself while it scores.

Shards are scored in threads, so each product of matrices uses one thread: several would mostly wait
for each other. The garbage collector passes over what was there before, such as loaded models,
whose half a million objects it would otherwise visit every few thousand rows.
"""

from __future__ import annotations

import gc
import threading

from threadpoolctl import threadpool_limits

_lock = threading.Lock()
_limits: list[threadpool_limits] = []
"""One entry for each stage of this process that scores."""


def begin_scoring() -> None:
    """Change the process, which `end_scoring` changes back. Results don't depend on it."""
    with _lock:
        _limits.append(threadpool_limits(1, "blas"))
        gc.freeze()


def end_scoring() -> None:
    """Undo the last change. After the first change is undone, the process is as before."""
    with _lock:
        _limits.pop().restore_original_limits()
        if not _limits:
            gc.unfreeze()
