"""How many rows of a run are finished, how fast, and how long the others take."""

from __future__ import annotations

import time
from dataclasses import dataclass

from schemas.events import (
    BatchScored,
    Event,
    RowsFinished,
    RowsPlanned,
    ShardStarted,
    ShardWritten,
    WindowsPlanned,
)


@dataclass
class ShardProgress:
    """A shard in progress: its rows, and the windows of its texts that are planned and scored."""

    rows: int
    planned: int = 0
    scored: int = 0

    def estimate_rows(self) -> float:
        """Return the rows that count as finished, in proportion to the scored windows."""
        return self.rows * min(1.0, self.scored / self.planned) if self.planned else 0.0


class RowCount:
    """Counts a run's finished rows from the events of all its threads and processes.

    Shards in progress count in proportion to their scored windows. The count never falls, even if
    a shard is begun twice. Speed and time left are those of this session: an earlier attempt's rows
    took none of its time, and its time begins with the first shard.
    """

    def __init__(self) -> None:
        self._begin(RowsPlanned(0, 0))

    def _begin(self, planned: RowsPlanned) -> None:
        self.total, self._done_before = planned.rows, planned.rows_done
        self._again = dict(planned.again)
        self._parts: dict[str, ShardProgress] = {}
        self._written: dict[str, int] = {}
        self._reported = self._most = self.tokens = 0
        self._began = time.monotonic()

    def update(self, event: Event) -> None:
        """Handle an event."""
        match event:
            case RowsPlanned():
                self._begin(event)
            case ShardStarted(rows, shard):
                if not (self._parts or self._written):
                    self._began = time.monotonic()
                self._parts[shard] = ShardProgress(rows)
            case WindowsPlanned(windows, _, shard) if shard in self._parts:
                self._parts[shard].planned += windows
            case BatchScored(tokens, windows, shard):
                self.tokens += tokens
                if shard in self._parts:
                    self._parts[shard].scored += windows
            case ShardWritten(rows, shard):
                self._parts.pop(shard, None)
                self._written[shard] = rows
            case RowsFinished(rows):
                self._reported = rows

    def count_rows(self) -> int:
        """Return the number of finished rows, including parts of the shards in progress."""
        own = self._work(without=self._again)
        rows = int(max(self._reported, self._done_before + own))
        self._most = min(self.total, max(self._most, rows))
        return self._most

    def measure_speed(self) -> tuple[float, float]:
        """Return the rows and the tokens per second of this session."""
        seconds = max(time.monotonic() - self._began, 1e-9)
        return self._count_worked() / seconds, self.tokens / seconds

    def estimate_seconds(self) -> float | None:
        """Return how long the rows that are left take at this session's mean speed, if any.

        The mean is computed each time, so on a machine that slows down, the time grows. Finished
        shards that are processed again are work, although they don't change the number of rows.
        """
        worked, (speed, _) = self._count_worked(), self.measure_speed()
        if not worked:
            return None
        work = self.total - self._done_before + sum(self._again.values())
        return max(0.0, work - worked) / speed

    def _count_worked(self) -> float:
        """Return the rows that this session has processed."""
        return max(self._work(), self._reported - self._done_before)

    def _work(self, without: dict[str, int] | None = None) -> float:
        """Return the processed rows of all shards, or of those that weren't finished before."""
        left_out = without or {}
        written = sum(rows for shard, rows in [*self._written.items()] if shard not in left_out)
        parts = (part for shard, part in [*self._parts.items()] if shard not in left_out)
        return written + sum(part.estimate_rows() for part in parts)
