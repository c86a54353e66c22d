"""Find examples in a finished run: rows on which each trait fired, with their text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import polars as pl
import pyarrow.parquet as pq

from pipelines.runs.finished import read_rows, require_file, scan_folder
from schemas.lots import UNKNOWN
from schemas.manifests import Manifest
from schemas.policies import PUBLISHED
from schemas.runs import is_json_lines
from schemas.scores import is_trained
from transforms.files import storage
from transforms.records.field_paths import find_read_column, get_field_text

SHOWN = (*PUBLISHED, "quarantine")
"""The decisions for which the run's output includes the row's text."""


class Example(NamedTuple):
    """A row on which a trait fired, with the text of the field in which it fired.

    `text` is None if the row has no such field.
    """

    source: str
    row: int
    teacher: str
    decision: str
    score: float
    threshold: float
    field_path: str
    start: int
    end: int
    text: str | None


class TraitExamples(NamedTuple):
    """A trait's examples: those just above its threshold, and those with the highest scores.

    `unshown` counts the rows on which the trait fired but whose text isn't in the output.
    """

    nearest: Sequence[Example] = ()
    highest: Sequence[Example] = ()
    unshown: int = 0


class _Choice(NamedTuple):
    """A trait's examples, given as row indexes in the whole ledger."""

    nearest: list[int]
    highest: list[int]


def find_examples(run: str, manifest: Manifest, most: int) -> dict[str, TraitExamples]:
    """Find at most `most` examples of each kind for every trait that fired.

    Of rows with equal content, only the first can be chosen. Equal scores are listed in corpus
    order. Only the examples' texts are loaded into memory.

    Raises: RunError: a file is missing.
    """
    choices, unshown = _choose_rows(run, manifest, most)
    examples = _read_examples(run, manifest, choices)
    found = {}
    for trait, count in unshown.items():
        nearest, highest = choices.get(trait, _Choice([], []))
        found[trait] = TraitExamples(
            [examples[trait, row] for row in nearest],
            [examples[trait, row] for row in highest],
            count,
        )
    return found


def _choose_rows(
    run: str, manifest: Manifest, most: int
) -> tuple[dict[str, _Choice], dict[str, int]]:
    """Choose each trait's examples, and count the rows whose text isn't in the run's output."""
    fired = _scan_fired(run, manifest)
    margin, score = pl.col("score") - pl.col("threshold"), pl.col("score")
    by_score = pl.col("index").sort_by(score, "index", descending=[True, False])
    rows = [
        pl.col("index").sort_by(margin, "index").head(most).alias("nearest"),
        by_score.head(most).alias("highest"),
    ]
    shown = pl.col("shown").not_().sum().alias("unshown")
    different = fired.filter("shown").unique(
        ["trait", "record_id"], keep="first", maintain_order=True
    )
    chosen, counted = pl.collect_all(
        [
            different.group_by("trait").agg(rows).select("trait", "nearest", "highest"),
            fired.group_by("trait").agg(shown).select("trait", "unshown"),
        ],
        engine="streaming",
    )
    # a row in both lists is shown only with the nearest, which are harder to judge
    choices = {
        trait: _Choice(nearest, [row for row in highest if row not in nearest])
        for trait, nearest, highest in chosen.iter_rows()
    }
    return choices, dict(counted.iter_rows())


def _scan_fired(run: str, manifest: Manifest) -> pl.LazyFrame:
    """Scan the reasons found in trained text, each with its row's index in the whole ledger."""
    reasons = (pl.col("reasons").struct.field(name) for name in ("trait", "score", "threshold"))
    return (
        scan_folder(run, manifest, "ledger", row_index="index")
        .filter(pl.col("reasons").list.len() > 0)
        .select("index", "record_id", pl.col("decision").is_in(SHOWN).alias("shown"), "reasons")
        .explode("reasons")
        .filter(~pl.col("reasons").struct.field("signal").str.contains("@", literal=True))
        .select("index", "record_id", "shown", *reasons)
    )


def _read_examples(
    run: str, manifest: Manifest, choices: Mapping[str, _Choice]
) -> dict[tuple[str, int], Example]:
    """Read the chosen rows, one file at a time, and return them by trait and ledger index."""
    wanted = {(trait, row) for trait, choice in choices.items() for rows in choice for row in rows}
    indexes = pl.Series(sorted({row for _, row in wanted}), dtype=pl.get_index_type())
    rows = (
        scan_folder(run, manifest, "ledger", row_index="index")
        .filter(pl.col("index").is_in(indexes.implode()))
        .sort("index")
        .collect(engine="streaming")
        .to_dicts()
    )
    columns = tuple(manifest.identity.columns.values())
    return {
        (reason["trait"], row["index"]): _build_example(row, reason, record, columns)
        for path, together in groupby(rows, key=lambda row: row["output"])
        for row, reason, record in _read_reasons(run, path, list(together), columns)
        if (reason["trait"], row["index"]) in wanted and is_trained(reason["signal"])
    }


def _read_reasons(
    run: str, path: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any], dict[str, Any]]]:
    """Yield every reason in some rows of a file, with the ledger row and the record.

    Of a Parquet file, only the columns with the field of a reason are read.
    """
    uri = storage.join(run, path)
    require_file(run, uri)
    if is_json_lines(path):
        records = read_rows(run, path, [row["output_row"] for row in rows])
        yield from (
            (row, reason, records[row["output_row"]]) for row in rows for reason in row["reasons"]
        )
        return
    with storage.open_raw(uri) as stream:
        names = pq.read_schema(stream).names
    reasons = [reason for row in rows for reason in row["reasons"]]
    found = {find_read_column(reason["field_path"], columns, names) for reason in reasons}
    wanted = sorted(column for column in found if column is not None)
    records = read_rows(run, path, [row["output_row"] for row in rows], wanted)
    yield from (
        (row, reason, records[row["output_row"]]) for row in rows for reason in row["reasons"]
    )


def _build_example(
    row: Mapping[str, Any],
    reason: Mapping[str, Any],
    record: Mapping[str, Any],
    columns: Sequence[str],
) -> Example:
    return Example(
        row["source"],
        row["row"],
        row["teacher"] or UNKNOWN,
        row["decision"],
        reason["score"],
        reason["threshold"],
        reason["field_path"],
        reason["start"],
        reason["end"],
        get_field_text(record, reason["field_path"], columns),
    )
