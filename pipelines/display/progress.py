"""Progress on a terminal: notices, a progress line, and tables at the end, all on stderr."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from pipelines.display.exception_table import tabulate_exceptions
from pipelines.display.interrupts import Interrupts
from pipelines.display.row_counts import RowCount
from pipelines.display.terminal import build_table, open_console, print_text
from pipelines.runs.recorded_settings import read_recorded_policy
from schemas.events import (
    BatchesCut,
    BatchScored,
    DonorFiltered,
    Event,
    FitStarted,
    Noticed,
    RowsPlanned,
    RunSummarised,
    WindowsPlanned,
)
from schemas.manifests import Manifest, SettledThreshold
from schemas.notices import format_count
from schemas.scores import TEXTS_OF_SIDES
from schemas.shares import format_bound, format_percent, round_down, round_up

LOG_SECONDS = 30.0
"""The seconds between progress lines that aren't redrawn in place."""

REDRAW_SECONDS = 0.3


class TerminalReporter:
    """Reports a run's events on stderr, as a listener.

    If `quiet`, only warnings are reported. `work` is the name before the progress bar. What an
    `earlier` run, which is decided again, has too isn't repeated. As a context manager, it handles
    Ctrl-C, and stops its thread on exit.
    """

    def __init__(self, quiet: bool = False, work: str = "filter") -> None:
        self._quiet, self._work = quiet, work
        self.console = open_console(stderr=True)
        self._count = RowCount()
        self._fit = FitProgress(lambda: self.console)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._interrupts = Interrupts(self.console.is_terminal)
        self.earlier: Manifest | None = None

    def __enter__(self) -> Self:
        self._interrupts.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop_thread()
        self._fit.stop()
        self._interrupts.__exit__(kind, error, trace)

    def __call__(self, event: Event) -> None:
        """Report an event.

        Raises: KeyboardInterrupt: Ctrl-C was pressed, and the event is about work that must end.
        """
        self._interrupts.check(event)
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
                self._fit.stop()
                self._start_thread()
            case RunSummarised(manifest):
                self._stop_thread()
                self._show_summary(manifest)
            case DonorFiltered(name, rows, usable):
                self._stop_thread()
                self.say(f"donor {name}: {format_count(rows, 'row')}, {usable:,} clean")
        if self._thread is None:
            self._fit.update(event)

    def report_work(self, event: Event) -> None:
        """Report only progress and warnings, for a run inside another command."""
        match event:
            case Noticed(notice) if notice.severity != "warning":
                return
            case RunSummarised():
                self._stop_thread()
            case _:
                self(event)

    def say(self, text: str) -> None:
        """Print a line without markup."""
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
            TextColumn(self._work),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TextColumn("{task.fields[left]}"),
        )
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task("", total=self._count.total, speed="", left="")
            while not self._stop.wait(REDRAW_SECONDS):
                rows, speed, left = (
                    self._count.count_rows(),
                    self._describe_speed(),
                    self._describe_left(),
                )
                progress.update(task, completed=rows, speed=speed, left=left)

    def _log(self) -> None:
        while not self._stop.wait(LOG_SECONDS):
            left = self._describe_left()
            left, speed = f", {left}" if left else "", self._describe_speed()
            rows = self._count.count_rows()
            self.say(f"{rows:,} of {self._count.total:,} rows, {speed}{left}")

    def _describe_left(self) -> str:
        """Say how long the rows that are left take."""
        seconds = self._count.estimate_seconds()
        return "" if seconds is None else f"{seconds / 60:.1f} min left"

    def _describe_speed(self) -> str:
        rows, tokens = self._count.measure_speed()
        return f"{rows:,.0f} rows/s{f', {tokens:,.0f} tokens/s' if tokens else ''}"

    def _show_summary(self, manifest: Manifest) -> None:
        if manifest.describe_decided_from() is None:  # `decide` compares both runs' decisions
            self.console.print(tabulate_decisions(manifest))
        earlier = self.earlier
        if earlier is None or _list_found(earlier) != _list_found(manifest):
            self.console.print(tabulate_traits(manifest))
            if manifest.list_remarks():
                self.say("* this bound may not hold: the report says why")
        if len(manifest.list_found_sides()) > 1:
            self.console.print(tabulate_other_sides(manifest))
        own = read_recorded_policy(manifest).exceptions
        known = read_recorded_policy(earlier).exceptions if earlier else ()
        if own != known:
            self.console.print(tabulate_exceptions(own, manifest.exceptions, known=known))
        facts = manifest.circumstances
        speed = f"{facts['seconds']:.1f} s"
        if facts["rows_per_second"]:  # an interrupted run may have had all its rows
            speed += f", {facts['rows_per_second']:,.0f} rows/s"
        if facts["tokens"]:
            speed += f", {facts['tokens_per_second']:,.0f} tokens/s"
            speed += f", padding {facts['padding_waste']:.1%}"
        self.say(f"{speed}, {facts['device']}")


def _list_found(manifest: Manifest) -> tuple[object, ...]:
    """Return what the table of traits shows: thresholds, actions and rows."""
    return manifest.thresholds, manifest.fired


class FitProgress:
    """Shows a fit's progress: a bar on a terminal, and elsewhere occasional lines.

    A cached bank shows nothing. `find_console` returns the console.
    """

    def __init__(self, find_console: Callable[[], Console]) -> None:
        self._find_console = find_console
        self._bar: Progress | None = None
        self._windows = self._tokens = self._windows_done = self._tokens_done = 0
        self._began = self._printed = time.monotonic()

    def update(self, event: Event) -> None:
        """Handle an event."""
        match event:
            case FitStarted(traits):
                self.stop()
                self._windows_done = self._tokens_done = self._tokens = 0
                fitted = format_count(traits, "trait")
                self._find_console().print(f"fitting {fitted} to the clean text")
            case WindowsPlanned(windows, tokens):
                self._windows, self._tokens = windows, tokens
                self._began = self._printed = time.monotonic()
                self._open_bar()
            case BatchScored(tokens, windows):
                self._windows_done += windows
                self._tokens_done += tokens
                self._show()

    def stop(self) -> None:
        """Remove the bar."""
        if self._bar:
            self._bar.stop()
        self._bar = None

    def _open_bar(self) -> None:
        console = self._find_console()
        if console.is_terminal and self._tokens:
            columns = (TextColumn("fit"), BarColumn(), TextColumn("{task.description}"))
            self._bar = Progress(*columns, console=console, transient=True, auto_refresh=False)
            self._bar.add_task(self._describe(), total=self._tokens)
            self._bar.start()

    def _show(self) -> None:
        if self._bar:
            (task,) = self._bar.task_ids
            self._bar.update(
                task, completed=self._tokens_done, description=self._describe(), refresh=True
            )
            if self._tokens_done >= self._tokens:
                self.stop()
        elif self._tokens and time.monotonic() - self._printed >= LOG_SECONDS:
            self._printed = time.monotonic()
            self._find_console().print(f"fitting: {self._describe()}")

    def _describe(self) -> str:
        counts = f"{self._windows_done:,} of {self._windows:,} windows"
        speed = self._measure_speed()
        left = f", {(self._tokens - self._tokens_done) / speed / 60:.1f} min left" if speed else ""
        return f"{counts}, {speed:,.0f} tokens/s{left}"

    def _measure_speed(self) -> float:
        return self._tokens_done / max(time.monotonic() - self._began, 1e-9)


def tabulate_decisions(manifest: Manifest) -> Table:
    """Tabulate the rows by decision."""
    rows_in = manifest.conservation.rows_in
    table = build_table("decision", "rows>", "share>", title=f"{format_count(rows_in, 'row')} in")
    for decision, count in manifest.conservation.by_decision.items():
        table.add_row(decision, f"{count:,}", format_percent(count / max(rows_in, 1)))
    return table


LEGEND = (
    "clean hit: the share of clean rows that may reach the score. positives found: the share of "
    "the card's examples that do, each left out of the fit; not the recall on this corpus."
)
"""What the last two columns of the table of traits mean."""


def tabulate_traits(manifest: Manifest) -> Table:
    """Tabulate each trait's rows, action and threshold, and what the threshold costs and finds.

    A bound that may not hold has an asterisk.
    """
    headings = ("trait", "rows>", "action", "score ≥>", "clean\nhit>", "positives\nfound>")
    table = build_table(*headings, title="traits")
    doubted = manifest.list_remarks()
    for item in manifest.thresholds:
        mark = " *" if item.trait in doubted else ""
        table.add_row(
            item.trait,
            f"{manifest.count_signalled(item.trait):,}",
            item.action,
            f"{item.threshold:.4f}",
            f"≤ {format_bound(item.bound)}{mark}" if item.bound is not None else "not stated",
            format_found(item),
        )
    named = sum(manifest.count_named(item.trait) for item in manifest.thresholds)
    taken = f"rows: without {named:,} taken out by a person. " if named else ""
    table.caption, table.caption_justify = f"{taken}{LEGEND}", "left"
    return table


def list_cautions(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yield the traits that fired on trained text and whose cards have a caution, with it.

    Traits whose findings exceptions all keep aren't among them, nor those of which exceptions take
    out all rows by name.
    """
    for item in manifest.thresholds:
        caution = manifest.cards.get(item.trait, {}).get("caution")
        found = manifest.count_signalled(item.trait) > 0
        if caution and found and not manifest.are_denied(item.trait):
            yield item.trait, str(caution)


def format_found(item: SettledThreshold) -> str:
    """Return the interval for the share of positives found, in percent."""
    if item.found_low is None or item.found_high is None:
        return "-"
    low, high = round_down(item.found_low, 2) * 100, round_up(item.found_high, 2) * 100
    return f"{low:.0f}–{high:.0f}%"


def tabulate_other_sides(manifest: Manifest) -> Table:
    """Tabulate the rows with a finding in rejected answers or untrained turns."""
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
