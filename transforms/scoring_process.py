"""What a process changes about itself while it scores.

Shards are scored in threads, so each product of matrices uses one thread: several would mostly wait
for each other. The garbage collector passes over what was there before, such as loaded models,
whose half a million objects it would otherwise visit every few thousand rows. glibc keeps the freed
memory of each thread apart from that of others, so few such arenas are allowed.
"""

from __future__ import annotations

import ctypes
import gc
import threading

from threadpoolctl import threadpool_limits

M_ARENA_MAX = -8
"""The number of the setting in glibc's malloc.h."""

MOST_ARENAS = 2
"""Arrays are large, so threads rarely wait for each other here.

With MALLOC_ARENA_MAX=2 from its start, a filter without a model took 598 MB at its peak instead of
742 MB. Set here, after the first threads, the limit only bounds arenas that come later (732 MB).
"""

_lock = threading.Lock()
_limits: list[threadpool_limits] = []
"""One entry for each stage of this process that scores."""


def begin_scoring() -> None:
    """Change the process, which `end_scoring` changes back. Results don't depend on it."""
    with _lock:
        _limit_arenas()
        _limits.append(threadpool_limits(1, "blas"))
        gc.freeze()


def end_scoring() -> None:
    """Undo the last change. After the first change is undone, the process is as before."""
    with _lock:
        _limits.pop().restore_original_limits()
        if not _limits:
            gc.unfreeze()


def _limit_arenas() -> None:
    """Let threads share memory that was freed, where the C library is glibc. This stays so."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_ARENA_MAX, MOST_ARENAS)
