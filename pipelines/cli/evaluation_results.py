"""What `congener traits eval` prints: tables of measures, rows to read, and one labelled row."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.table import Table

from pipelines.cli.teacher_rates import describe_interval, describe_pairs, describe_rates
from pipelines.cli.thresholds import STARRED, mark_level
from pipelines.display.excerpts import escape_name
from pipelines.display.terminal import build_table
from schemas.notices import choose_form, format_count
from schemas.shares import format_interval, format_percent

if TYPE_CHECKING:
    from classifiers.guarantees.stratified import Accuracy, Interval, Stratum
    from pipelines.card_versions import CardChange
    from pipelines.disputed_rows import DisputedRow
    from pipelines.evaluation import Measured
    from pipelines.mistakes import Mistakes
    from pipelines.signal_costs import SignalCost
    from pipelines.trait_rates import TeacherPair, TraitRate
    from schemas.manifests import SettledThreshold

COLUMNS = ("score ≥", "level>", "rows>", "precision>", "recall>", "")

QUOTED = "(quote these)"

ANY_VERSION = (
    "To measure every version of a card with the same labels, read a random sample of the corpus "
    "once: congener review RUN --sample 100 (blind; a larger number adds rows). Its labels count "
    "with --labels in any run on this corpus, as long as no card is changed because of them."
)
"""How labels serve several versions of a card: they must not be drawn by a card's scores."""

CHANGED = " (the run's version of the card)"
"""What tables add to a trait's name if its card was changed since."""

LEAST_READ = 10
"""From so many read rows on, there are tables.

With fewer, an interval with 95% confidence is at least 33 points wide: 66% to 100% for 9 of 9.
"""

NEAR = 0.5
"""From this share of the threshold on, a missed row's score shows that the trait sees it."""

MISTAKES_SHOWN = 20
"""How many wrong rows, and how many missed rows, are named."""


class Evaluation(NamedTuple):
    """The accuracy of a trait's thresholds, and the number of read rows in each range.

    `run` is the run's folder, or None if it is removed. `added` of the unlabelled rows are new.
    `picked` labelled rows don't count, because nobody drew them. `disputed` rows have the trait's
    action although a label denies it. `answers` is the file of rows to read beside the labels, if
    it is another one. `earlier` counted labels are of rows that another version of the card drew,
    or that have an exemplar of the card (`taught` of them), and `unseen` are the measures without
    such rows. `change` says that the run used another version of the card than its folder has.
    `cost` names signals that mainly fire on wrong rows, and `tables` the files of measures that
    were written. Unless `is_drawn`, no row was drawn by its score. `reviews` are the files that
    have labels.
    """

    trait: str
    labels: str
    lowest: Sequence[float]
    strata: Sequence[Stratum]
    measured: Sequence[Measured]
    unlabelled: int = 0
    mistakes: Mistakes | None = None
    run: str | None = None
    added: int = 0
    picked: int = 0
    disputed: Sequence[DisputedRow] = ()
    rates: Sequence[TraitRate] = ()
    pairs: Sequence[TeacherPair] = ()
    rule: SettledThreshold | None = None
    answers: str | None = None
    earlier: int = 0
    taught: int = 0
    unseen: Sequence[Measured] = ()
    change: CardChange | None = None
    cost: SignalCost | None = None
    tables: Sequence[Path] = ()
    is_drawn: bool = True
    reviews: Sequence[str] = ()

    def render(self) -> Iterator[Table | str]:
        """Return what to do next, the measures if enough labels count, and the mistakes."""
        yield from self._describe_next()
        yield from self._render_measures() if self.is_measured else self._describe_few()
        if self.mistakes:
            yield from _describe_mistakes(self.mistakes, self.trait, self.run)
        if self.cost:
            yield from _describe_cost(self.cost)
        yield from _describe_disputed(self.disputed, self.run, self.reviews or [self.labels])
        if self.picked:
            yield (
                f"{format_count(self.picked, 'labelled row')} "
                f"{choose_form(self.picked, 'counts', 'count')} in no measure, because "
                f"{choose_form(self.picked, 'it was', 'they were')} chosen by a reader (--row, or "
                "a review), or drawn by another version of the card"
            )
        if self.is_drawn:
            yield ANY_VERSION
        yield _describe_file(self.answers or self.labels, self.unlabelled, bool(self.answers))
        yield from (f"written: {path}" for path in self.tables)
        if self.answers:
            yield f"labels were read in {Path(self.labels).absolute()}, too, to which none is added"

    @property
    def read(self) -> int:
        """Return the number of labels that count."""
        return sum(stratum.read for stratum in self.strata)

    @property
    def is_measured(self) -> bool:
        """Return whether enough rows were read, or all that the trait fired on."""
        are_read = any(item.is_in_force and item.are_found_rows_read for item in self.measured)
        return self.read >= LEAST_READ or (self.read > 0 and are_read)

    @property
    def _is_unseen_measured(self) -> bool:
        """Return whether rows that no earlier version drew say something of the threshold."""
        known = [item.accuracy.precision.estimate for item in self.unseen if item.is_in_force]
        return any(estimate is not None for estimate in known)

    def _describe_next(self) -> Iterator[str]:
        """Say which rows are to be read before the measures say more."""
        if self.added:
            rows = format_count(self.added, "row")
            verb = choose_form(self.added, "was", "were")
            yield (
                f"{rows} to read {verb} added to {self._name_answers()}; set each `label` there, "
                "then give the same command"
            )
        elif self.unlabelled and not self.is_measured:
            yield (
                f"Next: set the `label` of the {format_count(self.unlabelled, 'row')} without one "
                f"in {self._name_answers()}, then give the same command."
            )
        elif not self.is_measured:
            yield "Next: read more rows, with the same command and --rows 100."

    def _describe_few(self) -> Iterator[str]:
        """Say how many labels count, instead of tables of unknown numbers."""
        if not self.read:
            yield f"No label counts yet, so {self.trait} isn't measured."
            return
        right = sum(stratum.right for stratum in self.strata)
        yield (
            f"{format_count(self.read, 'label')} {choose_form(self.read, 'counts', 'count')} so "
            f"far ({right} true, {self.read - right} false), too few to measure {self.trait}: "
            f"there are tables from {LEAST_READ} on, or once all rows that it fired on are read"
        )

    def _render_measures(self) -> Iterator[Table | str]:
        """Yield a table of ranges, tables of thresholds, and the trait's rates."""
        name = f"{self.trait}{CHANGED * bool(self.change)}"
        table = build_table("scores from", "rows>", "read>", "show it>", title=name)
        for lowest, stratum in zip(self.lowest, self.strata, strict=True):
            table.add_row(
                f"{lowest:.4f}", f"{stratum.rows:,}", str(stratum.read), str(stratum.right)
            )
        yield table
        end = "(don't quote: some rows may have taught the card)" if self.earlier else QUOTED
        where = f"{name} on this corpus (don't quote these for other rows)"
        yield _tabulate(self.measured, where, is_new=False)
        new = f"{name} on new rows like these"
        yield _tabulate(self.measured, f"{new} {end}", is_new=True)
        if self.earlier and self._is_unseen_measured:
            yield _tabulate(
                self.unseen,
                f"{new}, without rows that may have taught the card {QUOTED}",
                is_new=True,
            )
        yield from _explain_stars(self.measured)
        yield from self._describe_earlier()
        for item in self.measured:
            if item.is_in_force:
                yield from () if self.earlier else _describe_threshold(item)
                files = [self.labels, *([self.answers] if self.answers else ())]
                scores = [row.score for row in self.mistakes.missed] if self.mistakes else []
                yield from _describe_narrow_card(item, self.rule, files, scores)
        yield from describe_rates(self.rates, self.trait)
        yield from describe_pairs(self.pairs, self.rates)
        if not self.earlier:
            yield (
                "Each interval holds on its own with 95% confidence. Quote the second table's for "
                "the trait's precision and recall on text like this corpus. They get narrower with "
                "more --rows, up to the size of the corpus."
            )

    def _describe_earlier(self) -> Iterator[str]:
        """Say which labels flatter the card, if it was changed because of them."""
        if not self.earlier:
            return
        advice = "Quote only the table without them; each interval in it has 95% confidence."
        if not self._is_unseen_measured:
            advice = (
                "It found no other row that was read, so quote nothing yet: read more --rows, or, "
                "if all rows that it found were read, a new corpus."
            )
        yield (
            f"{format_count(self.earlier, 'label')} {choose_form(self.earlier, 'is', 'are')} of "
            f"rows that another version of the card drew{self._count_taught()}. If the card was "
            f"changed because of them, they make it look better than it is, in rates, too. {advice}"
        )

    def _count_taught(self) -> str:
        """Count the rows whose text is on the card."""
        verb = choose_form(self.taught, "has", "have")
        return f", or that the card quotes ({self.taught:,} {verb} an exemplar)" * bool(self.taught)

    def _name_answers(self) -> str:
        """Name the file of rows to read."""
        return str(Path(self.answers or self.labels).absolute())

    def to_json(self) -> dict[str, Any]:
        """Return everything that the tables show."""
        ranges = zip(self.lowest, self.strata, strict=True)
        return {
            "trait": self.trait,
            "labels": self.labels,
            "answers": self.answers or self.labels,
            "unlabelled": self.unlabelled,
            "added": self.added,
            "picked": self.picked,
            "earlier": self.earlier,
            "taught": self.taught,
            "run": self.run,
            "changed_card": self.change and self.change._asdict(),
            "cost": self.cost and self.cost._asdict(),
            "tables": list(map(str, self.tables)),
            "disputed": [item._asdict() for item in self.disputed],
            "rates": [item.to_json() for item in self.rates],
            "teachers_compared": [item.to_json() for item in self.pairs],
            "mistakes": {
                kind: [item._asdict() for item in items]
                for kind, items in (self.mistakes._asdict() if self.mistakes else {}).items()
            },
            "ranges": [{"lowest": lowest, **stratum._asdict()} for lowest, stratum in ranges],
            "thresholds": [_list_measures(item) for item in self.measured],
            "without_earlier": [_list_measures(item) for item in self.unseen],
        }


class KeptLabel(NamedTuple):
    """One row that was labelled, unless the reader gave no answer."""

    name: str
    trait: str
    label: str | None
    labels: str
    disputed: Sequence[DisputedRow] = ()
    run: str | None = None

    def render(self) -> Iterator[str]:
        """Say what was kept."""
        if self.label is None:
            yield f"nothing was kept for {escape_name(self.name)}"
            return
        said = {"yes": "true", "no": "false"}.get(self.label, self.label)
        yield f"{escape_name(self.name)}: {said} for {self.trait}"
        yield from _describe_disputed(self.disputed, self.run, [self.labels])
        yield _describe_file(self.labels, 0)

    def to_json(self) -> dict[str, Any]:
        """Return the row, its label and the file."""
        disputed = [item._asdict() for item in self.disputed]
        return {**self._asdict(), "disputed": disputed}


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
        yield "Set each `label` to true, false or unsure; then give the same command."
        yield _describe_file(self.labels, self.unlabelled)

    def to_json(self) -> dict[str, Any]:
        """Return the counts and the file."""
        return {"rows_to_read": self.unlabelled, "added": self.added, "labels": self.labels}


def _describe_file(labels: str, unlabelled: int, is_second: bool = False) -> str:
    """Name the file of labels, and count its unlabelled rows."""
    option = "--answers" if is_second else "--labels"
    path = f"{Path(labels).absolute()} ({option} names another file)"
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
                row = f"{shlex.quote(run)} --row {shlex.quote(item.name)}"
                place = f"congener inspect {row} --trait {trait}"
            score = f"{item.score:.4f} {item.signal}".strip()
            yield f"{kind}: {score}  {place}"
            if item.unread:
                yield f"  {item.unread}"
        if len(items) > MISTAKES_SHOWN:
            yield f"{kind}: {len(items) - MISTAKES_SHOWN:,} more"
    if any(mistakes) and run is None:
        yield "To inspect these rows, keep the run: give --output RUN beside --on."
    if mistakes.wrong:
        pattern = any(item.signal in {"", "lexicon"} for item in mistakes.wrong)
        yield (
            f"Write hard negatives of {trait} like the wrong rows, in your own words"
            + ", or narrow the pattern that hits them" * pattern
            + "."
        )
    if mistakes.missed:
        yield (
            f"Write positives of {trait} like the missed rows, in your own words, or add to its "
            "lexicon, or lower its threshold: the table has the scores of the nearest ones. Then "
            "read other rows, because these no longer show how good the card is."
        )


def _describe_cost(cost: SignalCost) -> Iterator[str]:
    """Name the signals that mainly fire on wrong rows, and say what their choice costs."""
    yield cost.describe("labelled rows that show it", "labelled rows that don't")
    yield (
        "A card that is changed because of these labels is measured by other rows: read some that "
        "nobody has read."
    )


def _tabulate(measured: Sequence[Measured], title: str, *, is_new: bool) -> Table:
    """Return a table of thresholds with their precision and recall."""
    table = build_table(*COLUMNS, title=title)
    for item in measured:
        table.add_row(
            f"{item.threshold:.4f}",
            _describe_level(item),
            f"{item.rows:,}",
            *_describe_accuracy(item, is_new=is_new),
            "in force" if item.is_in_force else "",
        )
    return table


def _list_measures(item: Measured) -> dict[str, Any]:
    accuracy, new = _to_json(item.accuracy), _to_json(item.on_new_rows)
    return {**item._asdict(), "accuracy": accuracy, "on_new_rows": new}


def _to_json(accuracy: Accuracy) -> dict[str, Any]:
    return {name: interval._asdict() for name, interval in accuracy._asdict().items()}


def _describe_threshold(item: Measured) -> Iterator[str]:
    """State a threshold's precision and recall, and the rows that they describe."""
    if item.rows and item.accuracy.precision.estimate is None:
        yield (
            f"precision and recall at {item.threshold:.4f}: not measured, because none of the "
            f"{format_count(item.rows, 'found row')} was read; --fired reads them"
        )
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


def _describe_narrow_card(
    item: Measured,
    rule: SettledThreshold | None,
    files: Sequence[str],
    missed: Sequence[float] = (),
) -> Iterator[str]:
    """Warn if a trait finds a larger share of its card's positives than of the corpus's cases.

    The intervals of both shares must be apart: a few read rows show nothing.
    """
    recall, high = item.accuracy.recall.estimate, item.accuracy.recall.high
    if rule is None or rule.found_low is None or recall is None or high >= rule.found_low:
        return
    labels = " ".join(f"--labels {shlex.quote(file)}" for file in files)
    yield (
        f"warning: it finds {rule.positives_found:,} of the card's {rule.positives:,} positives, "
        f"each held out, but about {format_percent(recall, 0)} of this corpus's cases"
        + (
            _describe_near(missed, item.threshold)
            or ", so the positives are unlike them: write positives like the missed rows, "
            "or fit with these labels: "
            f"congener fit --traits CARD {labels} --output BANK"
        )
    )


def _describe_near(missed: Sequence[float], threshold: float) -> str:
    """Say that most missed rows score not far below a threshold, or nothing if they don't.

    The positives are then like these rows, but the signals that see them weigh too little.
    """
    near = [score for score in missed if score >= NEAR * threshold]
    if 2 * len(near) <= len(missed):
        return ""
    low, high = f"{min(near):.4f}", f"{max(near):.4f}"
    scores = low if low == high else f"{low} to {high}"
    return (
        f". Of the labelled rows that it missed, {len(near):,} of {len(missed):,} score {scores}, "
        f"below the threshold of {threshold:.4f} but not far: if patterns hit them, raise the "
        "patterns' weights, or lower the threshold"
    )


def _describe_level(item: Measured) -> str:
    """Return a threshold's level, or where a threshold without a level comes from."""
    if item.rate is not None:
        return mark_level(item.rate, item.threshold)
    return "by hand" if item.is_in_force else "a missed row"


def _explain_stars(measured: Sequence[Measured]) -> Iterator[str]:
    """Explain the star, if a level has one."""
    if any(_describe_level(item).endswith("*") for item in measured):
        yield STARRED


def _describe_accuracy(item: Measured, *, is_new: bool) -> tuple[str, str]:
    """Return the table cells of a threshold's precision and recall."""
    if is_new:
        precision, recall = map(describe_interval, item.on_new_rows)
        return precision, recall
    precision, recall = map(describe_interval, item.accuracy)
    known = item.accuracy
    if item.are_found_rows_read and known.precision.estimate is not None:
        precision = f"{format_percent(known.precision.estimate, 0)} (exact)"
    if item.are_all_rows_read and known.recall.estimate is not None:
        recall = f"{format_percent(known.recall.estimate, 0)} (exact)"
    return precision, recall


def _describe_disputed(
    rows: Sequence[DisputedRow], run: str | None, files: Sequence[str]
) -> Iterator[str]:
    from pipelines.disputed_rows import describe_disputed

    if run is not None:
        yield from (notice.text for notice in describe_disputed(rows, run, files))
