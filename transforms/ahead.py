"""Working on several elements of a bundle at once, with the results in order.

While one shard's windows are on a device, other threads split and score the texts of the next ones,
and the thread of the bundle reads, decides and writes.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

FEWEST_THREADS = 2
"""Even a process with one core works on two shards, so that a device doesn't wait for it."""

MOST_THREADS = 8
"""More threads than this only wait for Python's lock; another worker process helps then."""


def count_threads() -> int:
    """Return how many shards a process works on at once: one per core that it may use."""
    allowed = os.environ.get("OMP_NUM_THREADS", "")  # the engine's share of the cores
    cores = int(allowed) if allowed.isdecimal() else len(os.sched_getaffinity(0))
    return min(MOST_THREADS, max(FEWEST_THREADS, cores))


_turns = threading.BoundedSemaphore(count_threads())
"""The turns of the threads of this process, however many bundles it has."""


@dataclass
class WorkAhead(Generic[Item, Result]):
    """Works on items in threads, at most `most` at a time, and yields the results in order.

    An error of the work is raised where its result would be, and drops the items after it. The
    work must not change anything outside the process, because it may go on after that.
    """

    work: Callable[[Item], Result]
    most: int = field(default_factory=lambda: count_threads() + 1)
    _begun: deque[Future[Result]] = field(default_factory=deque)

    def put(self, item: Item) -> Iterator[Result]:
        """Begin to work on an item, and yield the results that are ready or in the way.

        Raises: BaseException: the work on an earlier item failed.
        """
        yield from self._yield_while(lambda: len(self._begun) >= self.most)
        self._begun.append(_begin(self.work, item))
        yield from self._yield_while(lambda: bool(self._begun) and self._begun[0].done())

    def finish(self) -> Iterator[Result]:
        """Yield the remaining results.

        Raises: BaseException: the work on an item failed.
        """
        yield from self._yield_while(lambda: bool(self._begun))

    def drop(self) -> None:
        """Forget all items. Work that hasn't begun doesn't begin."""
        for future in self._begun:
            future.cancel()
        self._begun.clear()

    def _yield_while(self, goes_on: Callable[[], bool]) -> Iterator[Result]:
        try:
            while goes_on():
                yield self._begun.popleft().result()
        except BaseException:
            self.drop()
            raise


def _begin(work: Callable[[Item], Result], item: Item) -> Future[Result]:
    """Begin work in a thread, or do it at once if the system allows no more threads."""
    future: Future[Result] = Future()

    def run() -> None:
        with _turns:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work(item))
            except BaseException as error:  # noqa: BLE001 - the reader of the result raises it
                future.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # can't start new thread
        run()
    return future
