"""Progress on a terminal: notices, a progress line, and tables at the end, all on stderr."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pipelines.display.terminal import build_table, open_console, print_text
from schemas.events import (
    BatchesCut,
    BatchScored,
    Event,
    FitStarted,
    Noticed,
    RowsFinished,
    RowsPlanned,
    RunSummarised,
    ShardStarted,
    ShardWritten,
    WindowsPlanned,
)
from schemas.manifests import Manifest
from schemas.notices import warn
from schemas.scores import TEXTS_OF_SIDES
from schemas.shares import format_bound, format_percent

LOG_SECONDS = 30.0
"""How many seconds to wait between progress lines that aren't redrawn in place."""

REDRAW_SECONDS = 0.3


class RowCount:
    """Counts the finished rows of a run from its events.

    A shard that is being scored counts in part, in proportion to the windows that a model has
    processed.
    """

    def __init__(self) -> None:
        self.total = self.done_before = self.done = 0
        self.tokens = 0
        self._shard_rows = self._windows_planned = self._windows_done = 0

    def update(self, event: Event) -> None:
        """Handle an event."""
        match event:
            case RowsPlanned(rows, rows_done):
                self.total, self.done, self.done_before, self.tokens = rows, rows_done, rows_done, 0
            case ShardStarted(rows):
                self._shard_rows, self._windows_planned, self._windows_done = rows, 0, 0
            case WindowsPlanned(windows):
                self._windows_planned += windows
            case BatchScored(tokens, windows):
                self.tokens += tokens
                self._windows_done += windows
            case ShardWritten(rows):
                self.done += rows
                self._shard_rows = self._windows_planned = self._windows_done = 0
            case RowsFinished(rows):
                self.done = rows

    def estimate_rows(self) -> float:
        """Return the number of finished rows, including the finished part of the current shard."""
        if not self._windows_planned:
            return self.done
        return self.done + self._shard_rows * self._windows_done / self._windows_planned


class TerminalReporter:
    """Reports the events of a run on stderr; pass it as a listener.

    If `quiet`, it reports only warnings. When used as a context manager, it stops its thread on
    exit.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self.console = open_console(stderr=True)
        self._count = RowCount()
        self._fit = FitProgress(self.say)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop_thread()

    def __call__(self, event: Event) -> None:
        """Report an event."""
        if self._quiet:
            if isinstance(event, Noticed) and event.notice.severity == "warning":
                self.say(str(event.notice))
            return
        self._count.update(event)
        match event:
            case Noticed(notice):
                self.say(str(notice))
            case BatchesCut(token_budget):
                self.say(
                    f"out of memory: from now on, batches hold {token_budget:,} padded tokens "
                    "(set hardware.token_budget to start with that)"
                )
            case RowsPlanned():
                self._start_thread()
            case RunSummarised(manifest):
                self._stop_thread()
                self._show_summary(manifest)
        if self._thread is None:
            self._fit.update(event)

    def say(self, text: str) -> None:
        """Print a line without interpreting square brackets as markup."""
        print_text(self.console, text)

    def _start_thread(self) -> None:
        self._stop_thread()  # a failed run may have left a thread
        self._stop.clear()
        draw = self._redraw if self.console.is_terminal else self._log
        self._thread = threading.Thread(target=draw, daemon=True)
        self._thread.start()

    def _stop_thread(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()
        self._thread = None

    def _redraw(self) -> None:
        columns = (
            TextColumn("filter"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
        )
        began = time.monotonic()
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task("", total=self._count.total, speed="")
            while not self._stop.wait(REDRAW_SECONDS):
                rows = int(self._count.estimate_rows())
                progress.update(task, completed=rows, speed=self._describe_speed(began))

    def _log(self) -> None:
        began = time.monotonic()
        while not self._stop.wait(LOG_SECONDS):
            rows = self._count.estimate_rows()
            rate = (rows - self._count.done_before) / (time.monotonic() - began)
            left = f", {(self._count.total - rows) / rate / 60:.1f} min left" if rate else ""
            speed = self._describe_speed(began)
            self.say(f"{int(rows):,} of {self._count.total:,} rows, {speed}{left}")

    def _describe_speed(self, began: float) -> str:
        seconds = max(time.monotonic() - began, 1e-9)
        rows = self._count.estimate_rows() - self._count.done_before
        tokens = f", {self._count.tokens / seconds:,.0f} tokens/s" if self._count.tokens else ""
        return f"{rows / seconds:,.0f} rows/s{tokens}"

    def _show_summary(self, manifest: Manifest) -> None:
        self.console.print(tabulate_decisions(manifest))
        self.console.print(tabulate_traits(manifest))
        if len(manifest.list_found_sides()) > 1:
            self.console.print(tabulate_other_sides(manifest))
        if manifest.unscored:
            notice = warn(
                f"rows without text that any trait looks at: {manifest.unscored:,}; nothing is "
                "known about them (their scores are null)"
            )
            self.say(str(notice))
        facts = manifest.circumstances
        self.say(
            f"{facts['seconds']:.1f} s, {facts['rows_per_second']:,.0f} rows/s, "
            f"{facts['tokens_per_second']:,.0f} tokens/s, padding {facts['padding_waste']:.1%}, "
            f"{facts['device']}"
        )


class FitProgress:
    """Prints a line now and then while traits are fitted; prints nothing for a cached bank."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._planned = self._done = self._tokens = 0
        self._began = self._printed = time.monotonic()

    def update(self, event: Event) -> None:
        """Handle an event, and print a line if the last one was printed a while ago."""
        match event:
            case FitStarted(traits):
                self._planned = self._done = self._tokens = 0
                self._began = self._printed = time.monotonic()
                self._say(f"fitting {traits} traits to the clean text")
            case WindowsPlanned(windows):
                self._planned += windows
            case BatchScored(tokens, windows):
                self._done += windows
                self._tokens += tokens
                self._print_if_due()

    def _print_if_due(self) -> None:
        now = time.monotonic()
        if now - self._printed < LOG_SECONDS:
            return
        self._printed = now
        speed = self._tokens / (now - self._began)
        self._say(
            f"fitting: {self._done:,} of the {self._planned:,} windows planned so far, "
            f"{speed:,.0f} tokens/s"
        )


def tabulate_decisions(manifest: Manifest) -> Table:
    """Tabulate the rows by decision."""
    rows_in = manifest.conservation.rows_in
    table = build_table("decision", "rows>", "share>", title=f"{rows_in:,} rows in")
    for decision, count in manifest.conservation.by_decision.items():
        table.add_row(decision, f"{count:,}", format_percent(count / max(rows_in, 1)))
    return table


def tabulate_traits(manifest: Manifest) -> Table:
    """For each trait, tabulate the rows it fired on, its action, threshold and guarantee."""
    headings = ("trait", "rows>", "action", "score ≥>", "origin", "clean lost>")
    table = build_table(*headings, title="traits")
    for item in manifest.thresholds:
        table.add_row(
            item.trait,
            f"{manifest.count_fired(item.trait):,}",
            item.action,
            f"{item.threshold:.4f}",
            item.origin,
            f"≤ {format_bound(item.bound)}" if item.bound is not None else "not stated",
        )
    return table


def tabulate_other_sides(manifest: Manifest) -> Table:
    """Tabulate how many rows have a finding in rejected answers or in untrained turns."""
    sides = [side for side in manifest.list_found_sides() if side != "trained"]
    table = build_table(
        "trait",
        *(f"{TEXTS_OF_SIDES[side]}>" for side in sides),
        title="rows with a finding in other texts (the policy's `sides`)",
    )
    for item in manifest.thresholds:
        counts = [manifest.count_fired(item.trait, side) for side in sides]
        if any(counts):
            table.add_row(item.trait, *(f"{count:,}" for count in counts))
    return table
