"""Query a finished run: scan its ledger, count its rows, and page through quarantined rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import groupby
from typing import Any, NamedTuple

import polars as pl

from pipelines.runs.finished import get_local_path, read_rows, scan_folder
from schemas.errors import RunError
from schemas.lots import LOT_FIELDS, UNKNOWN, Lot
from schemas.manifests import Manifest
from schemas.outputs import QUARANTINE_EXTRA, ROW_KEY
from schemas.policies import DECISIONS
from schemas.runs import parse_path, shard_path
from schemas.scores import SCORE_DECIMALS, SIDES, TIE_ORDER, Side, score_column, split_side
from transforms.records.field_paths import get_field_text

FIRED = pl.col("reasons").list.eval(pl.element().struct.field("trait"))
"""The traits that fired on a ledger row."""

FINDINGS = pl.col("reasons").list.eval(
    pl.element().struct.field("trait")
    + pl.element().struct.field("signal").str.extract("(@.*)").fill_null("")
)
"""The traits that fired on a ledger row, each with its side, written as in `name_finding`."""

SEPARATOR = "\x1f"
"""The character that joins a row's traits while rows are counted; no trait id contains it."""

MOST_ROWS = 2**32 - 1
"""The largest number of rows that polars can count."""

NAMES_LISTED = 20
"""How many known names are listed in an error about an unknown name."""

NAME_CHARACTERS = 120
"""How many characters of a name are shown in an error."""


class Filters(NamedTuple):
    """Filters for ledger rows: a trait that fired, and names or shell patterns for lot fields."""

    trait: str | None = None
    teacher: str | None = None
    prompt_source: str | None = None
    system_prompt: str | None = None
    date: str | None = None


EVERYTHING = Filters()


class Count(NamedTuple):
    """The number of rows with this decision, teacher and fired trait (None if none fired).

    `side` is the side of the texts on which the trait fired.
    """

    decision: str
    trait: str | None
    side: Side
    teacher: str
    rows: int


class HeldReason(NamedTuple):
    """A reason why a row is in quarantine.

    `text` is the text of the field, or None if the row has no such field. `signals` holds the
    scores of all the trait's signals, and `neighbours` the nearest exemplars.
    """

    trait: str
    signal: str
    score: float
    threshold: float
    action: str
    field_path: str
    start: int
    end: int
    text: str | None
    signals: dict[str, float | None]
    neighbours: list[dict[str, Any]]


class HeldRow(NamedTuple):
    """A row in quarantine: its origin, the reasons, and the record unchanged."""

    source: str
    row: int
    record_id: str
    lot: Lot
    reasons: tuple[HeldReason, ...]
    record: dict[str, Any]


class Page(NamedTuple):
    """Consecutive quarantined rows in corpus order; the filters select `total` rows in all."""

    total: int
    start: int
    limit: int
    rows: tuple[HeldRow, ...]

    @property
    def next_start(self) -> int | None:
        """Return the start of the next page, if there is one."""
        end = self.start + self.limit
        return end if self.limit and end < self.total else None

    @property
    def previous_start(self) -> int | None:
        """Return the start of the previous page, if there is one."""
        if not (self.limit and self.start and self.total):
            return None
        return max(0, min(self.start, self.total) - self.limit)


def scan_ledger(run: str, manifest: Manifest, filters: Filters = EVERYTHING) -> pl.LazyFrame:
    """Scan the ledger rows that the filters select, with `UNKNOWN` in place of null lot fields.

    Raises: RunError: the run doesn't have the trait, or a lot field's filter matches no row.
    """
    whole = scan_folder(run, manifest, "ledger").with_columns(pl.col(LOT_FIELDS).fill_null(UNKNOWN))
    frame = whole
    if filters.trait is not None:
        _require_trait(filters.trait, manifest)
        frame = frame.filter(FIRED.list.contains(filters.trait))
    for field in LOT_FIELDS:
        wanted = getattr(filters, field)
        if wanted is not None:
            names = whole.select(pl.col(field).unique()).collect(engine="streaming")
            frame = frame.filter(
                pl.col(field).is_in(_match_names(wanted, field, names[field].to_list()))
            )
    return frame


def _require_trait(trait: str, manifest: Manifest) -> None:
    known = [rule.trait for rule in manifest.thresholds]
    if trait not in known:
        raise _report_unknown(trait, "trait", known)


def _match_names(wanted: str, field: str, names: Iterable[str]) -> list[str]:
    """Return the names that equal `wanted` or match it as a pattern.

    Raises: RunError: no name matches.
    """
    known = sorted(names)
    found = [name for name in known if name == wanted or fnmatchcase(name, wanted)]
    if not found:
        raise _report_unknown(wanted, field.replace("_", " "), known)
    return found


def _report_unknown(wanted: str, kind: str, known: list[str]) -> RunError:
    """Return an error that lists the known names; `repr` escapes their control characters."""
    listed = "; ".join(repr(name[:NAME_CHARACTERS]) for name in known[:NAMES_LISTED]) or "none"
    others = len(known) - NAMES_LISTED
    return RunError(
        f"no {kind} of this run is called {wanted[:NAME_CHARACTERS]!r}",
        remedy=f"{kind}s of this run: {listed}{f' and {others} others' if others > 0 else ''}",
    )


def count_rows(run: str, manifest: Manifest, filters: Filters = EVERYTHING) -> list[Count]:
    """Count rows by decision, trait, side and teacher.

    A row counts once for each trait and each side of its texts on which the trait fired.

    Raises: RunError: the run doesn't have the trait, or a lot field's filter matches no row.
    """
    grouped = (
        scan_ledger(run, manifest, filters)
        .group_by("decision", "teacher", FINDINGS.list.join(SEPARATOR).alias("found"))
        .agg(pl.len().alias("rows"))
        .select("decision", "teacher", "found", "rows")
        .collect(engine="streaming")
    )
    counts: Counter[tuple[int, str, int, str]] = Counter()
    for decision, teacher, found, rows in grouped.iter_rows():
        for trait, side in map(split_side, (found or "").split(SEPARATOR)):
            if filters.trait in (None, trait):
                counts[DECISIONS.index(decision), trait, SIDES.index(side), teacher] += rows
    return [
        Count(DECISIONS[decision], trait or None, SIDES[side], teacher, rows)
        for (decision, trait, side, teacher), rows in sorted(counts.items())
    ]


def read_quarantine(
    run: str, manifest: Manifest, filters: Filters = EVERYTHING, start: int = 0, limit: int = 5
) -> Page:
    """Read a page of quarantined rows. Files that have no row on the page aren't opened.

    Raises: RunError: a file is missing, or a filter matches no row of the run.
    """
    held = (
        scan_ledger(run, manifest, filters)
        .filter(pl.col("decision") == "quarantine")
        .select("output", "output_row")
    )
    total = held.select(pl.len()).collect(engine="streaming").item()
    start, limit = min(start, MOST_ROWS), min(limit, MOST_ROWS)
    chosen = held.slice(start, limit).collect(engine="streaming").rows() if limit else []
    rows = (
        row
        for path, pairs in groupby(chosen, key=lambda pair: pair[0])
        for row in _read_held_rows(run, manifest, path, [index for _, index in pairs])
    )
    return Page(total, start, limit, tuple(rows))


def _read_held_rows(
    run: str, manifest: Manifest, path: str, indexes: list[int]
) -> Iterator[HeldRow]:
    records = read_rows(run, path, indexes)
    notes = [record.pop(QUARANTINE_EXTRA.name) for record in records.values()]
    keys = [(note["source"], note["row"]) for note in notes]
    scores = _read_scores(run, manifest, parse_path(path).shard, keys)
    for record, note, key in zip(records.values(), notes, keys, strict=True):
        lot = Lot(*(note[field] or UNKNOWN for field in LOT_FIELDS))
        reasons = tuple(
            _describe_reason(item, record, scores[key], manifest.identity.columns)
            for item in note["reasons"]
        )
        yield HeldRow(*key, note["record_id"], lot, reasons, record)


def _read_scores(
    run: str, manifest: Manifest, shard: str, keys: list[tuple[str, int]]
) -> dict[tuple[str, int], dict[str, Any]]:
    """Return all scores of some rows in a shard, keyed by source and row number."""
    path = shard_path("scores", shard)
    output = next(output for output in manifest.outputs if output.path == path)
    names = [name for name, _ in ROW_KEY]
    wanted = pl.LazyFrame(keys, schema={"source": pl.String, "row": pl.Int64}, orient="row")
    scores = pl.scan_parquet(get_local_path(run, output), glob=False)
    found = scores.join(wanted, on=names, how="semi").collect()
    return {(row["source"], row["row"]): row for row in found.iter_rows(named=True)}


def _describe_reason(
    reason: Mapping[str, Any],
    record: Mapping[str, Any],
    scores: Mapping[str, float | None],
    columns_read: Mapping[str, str],
) -> HeldReason:
    fields = ("trait", "signal", "action", "field_path", "start", "end")
    side = split_side(reason["signal"])[1]
    columns = {score_column(reason["trait"], signal, side): signal for signal in TIE_ORDER}
    return HeldReason(
        **{name: reason[name] for name in fields},
        score=_round_score(reason["score"]),
        threshold=_round_score(reason["threshold"]),
        text=get_field_text(record, reason["field_path"], columns_read.values()),
        signals={
            columns[name]: None if score is None else _round_score(score)
            for name, score in scores.items()
            if name in columns
        },
        neighbours=[
            {**near, "similarity": _round_score(near["similarity"])}
            for near in reason["neighbours"]
        ],
    )


def _round_score(score: float) -> float:
    """Return a float32 score as a float64 without the extra decimals of the conversion."""
    return round(score, SCORE_DECIMALS)
