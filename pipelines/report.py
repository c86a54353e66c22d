"""`congener report`: one self-contained page about a finished run, the same bytes for the same run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any, NamedTuple

import polars as pl
import pyarrow.parquet as pq
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from classifiers.guarantees.calibration import upper_bound
from pipelines.display.excerpts import Piece, column_of, excerpt, field_text, inert
from pipelines.inspection import ledger
from pipelines.runs.finished import load_run, readable, require_there, rows_at, scan
from schemas.manifests import Manifest, SettledThreshold
from schemas.outputs import SCORE_DECIMALS
from schemas.policies import DECISIONS, PUBLISHED
from transforms.files import storage
from transforms.identify import NOTHING

PAGE = "report/index.html"
BINS = 40
STEPS = 10**SCORE_DECIMALS
"""Scores are whole numbers of these steps, so that bins and thresholds are compared exactly."""

GROUPS_SHOWN = 50
EXAMPLES = 5
CONFIDENCE = 0.95
REMOVED = tuple(decision for decision in DECISIONS if decision not in PUBLISHED)
SHOWN = (*PUBLISHED, "quarantine")
"""Decisions whose rows' text stands in the run."""

PLOT_LEFT, PLOT_WIDTH, PLOT_TOP, PLOT_HEIGHT = 40.0, 280.0, 18.0, 84.0
BIN_WIDTH, GAP = PLOT_WIDTH / BINS, 0.75


class Bar(NamedTuple):
    """A line of the waterfall: its rows, and where its bar stands, in shares of the rows read."""

    name: str
    kind: str
    rows: int
    share: float
    left: float


class Column(NamedTuple):
    """A column of a histogram, in the drawing's units."""

    x: float
    y: float
    width: float
    height: float
    fired: bool


class Histogram(NamedTuple):
    """A trait's scores: rows below and at or above the threshold in every bin, and how they are drawn."""

    below: list[int]
    above: list[int]
    unscored: int
    columns: list[Column]
    ticks: list[tuple[float, str]]
    line: float | None


class Example(NamedTuple):
    """A row on which a trait fired, with the text around its span."""

    source: str
    row: int
    teacher: str
    decision: str
    score: float
    threshold: float
    segment: str
    pieces: list[Piece]


class Trait(NamedTuple):
    """What the page says of one trait. `unshown` rows fired and left the run without their text."""

    rule: SettledThreshold
    fired: int
    histogram: Histogram
    nearest: list[Example]
    highest: list[Example]
    unshown: int


class Share(NamedTuple):
    """Rows removed of a group's rows, with the two-sided Clopper-Pearson interval of the share."""

    name: str
    rows: int
    removed: int
    share: float
    low: float
    high: float


class Groups(NamedTuple):
    """The groups that lost most rows, how many others there are, and the widest interval's end."""

    kind: str
    shown: list[Share]
    others: int
    scale: float


def write_report(run: str) -> str:
    """Write RUN/report/index.html and return where it is.

    Raises: RunError: The run is unfinished, or a file that its manifest names is missing or damaged.
    """
    page = storage.join(run, PAGE)
    with readable(run):
        rendered = render(run, load_run(run))
    storage.write_bytes(page, rendered.encode())
    return page


def render(run: str, manifest: Manifest) -> str:
    """Return the page; all of it comes from the manifest and the files it names, nothing from the clock or the machine."""
    return _template().render(**contents(run, manifest))


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("pipelines.display"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": "{:,}".format,
        "percent": percent,
        "score": f"{{:.{SCORE_DECIMALS}f}}".format,
        "rows": rows_in_words,
        "inert": inert,
        "coordinate": lambda value: f"{value:.2f}".rstrip("0").rstrip("."),
    }
    return environment.get_template("report.html.j2")


def contents(run: str, manifest: Manifest) -> dict[str, Any]:
    """Gather what the page shows."""
    by_decision = manifest.conservation.by_decision
    return {
        "manifest": manifest,
        "rows_in": manifest.conservation.rows_in,
        "summary": summary(manifest),
        "absent": [name for name in DECISIONS if not by_decision.get(name)],
        "waiting": sum(
            output.rows for output in manifest.outputs if output.path.startswith("swaplist/")
        ),
        "rejected": by_decision.get("reject", 0),
        "bars": waterfall(manifest),
        "traits": traits(run, manifest),
        "groups": [groups(run, manifest, "teacher"), groups(run, manifest, "lot")],
        "confidence": CONFIDENCE,
        "examples": EXAMPLES,
        "plot": {"left": PLOT_LEFT, "width": PLOT_WIDTH, "top": PLOT_TOP, "height": PLOT_HEIGHT},
    }


def percent(share: float) -> str:
    """Write a share with two decimals, never rounding something to nothing or to all."""
    if 0 < share < 0.00005:
        return "<0.01%"
    return ">99.99%" if 0.99995 <= share < 1 else f"{share:.2%}"


FATES = {
    "quarantine": ("is in quarantine", "are in quarantine"),
    "drop": ("was dropped", "were dropped"),
    "duplicate": ("repeats an earlier row", "repeat an earlier row"),
    "reject": ("couldn't be read", "couldn't be read"),
}


def summary(manifest: Manifest) -> str:
    """Say in a sentence what became of the rows."""
    total, by_decision = manifest.conservation.rows_in, manifest.conservation.by_decision
    out = _sum(by_decision, PUBLISHED)
    parts = [
        f"{out:,} ({percent(out / max(total, 1))}) {'is' if out == 1 else 'are'} in the clean corpus"
    ]
    parts += [
        f"{count:,} {one if count == 1 else many}"
        for name, (one, many) in FATES.items()
        if (count := by_decision.get(name, 0))
    ]
    return f"Of {rows_in_words(total)} read, {', '.join(parts[:-1])}{' and ' if parts[1:] else ''}{parts[-1]}."


def rows_in_words(count: int) -> str:
    """Write a number of rows."""
    return f"{count:,} row{'' if count == 1 else 's'}"


def _sum(by_decision: Mapping[str, int], names: Iterable[str]) -> int:
    return sum(by_decision.get(name, 0) for name in names)


def waterfall(manifest: Manifest) -> list[Bar]:
    """Lead from the rows read, removal by removal, to the rows that went out, and split those."""
    total, by_decision = manifest.conservation.rows_in, manifest.conservation.by_decision
    whole = max(total, 1)
    left = total
    bars = [Bar("Rows in", "total", total, total / whole, 0.0)]
    for name in reversed(REMOVED):
        if count := by_decision.get(name, 0):
            left -= count
            bars.append(Bar(name, "removed", count, count / whole, left / whole))
    bars.append(Bar("Rows out", "total", left, left / whole, 0.0))
    at = 0
    for name in PUBLISHED:
        if count := by_decision.get(name, 0):
            bars.append(
                Bar(name, "kept" if name == "keep" else "changed", count, count / whole, at / whole)
            )
            at += count
    return bars


def traits(run: str, manifest: Manifest) -> list[Trait]:
    """Describe every trait of the run."""
    histograms = score_histograms(run, manifest)
    chosen, fired_unshown = choose_examples(run, manifest)
    examples = read_examples(run, manifest, chosen)
    found = []
    for rule, histogram in zip(manifest.thresholds, histograms, strict=True):
        nearest, highest = (
            [examples[rule.trait, place] for place in places]
            for places in chosen.get(rule.trait, ([], []))
        )
        found.append(
            Trait(
                rule,
                manifest.fired.get(rule.trait, 0),
                histogram,
                nearest,
                highest,
                fired_unshown.get(rule.trait, 0),
            )
        )
    return found


def score_histograms(run: str, manifest: Manifest) -> list[Histogram]:
    """Count every trait's scores by bin and side of its threshold; only the counts are held."""
    if not manifest.conservation.rows_in:
        return [drawn([0] * BINS, [0] * BINS, 0, rule.threshold) for rule in manifest.thresholds]
    scores = scan(run, manifest, "scores")
    queries = []
    for rule in manifest.thresholds:
        column = rule.trait if rule.signal == "combined" else f"{rule.trait}/{rule.signal}"
        step = (pl.col(column) * STEPS).round().cast(pl.Int32)
        binned = scores.select(
            bin=(step // (STEPS // BINS)).clip(upper_bound=BINS - 1),
            above=step >= round(rule.threshold * STEPS),
        )
        queries.append(
            binned.group_by("bin", "above")
            .agg(pl.len().alias("rows"))
            .select("bin", "above", "rows")
        )
    frames = pl.collect_all(queries, engine="streaming")
    return [
        _histogram(frame, rule.threshold)
        for frame, rule in zip(frames, manifest.thresholds, strict=True)
    ]


def _histogram(frame: pl.DataFrame, threshold: float) -> Histogram:
    sides, unscored = {False: [0] * BINS, True: [0] * BINS}, 0
    for place, above, rows in frame.iter_rows():
        if place is None:
            unscored += rows
        else:
            sides[above][place] += rows
    return drawn(sides[False], sides[True], unscored, threshold)


def drawn(below: list[int], above: list[int], unscored: int, threshold: float) -> Histogram:
    """Lay out a histogram with logarithmic counts; in the threshold's bin the line stands between the rows below and those above."""
    most = max(*map(sum, zip(below, above, strict=True)), 9)
    top = math.log10(most + 1)
    split = None if threshold > 1 else min(round(threshold * STEPS) // (STEPS // BINS), BINS - 1)
    columns = [
        _column(place, count, side == 1, split, top)
        for place in range(BINS)
        for side, count in enumerate((below[place], above[place]))
        if count
    ]
    ticks = [
        (PLOT_TOP + PLOT_HEIGHT * (1 - math.log10(10**power + 1) / top), _short(10**power))
        for power in range(int(math.log10(most)) + 1)
    ]
    line = None if split is None else PLOT_LEFT + (split + 0.5) * BIN_WIDTH
    return Histogram(below, above, unscored, columns, ticks, line)


def _column(place: int, count: int, fired: bool, split: int | None, top: float) -> Column:
    width = BIN_WIDTH / 2 if place == split else BIN_WIDTH
    left = PLOT_LEFT + (place + 1) * BIN_WIDTH - width if fired else PLOT_LEFT + place * BIN_WIDTH
    height = PLOT_HEIGHT * math.log10(count + 1) / top
    return Column(left, PLOT_TOP + PLOT_HEIGHT - height, width - GAP, height, fired)


def _short(count: int) -> str:
    for size, sign in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count // size}{sign}"
    return str(count)


def groups(run: str, manifest: Manifest, kind: str) -> Groups:
    """Tabulate the groups that lost most rows; rejects are in none, since they couldn't be read."""
    removed = pl.col("decision").is_in(REMOVED).sum()
    grouped = (
        ledger(run, manifest)
        .filter(pl.col("decision") != "reject")
        .group_by(pl.col(kind).alias("name"))
        .agg(pl.len().alias("rows"), removed.alias("removed"))
        .with_columns(share=pl.col("removed") / pl.col("rows"))
        .collect(engine="streaming")
    )
    top = grouped.sort("removed", "share", "name", descending=[True, True, False]).head(
        GROUPS_SHOWN
    )
    shown = [
        _share(name, rows, lost)
        for name, rows, lost in top.select("name", "rows", "removed").iter_rows()
    ]
    return Groups(
        kind, shown, grouped.height - len(shown), max((item.high for item in shown), default=1.0)
    )


def _share(name: str, rows: int, removed: int) -> Share:
    tail = (1 + CONFIDENCE) / 2
    return Share(
        name,
        rows,
        removed,
        removed / rows,
        1 - upper_bound(rows - removed, rows, tail),
        upper_bound(removed, rows, tail),
    )


Chosen = dict[str, tuple[list[int], list[int]]]
"""For every trait the ledger rows of its examples: those nearest above the threshold, and those with the highest scores."""


def choose_examples(run: str, manifest: Manifest) -> tuple[Chosen, dict[str, int]]:
    """Choose the examples of every trait, and count the rows that fired without leaving their text in the run.

    Of equal records the first stands for all; equal scores go by the corpus's order. No text is held.
    """
    fired = _fired(run, manifest)
    margin, score = pl.col("score") - pl.col("threshold"), pl.col("score")
    places = [
        pl.col("index").sort_by(margin, "index").head(EXAMPLES).alias("nearest"),
        pl.col("index")
        .sort_by(score, "index", descending=[True, False])
        .head(EXAMPLES)
        .alias("highest"),
    ]
    different = fired.filter("shown").unique(
        ["trait", "record_id"], keep="first", maintain_order=True
    )
    chosen, counted = pl.collect_all(
        [
            different.group_by("trait").agg(places).select("trait", "nearest", "highest"),
            fired.group_by("trait")
            .agg(pl.col("shown").not_().sum().alias("unshown"))
            .select("trait", "unshown"),
        ],
        engine="streaming",
    )
    return {
        trait: _apart(nearest, highest) for trait, nearest, highest in chosen.iter_rows()
    }, dict(counted.iter_rows())


def _apart(nearest: list[int], highest: list[int]) -> tuple[list[int], list[int]]:
    """Show a row once: as nearest, which is the harder case to judge."""
    return nearest, [place for place in highest if place not in nearest]


def _fired(run: str, manifest: Manifest) -> pl.LazyFrame:
    """Scan (ledger row, record id, whether its text is in the run, trait, score, threshold), a row for each reason."""
    return (
        scan(run, manifest, "ledger", row_index="index")
        .filter(pl.col("reasons").list.len() > 0)
        .select("index", "record_id", pl.col("decision").is_in(SHOWN).alias("shown"), "reasons")
        .explode("reasons")
        .select(
            "index",
            "record_id",
            "shown",
            *(pl.col("reasons").struct.field(name) for name in ("trait", "score", "threshold")),
        )
    )


def read_examples(run: str, manifest: Manifest, chosen: Chosen) -> dict[tuple[str, int], Example]:
    """Read the examples' text, file by file, and of each row only the column that its span is in."""
    wanted = {
        (trait, place) for trait, parts in chosen.items() for places in parts for place in places
    }
    indices = pl.Series(sorted({place for _, place in wanted}), dtype=pl.get_index_type())
    rows = (
        scan(run, manifest, "ledger", row_index="index")
        .filter(pl.col("index").is_in(indices.implode()))
        .sort("index")
        .collect(engine="streaming")
        .to_dicts()
    )
    return {
        (reason["trait"], row["index"]): _example(row, reason, record)
        for output, together in groupby(rows, key=lambda row: row["output"])
        for row, reason, record in _with_records(run, output, list(together))
        if (reason["trait"], row["index"]) in wanted
    }


def _with_records(
    run: str, path: str, rows: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any], dict[str, Any]]]:
    """Yield every reason of some rows of one file, with the record."""
    require_there(run, storage.join(run, path))
    with storage.open_raw(storage.join(run, path)) as stream:
        names = pq.read_schema(stream).names
    columns = sorted(
        {
            column
            for row in rows
            for reason in row["reasons"]
            if (column := column_of(reason["segment"], names))
        }
    )
    records = rows_at(run, path, [row["output_row"] for row in rows], columns)
    yield from (
        (row, reason, records[row["output_row"]]) for row in rows for reason in row["reasons"]
    )


def _example(
    row: Mapping[str, Any], reason: Mapping[str, Any], record: Mapping[str, Any]
) -> Example:
    text = field_text(record, reason["segment"])
    pieces = (
        [Piece("(the field isn't in the row)", ours=True)]
        if text is None
        else excerpt(text, reason["start"], reason["end"])
    )
    return Example(
        row["source"],
        row["row"],
        row["teacher"] or NOTHING,
        row["decision"],
        reason["score"],
        reason["threshold"],
        reason["segment"],
        pieces,
    )
