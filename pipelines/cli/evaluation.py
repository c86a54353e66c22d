"""`congener traits eval`: options, questions and output."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipelines.cli.evaluation_results import Evaluation, KeptLabel, RowsToRead
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
from pipelines.cli.reading_rows import (
    ANSWERS,
    NAMES,
    ask_about_rows,
    choose_answers,
    describe_line,
    find_listed,
    find_unsure,
    read_run_labels,
    warn_reader,
)
from schemas.errors import CardError, RunError
from schemas.notices import choose_form

if TYPE_CHECKING:
    from pipelines.config import FilterConfig
    from pipelines.disputed_rows import DisputedRow
    from pipelines.evaluation import Measured, Population
    from pipelines.labels import Label

ROWS = 100
"""How many rows are read by default."""

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
    answers: Annotated[
        str | None,
        typer.Option(
            "--answers",
            metavar="FILE",
            help="A second file, which takes rows to read and answers instead and is read as well "
            "(default for a review's labels: TRAIT.NAME beside them).",
        ),
    ] = None
    rows: Annotated[
        int | None,
        typer.Option(
            "--rows",
            min=1,
            help="How many rows to read in all; a larger number adds rows to those that were read "
            f"(default: {ROWS}).",
        ),
    ] = None
    fired: Annotated[
        bool,
        typer.Option(
            "--fired", help="Read only rows on which the trait fired, which measures no recall."
        ),
    ] = False
    row: Annotated[
        str | None,
        typer.Option(
            "--row",
            help="Label just this row: FILE:NUMBER, its number or its record id. It counts in the "
            "measures only if it is drawn, too.",
        ),
    ] = None
    label: Annotated[
        Literal["true", "false", "unsure", "yes", "no"] | None,
        typer.Option(
            "--label",
            help="The label of --row, instead of a question; yes is true, and no is false.",
        ),
    ] = None
    tables: Annotated[
        str | None,
        typer.Option(
            "--tables",
            metavar="FOLDER",
            help="Also write the measures there: a table (Parquet) and a figure (SVG).",
        ),
    ] = None
    accept_definition: Annotated[
        bool,
        typer.Option(
            "--accept-definition",
            help="Use labels that were given before the card's title or description changed.",
        ),
    ] = False

    @property
    def folder(self) -> Path | None:
        """Return the folder of --tables.

        Raises: CardError: a file has its name.
        """
        from pipelines.config import require_local_path

        if self.tables is None:
            return None
        path = require_local_path(expand_argument(self.tables))
        if path.exists() and not path.is_dir():
            raise CardError("is a file", where=str(path), remedy="name a folder with --tables")
        return path

    def name_files(self) -> list[str]:
        """Return the options that name the files of labels, as words of a command."""
        files = {"--labels": self.labels, "--answers": self.answers}
        return [word for name, file in files.items() if file for word in (name, file)]

    def require_consistent(self) -> None:
        """Refuse options that contradict each other.

        Raises: CardError: they do.
        """
        if bool(self.corpus) == bool(self.run):
            raise CardError(
                "give either --on CORPUS or --run RUN",
                remedy="--on filters a corpus for the trait first; --run uses a finished run",
            )
        if self.output and not self.corpus:
            raise CardError("--output keeps the run of --on", remedy="give --on CORPUS as well")
        if self.folder and self.row is not None:
            raise CardError("--row measures nothing", remedy="leave --tables out, or --row")
        if self.label and self.row is None:
            raise CardError("--label is the label of one row", remedy="name the row with --row")
        if self.row is not None and (self.rows or self.fired):
            raise CardError(
                "--row reads one row, and --rows and --fired draw rows",
                remedy="leave --rows and --fired out, or --row",
            )
        if self.row is not None and self.label is None and not sys.stdin.isatty():
            raise CardError(
                "can't ask about the row, because the input is not a terminal",
                remedy="give the answer: --label true, false or unsure",
            )


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
    congener traits eval my-trait --run run/ --labels read.jsonl --rows 300
    congener traits eval my-trait --run run/ --fired
    congener traits eval my-trait --run run/ --tables paper/
    congener traits eval my-trait --run run/ --row chat.jsonl:17 --label false
    congener traits eval my-trait --run run/ --labels run.review/labels-ada.jsonl
    """
    from pipelines.config import require_local_path
    from pipelines.labels import require_open, require_usable
    from pipelines.traits import find_trait_id

    reading.require_consistent()
    trait, kept = find_trait_id(card), reading.output and expand_argument(reading.output)
    labels = reading.labels
    path = require_local_path(expand_argument(labels) if labels else f"{trait}.labels.jsonl")
    paths = choose_answers(path, trait, reading.answers and expand_argument(reading.answers))
    require_usable(paths[-1], trait)
    if reading.answers:
        require_open(paths[-1])
    with ExitStack() as stack:
        run = reading.run
        if reading.corpus:
            settings = read_settings(config, background, models)
            update = {"input": tuple(map(expand_argument, reading.corpus)), "traits": (card,)}
            settings = settings.model_copy(update=update)
            _check_first(settings, trait, paths)
            run = stack.enter_context(_filter_corpus(settings, trait, kept))
        found = _evaluate(expand_argument(run or ""), card, trait, paths, reading)
        if not isinstance(found, RowsToRead):
            found = found._replace(run=reading.run or kept)
        print_result(found, as_json)


def _check_first(settings: FilterConfig, trait: str, paths: Sequence[Path]) -> None:
    """Refuse mistakes in files before the corpus is filtered, which may take long."""
    from pipelines.early_checks import check_sources, check_traits
    from pipelines.labels import read_labels

    check_sources(settings)
    check_traits(settings)
    for path in filter(Path.exists, paths):
        read_labels(path, trait)


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


def _evaluate(
    run: str, card: str, trait: str, paths: Sequence[Path], reading: ReadingOptions
) -> Evaluation | RowsToRead | KeptLabel:
    """Label one row, or ask about the drawn rows or write them to the file, and measure."""
    from pipelines.card_versions import find_change
    from pipelines.evaluation import divide_rows, select_sample
    from pipelines.labels import require_outside
    from pipelines.taught_rows import mark_taught

    for path in filter(None, (paths[-1], reading.folder)):
        require_outside(run, path)
    population = divide_rows(run, trait)
    change = find_change(card, population, reading.name_files())
    if change is not None:
        warn_reader(change.describe())
    if reading.row is not None:
        return _label_row(population, paths, reading.row, reading.label)
    if population.removed:
        warn_reader(
            f"of the rows that the trait fired on, {population.removed:,} "
            f"{choose_form(population.removed, 'was', 'were')} dropped, so they can't be read and "
            "aren't counted; --on reads every row"
        )
    if reading.fired and population.ranges[0].lowest < population.rule.threshold:
        raise RunError(
            f"{trait} fired on no row that could be read",
            where=run,
            remedy="leave --fired out, to read rows below the threshold, too",
        )
    added = _read_rows(population, paths, reading)
    found = read_run_labels(population, paths, quiet=True, accepts=reading.accept_definition)
    listed = find_listed(population, paths) - found.keys()
    population = mark_taught(population, found, card)
    if not found:
        return RowsToRead(len(listed), added, str(paths[-1]))
    measured = _measure(population, paths, found, listed, added)._replace(change=change)
    if reading.folder is None or not measured.is_measured:
        return measured
    from pipelines.measure_tables import write_measures

    sample = select_sample(population, found, listed)
    return measured._replace(tables=write_measures(reading.folder, population, sample))


def _read_rows(population: Population, paths: Sequence[Path], reading: ReadingOptions) -> int:
    """Ask about rows until the wanted number is read, or add them to the file and count them."""
    from pipelines.evaluation import choose_rows, find_earlier, read_texts, select_sample
    from pipelines.label_files import is_table
    from pipelines.labels import append_lines

    path = paths[-1]
    found = read_run_labels(population, paths, accepts=reading.accept_definition)
    listed = find_listed(population, paths) - found.keys()
    sample = select_sample(population, found, listed)
    asks = sys.stdin.isatty() and not is_table(path)
    known = sample.keys() if asks else sample.keys() | listed
    drawn = listed | {row for row, label in found.items() if not label.is_picked}
    is_new = not (drawn - find_earlier(population, found))  # nobody drew rows for this version
    wanted = reading.rows or (ROWS if asks or is_new else 0)
    picked = (found.keys() - sample.keys()) | find_unsure(population, paths)
    left = choose_rows(population, known, wanted, picked, only_found=reading.fired)
    if not left or (is_table(path) and found and reading.rows is None):
        return 0
    texts, trait = read_texts(population, left), population.rule.trait
    if asks:
        ask_about_rows(trait, texts, path, timed=len(paths) > 1)
        return 0
    append_lines(path, [describe_line(text, trait, None) for text in texts])
    return len(texts)


def _measure(
    population: Population,
    paths: Sequence[Path],
    found: Mapping[int, Label],
    listed: set[int],
    added: int,
) -> Evaluation:
    """Measure the trait with the labels of the drawn rows, and list what all labels contradict."""
    from pipelines.evaluation import find_earlier, select_sample, summarise
    from pipelines.labelled_costs import find_labelled_cost
    from pipelines.mistakes import explain_missed, list_mistakes, measure_thresholds
    from pipelines.trait_rates import compare_teachers, measure_rates

    sample = select_sample(population, found, listed)
    rates = measure_rates(population, sample)
    return Evaluation(
        population.rule.trait,
        str(paths[0]),
        [item.lowest for item in population.ranges],
        summarise(population, sample),
        measure_thresholds(population, sample),
        len(listed),
        explain_missed(population, list_mistakes(population, found)),
        added=added,
        picked=len(found) - len(sample),
        disputed=_list_disputed(population, paths),
        rates=rates,
        pairs=compare_teachers(rates),
        rule=population.rule,
        answers=str(paths[-1]) if len(paths) > 1 and paths[-1].exists() else None,
        earlier=len(sample.keys() & find_earlier(population, found)),
        taught=len(sample.keys() & population.taught),
        unseen=_measure_unseen(population, found, sample),
        cost=find_labelled_cost(population, found),
        is_drawn=any(label.is_drawn_by_score for label in found.values()),
        reviews=_list_reviews(paths),
    )


def _list_reviews(paths: Sequence[Path]) -> list[str]:
    """Return the files in which some row has a label, as `release` needs them."""
    from pipelines.labels import read_all_labels

    labelled = (path for path in paths if path.exists() and read_all_labels(path))
    return list(map(str, labelled))


def _measure_unseen(
    population: Population, found: Mapping[int, Label], sample: Mapping[int, Label]
) -> list[Measured]:
    """Measure the trait by the read rows that no other version of the card drew, if there are any.

    They represent their ranges.
    """
    from pipelines.evaluation import find_earlier, measure

    earlier = find_earlier(population, found)
    labels = {row: label for row, label in sample.items() if row not in earlier}
    return measure(population, labels) if labels else []


def _label_row(
    population: Population, paths: Sequence[Path], name: str, label: str | None
) -> KeptLabel:
    """Ask about one row, or take its label from the command, and keep it."""
    from pipelines.evaluation import find_single, read_texts
    from pipelines.labels import keep_answer

    text = read_texts(population, find_single(population, name)[:1])[0]
    trait, path = population.rule.trait, paths[-1]
    name = f"{text.keys['source']}:{text.keys['row']}"
    if label is None:
        label = ask_about_rows(trait, [text], path, picked=True, timed=len(paths) > 1)
    else:
        value = ANSWERS[label]
        label = NAMES[value]
        line = describe_line(text, trait, value, picked=True, timed=len(paths) > 1)
        keep_answer(path, line, replaces=True)
    disputed = _list_disputed(population, paths) if label == "no" else []
    own = [item for item in disputed if item.name == name]
    return KeptLabel(name, trait, label, str(path), own)


def _list_disputed(population: Population, paths: Sequence[Path]) -> list[DisputedRow]:
    """List the trait's findings that count although a label denies them."""
    from pipelines.disputed_rows import find_disputed
    from pipelines.labels import read_all_labels

    labels = [
        label._replace(place=f"{path} {label.place}")
        for path in filter(Path.exists, paths)
        for label in read_all_labels(path)
    ]
    found = find_disputed(population.run, population.manifest, labels, "")
    return [item for item in found if item.trait == population.rule.trait]
