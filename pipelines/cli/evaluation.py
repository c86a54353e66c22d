"""`congener traits eval`: options, questions and output."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.table import Table
from rich.text import Text

from pipelines.cli.options import (
    BackgroundOptions,
    Config,
    Json,
    ModelOptions,
    Options,
    expand_argument,
    read_settings,
    spread_groups,
)
from pipelines.cli.output import print_result
from pipelines.display.excerpts import escape_name
from pipelines.display.terminal import build_table, open_console
from schemas.errors import CardError
from schemas.notices import choose_form, format_count
from schemas.shares import format_interval, format_limit, format_percent

if TYPE_CHECKING:
    from rich.console import Console

    from classifiers.guarantees.stratified import Accuracy, Interval, Stratum
    from pipelines.config import FilterConfig
    from pipelines.evaluation import Measured, Population, RowText
    from pipelines.labels import Label
    from pipelines.mistakes import Mistakes

SHOWN_CHARACTERS = 2_000
"""How many characters of a row's text are shown."""

SHOWN_PROMPT = 300

COLUMNS = ("score ≥", "level>", "rows>", "precision>", "recall>", "")

MISTAKES_SHOWN = 20
"""How many wrong rows, and how many missed rows, are named."""

ANSWERS = {"y": True, "yes": True, "n": False, "no": False}

Card = Annotated[
    str,
    typer.Argument(
        metavar="CARD", help="A trait folder, or the id of a trait.", callback=expand_argument
    ),
]


@dataclass(frozen=True)
class ReadingOptions(Options):
    """The rows to read, and their labels."""

    corpus: Annotated[
        list[str] | None,
        typer.Option(
            "--on", help="The corpus to sample, filtered for this trait first; repeatable."
        ),
    ] = None
    run: Annotated[
        str | None,
        typer.Option("--run", help="A finished run that looked for the trait, instead of --on."),
    ] = None
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="Keep the run of --on in this folder (default: it is removed)."
        ),
    ] = None
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="A file of labels, to which answers are added (default: TRAIT.labels.jsonl).",
        ),
    ] = None
    rows: Annotated[int, typer.Option("--rows", min=1, help="How many rows to read.")] = 100


class Evaluation(NamedTuple):
    """The accuracy of a trait's thresholds, and the number of read rows in each range.

    `run` is the run's folder, or None if it is removed.
    """

    trait: str
    labels: str
    lowest: Sequence[float]
    strata: Sequence[Stratum]
    measured: Sequence[Measured]
    unlabelled: int = 0
    mistakes: Mistakes | None = None
    run: str | None = None

    def render(self) -> Iterator[Table | str]:
        """Return a table of ranges and a table of thresholds."""
        table = build_table("scores from", "rows>", "read>", "show it>", title=self.trait)
        for lowest, stratum in zip(self.lowest, self.strata, strict=True):
            table.add_row(
                f"{lowest:.4f}", f"{stratum.rows:,}", str(stratum.read), str(stratum.right)
            )
        yield table
        for title, is_new in (("this corpus", False), ("new rows like these", True)):
            table = build_table(*COLUMNS, title=f"{self.trait} on {title}")
            for item in self.measured:
                table.add_row(
                    f"{item.threshold:.4f}",
                    "by hand" if item.rate is None else format_limit(item.rate),
                    f"{item.rows:,}",
                    *_describe_accuracy(item, is_new=is_new),
                    "in force" if item.is_in_force else "",
                )
            yield table
        for item in self.measured:
            if item.is_in_force:
                yield from _describe_threshold(item)
        yield (
            "Each interval holds on its own with 95% confidence. Quote the intervals for new rows "
            "as the trait's precision and recall on text like this corpus. They get narrower with "
            "more --rows, up to the size of the corpus."
        )
        if self.mistakes:
            yield from _describe_mistakes(self.mistakes, self.trait, self.run)
        yield _describe_file(self.labels, self.unlabelled)

    def to_json(self) -> dict[str, Any]:
        """Return everything that the tables show."""
        ranges = zip(self.lowest, self.strata, strict=True)
        return {
            "trait": self.trait,
            "labels": self.labels,
            "unlabelled": self.unlabelled,
            "run": self.run,
            "mistakes": {
                kind: [item._asdict() for item in items]
                for kind, items in (self.mistakes._asdict() if self.mistakes else {}).items()
            },
            "ranges": [{"lowest": lowest, **stratum._asdict()} for lowest, stratum in ranges],
            "thresholds": [
                {
                    **item._asdict(),
                    "accuracy": _to_json(item.accuracy),
                    "on_new_rows": _to_json(item.on_new_rows),
                }
                for item in self.measured
            ],
        }


class RowsToRead(NamedTuple):
    """The rows that a file lists for reading.

    `added` of them are new.
    """

    unlabelled: int
    added: int
    labels: str

    def render(self) -> Iterator[str]:
        """Say what to do with the file."""
        if self.added:
            yield (
                "Nothing was asked, because the input is not a terminal or the labels are a table. "
                f"Instead, {format_count(self.added, 'row')} to read "
                f"{choose_form(self.added, 'was', 'were')} written to "
                f"{Path(self.labels).absolute()}"
            )
        else:
            yield "Nothing was written, because the rows to read are already in the file."
        yield "Set each `label` to true or false, or leave it null; then give the same command."
        yield _describe_file(self.labels, self.unlabelled)

    def to_json(self) -> dict[str, Any]:
        """Return the counts and the file."""
        return {"rows_to_read": self.unlabelled, "added": self.added, "labels": self.labels}


def _describe_file(labels: str, unlabelled: int) -> str:
    """Name the file of labels, and count its unlabelled rows."""
    path = f"{Path(labels).absolute()} (--labels names another file)"
    if unlabelled:
        verb = choose_form(unlabelled, "is", "are")
        return f"{format_count(unlabelled, 'row')} {verb} still unlabelled in {path}"
    return f"labels: {path}"


def _describe_mistakes(mistakes: Mistakes, trait: str, run: str | None) -> Iterator[str]:
    """Name the rows that the trait judges wrongly, and say what to do about them."""
    for kind, items in mistakes._asdict().items():
        for item in items[:MISTAKES_SHOWN]:
            place = f"{escape_name(item.source)} row {item.row}"
            if run is not None:
                place = f"congener inspect {shlex.quote(run)} --row {shlex.quote(item.name)}"
            yield f"{kind}: {item.score:.4f}  {place}"
        if len(items) > MISTAKES_SHOWN:
            yield f"{kind}: {len(items) - MISTAKES_SHOWN:,} more"
    if any(mistakes) and run is None:
        yield "To inspect these rows, keep the run: give --output RUN beside --on."
    if mistakes.wrong:
        yield (
            f"Add the wrong rows to the hard negatives of {trait}, or narrow the pattern that hits "
            "them."
        )
    if mistakes.missed:
        yield (
            f"Add the missed rows to the positives of {trait} or to its lexicon, or lower its "
            "threshold: the table has the scores of the nearest ones. Then read other rows, "
            "because these no longer show how good the card is."
        )


def _to_json(accuracy: Accuracy) -> dict[str, Any]:
    return {name: interval._asdict() for name, interval in accuracy._asdict().items()}


def _describe_threshold(item: Measured) -> Iterator[str]:
    """State a threshold's precision and recall, and the rows that they describe."""
    exact = {
        "precision": f"all {item.rows:,} found rows were read" * item.are_found_rows_read,
        "recall": "all of its rows were read" * item.are_all_rows_read,
    }
    for name, reason in exact.items():
        known: Interval = getattr(item.accuracy, name)
        new: Interval = getattr(item.on_new_rows, name)
        if known.estimate is None:
            continue
        here = f" for this corpus ({format_interval(known.low, known.high, 0)})"
        if reason:
            here = f", exact for this corpus: {reason}"
        yield (
            f"{name} at {item.threshold:.4f}: {format_percent(known.estimate, 0)}{here}; "
            f"for new rows like these, {format_interval(new.low, new.high, 0)}"
        )


def _describe_accuracy(item: Measured, *, is_new: bool) -> tuple[str, str]:
    """Return the table cells of a threshold's precision and recall."""
    if is_new:
        precision, recall = map(_describe_interval, item.on_new_rows)
        return precision, recall
    precision, recall = map(_describe_interval, item.accuracy)
    known = item.accuracy
    if item.are_found_rows_read and known.precision.estimate is not None:
        precision = f"{format_percent(known.precision.estimate, 0)} (exact)"
    if item.are_all_rows_read and known.recall.estimate is not None:
        recall = f"{format_percent(known.recall.estimate, 0)} (exact)"
    return precision, recall


def _describe_interval(interval: Interval) -> str:
    shown = "?" if interval.estimate is None else format_percent(interval.estimate, 0)
    return f"{shown} ({format_interval(interval.low, interval.high, 0)})"


@spread_groups
def evaluate_trait(
    card: Card,
    reading: ReadingOptions,
    background: BackgroundOptions,
    models: ModelOptions,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Estimate precision and recall from rows that you read.

    The rows are drawn at random from ranges of scores, above and below the threshold. On a
    terminal, you are asked about each of them. Otherwise, they are written to the label file,
    which is TRAIT.labels.jsonl in the current folder unless you give --labels.

    congener traits eval my-trait/ --on corpus.jsonl
    congener traits eval my-trait --run run/ --labels read.jsonl
    """
    from pipelines.config import require_local_path
    from pipelines.labels import require_usable
    from pipelines.traits import find_trait_id

    if bool(reading.corpus) == bool(reading.run):
        raise CardError(
            "give either --on CORPUS or --run RUN",
            remedy="--on filters a corpus for the trait first; --run uses a finished run",
        )
    if reading.output and not reading.corpus:
        raise CardError("--output keeps the run of --on", remedy="give --on CORPUS as well")
    trait, kept = find_trait_id(card), reading.output and expand_argument(reading.output)
    labels = reading.labels
    path = require_local_path(expand_argument(labels) if labels else f"{trait}.labels.jsonl")
    require_usable(path, trait)
    with ExitStack() as stack:
        run = reading.run
        if reading.corpus:
            settings = read_settings(config, background, models)
            update = {"input": tuple(map(expand_argument, reading.corpus)), "traits": (card,)}
            settings = settings.model_copy(update=update)
            _check_first(settings, trait, path)
            run = stack.enter_context(_filter_corpus(settings, trait, kept))
        found = _evaluate(expand_argument(run or ""), trait, path, reading.rows)
        if isinstance(found, Evaluation):
            found = found._replace(run=reading.run or kept)
        print_result(found, as_json)


def _check_first(settings: FilterConfig, trait: str, labels: Path) -> None:
    """Refuse mistakes in files before the corpus is filtered, which may take long."""
    from pipelines.early_checks import check_sources, check_traits
    from pipelines.labels import read_labels

    check_sources(settings)
    check_traits(settings)
    if labels.exists():
        read_labels(labels, trait)


@contextmanager
def _filter_corpus(settings: FilterConfig, trait: str, kept: str | None) -> Iterator[str]:
    """Filter a corpus into a temporary run or the folder `kept`, and yield the run's folder."""
    from pipelines.display.progress import TerminalReporter
    from pipelines.evaluation import open_run_on

    with (
        TerminalReporter() as reporter,
        open_run_on(settings, trait, reporter.report_work, kept) as run,
    ):
        yield run


def _evaluate(run: str, trait: str, path: Path, budget: int) -> Evaluation | RowsToRead:
    """Ask about the unlabelled rows, or write them to the file, and measure the trait."""
    from pipelines.evaluation import choose_rows, divide_rows, measure, read_texts, summarise
    from pipelines.label_files import is_table
    from pipelines.labels import append_lines, require_outside
    from pipelines.mistakes import list_mistakes, suggest_thresholds

    require_outside(run, path)
    population = divide_rows(run, trait)
    if population.removed:
        _warn(
            f"of the rows that the trait fired on, {population.removed:,} "
            f"{choose_form(population.removed, 'was', 'were')} dropped, so they can't be read and "
            "aren't counted; --on reads every row"
        )
    found = _read_labels(population, path)
    listed = _find_unlabelled(population, path) - found.keys()
    left = choose_rows(population, found, budget)
    if left and sys.stdin.isatty() and not is_table(path):
        _ask(trait, read_texts(population, left), path)
        found = _read_labels(population, path)
        listed -= found.keys()
    elif not found:
        left = choose_rows(population, listed, budget)[: max(0, budget - len(listed))]
        texts = read_texts(population, left) if left else []
        append_lines(path, [_describe_line(text, trait, None) for text in texts])
        return RowsToRead(len(listed) + len(texts), len(texts), str(path))
    lowest = [item.lowest for item in population.ranges]
    strata = summarise(population, found)
    measured = measure(suggest_thresholds(population, found), found)
    mistakes = list_mistakes(population, found)
    return Evaluation(trait, str(path), lowest, strata, measured, len(listed), mistakes)


def _find_unlabelled(population: Population, path: Path) -> set[int]:
    """Return the run's rows that the file lists without a label."""
    from pipelines.evaluation import find_rows
    from pipelines.labels import list_unlabelled

    keys = list_unlabelled(path, population.rule.trait) if path.exists() else []
    return {index for rows in find_rows(population, keys).values() for index in rows}


def _read_labels(population: Population, path: Path) -> dict[int, Label]:
    """Read the labels, and warn of labels for other scores."""
    from pipelines.evaluation import count_changed, match_labels
    from pipelines.labels import read_labels

    if not path.exists():
        return {}
    labels = read_labels(path, population.rule.trait)
    matched = match_labels(population, labels, str(path))
    found = {row: label for row, label in matched.items() if label.shows is not None}
    if unsure := len(matched) - len(found):
        _warn(
            f"{path}: {format_count(unsure, 'row')} labelled unsure "
            f"{choose_form(unsure, 'counts', 'count')} as not read, so the intervals don't hold "
            "for rows as hard as these"
        )
    if changed := count_changed(population, found):
        _warn(
            f"{path}: the score recorded with {format_count(changed, 'label')} differs from the "
            "score in this run, for example because the card has changed. So the labels aren't a "
            "random sample here, and the intervals may be wrong; name a new file with --labels"
        )
    return found


def _ask(trait: str, texts: Sequence[RowText], path: Path) -> None:
    """Ask about each row, without its score, and save every answer at once."""
    from pipelines.labels import keep_answer

    console = open_console(stderr=True, soft_wrap=True)
    for number, text in enumerate(texts, 1):
        place = f"{escape_name(text.keys['source'])} row {text.keys['row']}"
        console.print(f"\n{number} of {len(texts)}: {place}", markup=False)
        if text.prompt:
            console.print(Text(f"prompt: {_shorten(text.prompt)}", style="dim"), markup=False)
        console.print(_mark_span(text), markup=False)
        answer = _read_answer(console, trait)
        if answer == "q":
            return
        if answer in ANSWERS:
            keep_answer(path, _describe_line(text, trait, ANSWERS[answer]))


def _read_answer(console: Console, trait: str) -> str:
    """Read an answer. The end of the input means to quit."""
    while True:
        console.print(f"Does it show {trait}? [y]es, [n]o, [s]kip, [q]uit: ", markup=False, end="")
        line = sys.stdin.readline()
        answer = line.strip().lower()
        if not line or answer in ("q", "quit"):
            return "q"
        if answer in (*ANSWERS, "s", "skip"):
            return answer


def _describe_line(text: RowText, trait: str, label: bool | None) -> dict[str, Any]:
    """Return a line of the file of labels. Only the row and the label are read again."""
    prompt = {"prompt": text.prompt} if text.prompt else {}
    shown = {} if label is not None else {**prompt, "text": text.text}
    return {**text.keys, "trait": trait, "label": label, "score": text.score, **shown}


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_PROMPT else f"{line[:SHOWN_PROMPT]}…"


def _mark_span(text: RowText) -> Text:
    """Return a row's text with its best span in bold, cut around a long span."""
    room = max(0, SHOWN_CHARACTERS - (text.end - text.start))
    first = max(0, min(text.start - room // 2, len(text.text) - SHOWN_CHARACTERS))
    last = max(first + SHOWN_CHARACTERS, text.end)
    return Text.assemble(
        "… " if first else "",
        text.text[first : text.start],
        (text.text[text.start : text.end], "bold"),
        text.text[text.end : last],
        " …" if last < len(text.text) else "",
    )


def _warn(text: str) -> None:
    open_console(stderr=True, soft_wrap=True).print(f"warning: {text}", markup=False)
