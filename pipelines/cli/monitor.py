"""`congener monitor`: options and output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.table import Table
from rich.text import Text

from pipelines.cli.audit import FOUND, shorten
from pipelines.cli.filter import CorpusOptions, EngineOptions
from pipelines.cli.options import (
    BeamOptions,
    Config,
    Json,
    Options,
    Quiet,
    apply_settings,
    expand_argument,
    expand_arguments,
    spread_groups,
)
from pipelines.cli.output import print_result
from pipelines.display.terminal import Verbatim, build_table
from schemas.errors import CardError
from schemas.notices import format_count

if TYPE_CHECKING:
    from pipelines.monitor import Monitored

LONGEST_HEAD = 8
"""The longest name of a generation in the head of a column, in characters."""

LONGEST_SHOWN = 26
"""The longest text of a habit in the table, in characters."""

SHOWN = 20
"""How many changes are printed, if some of them faded. The files have all of them."""

MOST_SHOWN = 60
"""How many changes are printed that are new or more frequent."""

TRAITS_READ = "rare traits: filter both corpora, then compare the runs with congener diff"
"""Where a reader finds what a monitor is too coarse for."""

FADED = "faded"
"""The change of a habit that became rarer, which is rarely what somebody looks for."""


@dataclass(frozen=True)
class MonitorOptions(Options):
    """The new generation and the history."""

    heading = "Input and output"

    corpus: Annotated[
        list[str] | None,
        typer.Option(
            "--corpus",
            help="The new generation: a file, folder or glob, local or a URI; repeatable.",
        ),
    ] = None
    history: Annotated[
        str | None,
        typer.Option("--history", help="The folder of the earlier generations, or a new one."),
    ] = None
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="TEXT",
            help="The generation's name (default: that of its only file or folder).",
        ),
    ] = None
    is_recorded: Annotated[
        bool,
        typer.Option(
            "--record/--no-record", help="Add the generation to the history, or only compare it."
        ),
    ] = True
    level: Annotated[
        float,
        typer.Option(
            "--level",
            min=0.0001,
            max=0.5,
            help="The chance of reporting a change where nothing changed.",
        ),
    ] = 0.05
    only_teachers: Annotated[
        list[str] | None,
        typer.Option(
            "--only-teacher",
            metavar="NAME",
            help="Read only the rows of this teacher; repeatable.",
        ),
    ] = None


class MonitorResult(NamedTuple):
    """A generation that was compared."""

    monitored: Monitored

    def render(self) -> Iterator[Table | str]:
        """Return the verdict, the first changes, and where the files are."""
        from pipelines.monitoring.pages import list_sentences

        result = self.monitored.to_json()
        yield from list_sentences(result)
        changes = choose_changes(result["changes"])
        if changes:
            yield tabulate_changes(changes)
        if result["detectable"]:
            yield TRAITS_READ
        config = self.monitored.config
        if left := sum(not item["plain"] for item in result["changes"]) - len(changes):
            place = "the report and --json list" if config.is_recorded else "--json lists"
            yield f"and {format_count(left, 'more change')}, the faded ones last: {place} them"
        if not config.is_recorded:
            yield "compared only; the history is as it was"
            return
        if not self.monitored.is_new:
            yield "the history has this generation already, and didn't change"
        else:
            number = self.monitored.generations[-1].number
            yield f"recorded as generation {number:,}; --no-record compares without recording"
        yield Verbatim(f"report: {config.history.rstrip('/')}/report.html")

    def to_json(self) -> dict[str, Any]:
        """Return everything about the generation and its changes."""
        return self.monitored.to_json()


def choose_changes(changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the changes to print: what is new or more frequent first, and then what faded.

    Up to `MOST_SHOWN` of the former are shown, and faded ones only while there are `SHOWN` lines.
    Small words, marks and numbers aren't among them: a sentence names them.
    """
    named = [item for item in changes if not item["plain"]]
    rising = [item for item in named if item["change"] != FADED]
    faded = [item for item in named if item["change"] == FADED]
    return [*rising[:MOST_SHOWN], *faded[: max(0, SHOWN - len(rising))]]


def tabulate_changes(changes: list[dict[str, Any]]) -> Table:
    """Tabulate changes with the rates of the last three generations in percent."""
    names = shorten_names([item["generation"] for item in changes[0]["rates"][-3:]])
    from pipelines.teacher_shares import name_teacher

    table = build_table("change", "kind", "habit", *(f"{name}>" for name in names), "q>")
    teachers = {item["teacher"] for item in changes}
    for item in changes:
        rates = ["-" if not rate["texts"] else format_rate(rate) for rate in item["rates"][-3:]]
        teacher = f" ({name_teacher(item['teacher'])})" if len(teachers) > 1 else ""
        habit = Text(f"{shorten(item['text'], LONGEST_SHOWN)}{teacher}")
        table.add_row(item["change"], item["kind"], habit, *rates, f"{item['q_value']:.0e}")
    return table


def format_rate(rate: Mapping[str, Any]) -> str:
    """Return a generation's rate in percent, or a bound where it is too low to be known."""
    return f"{rate['rate']:.1%}" if rate["documents"] is not None else f"<{rate['high']:.1%}"


def shorten_names(names: Sequence[str]) -> list[str]:
    """Return generations' names for the heads of columns, in up to `LONGEST_HEAD` characters.

    They keep their beginnings if these differ, or else their ends, or else get numbers.
    """
    kept = LONGEST_HEAD - 1
    for cut in (lambda name: f"{name[:kept]}…", lambda name: f"…{name[-kept:]}"):
        heads = [name if len(name) <= LONGEST_HEAD else cut(name) for name in names]
        if len(set(heads)) == len(names):
            return heads
    return [f"{number} of {len(names)}" for number, _ in enumerate(names, 1)]


@spread_groups
def monitor_corpus(
    given: MonitorOptions,
    reading: CorpusOptions,
    engine: EngineOptions,
    config: Config = None,
    quiet: Quiet = False,
    as_json: Json = False,
    beam_options: BeamOptions = None,
) -> None:
    """Compare a new release or generation with the earlier ones.

    Each call adds a generation to the history, a folder of counts: earlier texts aren't read again.
    Phrases, openings, closings, patterns and formats that appeared, rose, accumulated or faded are
    looked for in one half of the prompts and confirmed in the other. Exit code 1 means that
    something changed, 0 that nothing is shown to have.

    congener monitor --corpus release-3/ --history history/
    congener monitor --corpus new.parquet --history history/ --no-record
    congener monitor --corpus new/ --history history/ --only-teacher llama-3-8b
    """
    reading.refuse_run_options("congener monitor")
    settings = apply_settings(config, reading.to_settings() | engine.to_settings())
    if not (given.corpus and given.history):
        raise CardError(
            "--corpus and --history are needed",
            where="congener monitor",
            remedy="congener monitor --corpus CORPUS --history HISTORY",
        )

    from pipelines.early_checks import check_output, require_matches

    history, corpus = expand_argument(given.history), expand_arguments(given.corpus)
    require_matches(corpus)
    check_output(history)

    from pipelines.display.progress import TerminalReporter
    from pipelines.monitor import MonitorConfig, check_name, run_monitor, suggest_name

    compared = MonitorConfig(
        corpus=tuple(corpus),
        history=history,
        name=check_name(given.name) if given.name is not None else suggest_name(corpus),
        is_recorded=given.is_recorded,
        level=given.level,
        only_teachers=tuple(dict.fromkeys(given.only_teachers or ())),
        layout=settings.corpus,
        shards=settings.shards,
        engine=settings.engine,
    )
    with TerminalReporter(quiet) as listener:
        monitored = run_monitor(compared, listener, tuple(beam_options or ()))
    if as_json or not quiet:
        print_result(MonitorResult(monitored), as_json)
    if monitored.differs:
        raise typer.Exit(FOUND)
