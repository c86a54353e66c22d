"""What a run says while it goes on: what was settled, a line of progress, and a table at the end. All on stderr."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from classifiers.banks import Bank
from pipelines.display.terminal import plain, tabulated
from schemas.manifests import Manifest
from schemas.policies import Policy
from transforms.decide import Rule
from transforms.files import storage
from transforms.files.sources import Corpus, ShardPlan
from transforms.records.formats import Layout
from transforms.records.segments import KNOWN_ROLES, unknown_roles
from transforms.score import SMALLER, TALLY
from transforms.write import RECEIPTS, Receipt

LOG_SECONDS = 30.0
"""Between two lines of progress where there is no terminal to redraw one on."""

RECEIPT_SECONDS = 2.0
"""Between two looks at the receipts, which may lie in an object store."""


class Reporter:
    """Reports a run on stderr; as a context manager it stops its thread on the way out, whatever happens."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._rows: Callable[[], float] = TALLY.rows_so_far
        self._pause = 0.3

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()

    def say(self, text: str) -> None:
        """Print a line, its brackets as they are."""
        self.console.print(plain(text), markup=False)

    def remark(self, lines: Iterable[str]) -> None:
        """Print some lines."""
        for line in lines:
            self.say(line)

    def surveyed(self, corpus: Corpus, layout: Layout) -> None:
        """Say what the input is, what was detected, and which files were left aside."""
        rows = sum(source.rows for source in corpus.sources)
        self.say(f"input: {len(corpus.sources)} files, {rows:,} rows; {layout.described()}")
        if corpus.ignored:
            self.say(
                f"left aside, neither Parquet nor JSON Lines by name: {', '.join(corpus.ignored[:5])}{' …' if len(corpus.ignored) > 5 else ''}"
            )

    def settled(self, bank: Bank, rules: Sequence[Rule], policy: Policy, device: str) -> None:
        """Say what will be looked for, on what, and what the thresholds rest on."""
        self.say(f"device: {device}; bank {bank.digest[:12]} with {len(bank.traits)} traits")
        sources = dict.fromkeys(
            bank.traits[rule.trait].calibrated_on
            for rule in rules
            if rule.threshold.origin == "calibrated"
        )
        for source in sources:
            counts = [
                rule.threshold.clean
                for rule in rules
                if bank.traits[rule.trait].calibrated_on == source
                and rule.threshold.origin == "calibrated"
            ]
            self.say(
                f"thresholds: calibrated on {min(counts)} to {max(counts)} held-out clean texts of the {source}; the guarantee speaks of text like it"
            )
        for rule in rules:
            if rule.threshold.value is not None and rule.threshold.value > 1:
                self.say(
                    f"warning: the level of trait {rule.trait} can't be held by any score below 1: it will never fire"
                )
            if rule.threshold.value == 0:
                self.say(
                    f"warning: the threshold of trait {rule.trait} is 0: it will fire on every row that it looks at"
                )
        for name, trait in bank.traits.items():
            if strange := unknown_roles(trait.card.scope.roles):
                self.say(
                    f"warning: trait {name} looks at turns of {', '.join(strange)}, and roles are {', '.join(KNOWN_ROLES)} in most corpora"
                )
        if policy.removal_budget is None:
            self.say("removal budget: none set")

    def begin(
        self, shards: Sequence[ShardPlan], done: Mapping[str, Receipt], run: str | None = None
    ) -> None:
        """Start the line of progress; with `run`, from the receipts in it, as the work is done in other processes."""
        total, before = (
            sum(shard.rows for shard in shards),
            sum(receipt.rows for receipt in done.values()),
        )
        if before:
            self.say(f"resuming: {len(done)} of {len(shards)} shards are done")
        TALLY.reset(before)
        TALLY.tell = self.say
        if run is not None:
            self._rows, self._pause = receipted(run, shards), RECEIPT_SECONDS
        self._thread = threading.Thread(target=self._watch, args=(total,), daemon=True)
        self._thread.start()

    def _watch(self, total: int) -> None:
        self._redraw(total) if self.console.is_terminal else self._log(total)

    def _redraw(self, total: int) -> None:
        columns = (
            TextColumn("filter"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
        )
        began, first = time.monotonic(), self._rows()
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task("", total=total, speed="")
            while not self._stop.wait(self._pause):
                rows = self._rows()
                progress.update(task, completed=int(rows), speed=_speed(began, rows - first))

    def _log(self, total: int) -> None:
        began, first = time.monotonic(), self._rows()
        while not self._stop.wait(LOG_SECONDS):
            rows = self._rows()
            rate = (rows - first) / (time.monotonic() - began)
            left = f", {(total - rows) / rate / 60:.1f} min left" if rate else ""
            self.say(f"{int(rows):,} of {total:,} rows, {_speed(began, rows - first)}{left}")

    def finish(self, manifest: Manifest) -> None:
        """Stop the line of progress and print the run's table."""
        self._stop.set()
        if self._thread:
            self._thread.join()
        self.console.print(decision_table(manifest))
        self.console.print(trait_table(manifest))
        if manifest.unscored:
            self.say(
                f"warning: {manifest.unscored:,} rows have no text that any trait looks at: nothing is known of them (their scores are null)"
            )
        facts = manifest.circumstances
        self.say(
            f"{facts['seconds']:.1f} s, {facts['rows_per_second']:,.0f} rows/s, {facts['tokens_per_second']:,.0f} tokens/s, padding {facts['padding_waste']:.1%}, {facts['device']}"
        )


class Fitting:
    """Says now and then how the fitting of traits goes on; what comes out of the cache says nothing."""

    def __init__(self, say: Callable[[str], object], traits: int) -> None:
        self._say, self._traits = say, traits
        self._expected = self._done = self._tokens = 0
        self._began = self._told = time.monotonic()

    def expect(self, windows: int) -> None:
        """Say what begins, the first time."""
        if not self._expected:
            self._say(f"fitting {self._traits} traits to the clean text")
        self._expected += windows

    def batch(self, tokens: int, windows: int) -> None:
        """Count a batch, and say so where the last line is some time ago."""
        self._done += windows
        self._tokens += tokens
        now = time.monotonic()
        if now - self._told >= LOG_SECONDS:
            self._told = now
            self._say(
                f"fitting: {self._done:,} of the {self._expected:,} windows at hand, {self._tokens / (now - self._began):,.0f} tokens/s"
            )

    def cut(self, budget: int) -> None:
        """Say that memory ran out, and how large batches are from here on."""
        self._say(SMALLER.format(budget))


def _speed(began: float, rows: float) -> str:
    seconds = max(time.monotonic() - began, 1e-9)
    tokens = f", {TALLY.tokens / seconds:,.0f} tokens/s" if TALLY.tokens else ""
    return f"{rows / seconds:,.0f} rows/s{tokens}"


def receipted(run: str, shards: Sequence[ShardPlan]) -> Callable[[], float]:
    """Return what counts the rows of the shards that have a receipt."""
    rows = {shard.name: shard.rows for shard in shards}
    folder = storage.join(run, RECEIPTS)
    return lambda: sum(
        rows.get(uri.rpartition("/")[2].removesuffix(".json"), 0)
        for uri in storage.listing(folder, ".json")
    )


def decision_table(manifest: Manifest) -> Table:
    """Tabulate rows in against rows out."""
    table = tabulated(
        "decision", "rows>", "share>", title=f"{manifest.conservation.rows_in:,} rows in"
    )
    for decision, count in manifest.conservation.by_decision.items():
        table.add_row(
            decision, f"{count:,}", f"{count / max(manifest.conservation.rows_in, 1):.2%}"
        )
    return table


def trait_table(manifest: Manifest) -> Table:
    """Tabulate the traits: what fired, at which threshold, and what that rests on."""
    table = tabulated(
        "trait", "rows>", "action", "score ≥>", "origin", "clean lost>", title="traits"
    )
    for item in manifest.thresholds:
        bound = f"≤ {item.bound:.2%}" if item.bound is not None else "not stated"
        table.add_row(
            item.trait,
            f"{manifest.fired.get(item.trait, 0):,}",
            item.action,
            f"{item.threshold:.4f}",
            item.origin,
            bound,
        )
    return table
