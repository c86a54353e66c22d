"""Find example rows in a finished run, by trait and by decision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from pipelines.runs.finished import scan_folder
from pipelines.runs.pages import INDEX, read_page, scan_margins
from pipelines.runs.queries import EVERYTHING, scan_ledger
from pipelines.runs.shown_findings import TraitFinding
from pipelines.runs.shown_rows import ShownRow, read_shown_rows
from pipelines.runs.wording_reasons import add_words
from schemas.manifests import Manifest
from schemas.policies import DECISIONS, PUBLISHED

SHOWN = (*PUBLISHED, "quarantine")
"""The decisions that keep a row's text in the run's output."""


class ShownExample(NamedTuple):
    """A row with a trait's finding."""

    row: ShownRow
    finding: TraitFinding


class TraitExamples(NamedTuple):
    """A trait's examples: just above the threshold, and with the highest scores.

    `unshown` counts the fired rows whose text isn't in the output.
    """

    nearest: Sequence[ShownExample] = ()
    highest: Sequence[ShownExample] = ()
    unshown: int = 0


class _Choice(NamedTuple):
    """A trait's examples as ledger indexes."""

    nearest: list[int]
    highest: list[int]


def find_examples(run: str, manifest: Manifest, most: int) -> dict[str, TraitExamples]:
    """Find at most `most` examples of each kind for every fired trait.

    Only the first of several rows with equal content is chosen. Equal scores are in corpus order.
    Only the examples' texts are loaded.

    Raises: RunError: a file is missing.
    """
    choices, unshown = _choose_rows(run, manifest, most)
    indexes = sorted({row for choice in choices.values() for rows in choice for row in rows})
    read = add_words(run, read_shown_rows(run, manifest, indexes, whole=False))
    rows = dict(zip(indexes, read, strict=True))
    found = {}
    for trait, count in unshown.items():
        nearest, highest = (
            [_take_finding(rows[index], trait) for index in chosen]
            for chosen in choices.get(trait, _Choice([], []))
        )
        found[trait] = TraitExamples(nearest, highest, count)
    return found


def _take_finding(row: ShownRow, trait: str) -> ShownExample:
    """Return a row with the trait's finding in trained text."""
    found = (item for item in row.reasons if item.trait == trait and "@" not in item.signal)
    return ShownExample(row, next(found))


def find_row_of_each_decision(run: str, manifest: Manifest) -> dict[str, ShownRow]:
    """For each decision, return the row with the highest score.

    The kept row is the one nearest below a threshold, if there is a kept row without a finding.

    Raises: RunError: a file is missing.
    """
    counts = manifest.conservation.by_decision
    found = {}
    for decision in DECISIONS:
        if not counts.get(decision):
            continue
        nearest = _find_nearest_below(run, manifest) if decision == "keep" else []
        if nearest:
            (found[decision],) = read_shown_rows(run, manifest, nearest, whole=False)
        else:
            filters = EVERYTHING._replace(decision=decision)
            (found[decision],) = read_page(run, manifest, filters, limit=1, whole=False).rows
    return found


def _find_nearest_below(run: str, manifest: Manifest) -> list[int]:
    """Return the index of the kept row that is nearest below a threshold, if there is one."""
    kept = scan_ledger(run, manifest, EVERYTHING._replace(decision="keep"), INDEX)
    margins = scan_margins(run, manifest).filter(pl.col("margin") < 0)
    found = (
        kept.filter(pl.col("reasons").list.len() == 0)
        .select(INDEX)
        .join(margins, on=INDEX)
        .sort("margin", INDEX, descending=[True, False])
        .head(1)
        .collect(engine="streaming")
    )
    return found[INDEX].to_list()


def _choose_rows(
    run: str, manifest: Manifest, most: int
) -> tuple[dict[str, _Choice], dict[str, int]]:
    """Choose each trait's examples, and count the rows without text in the output."""
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
    # a row in both lists is shown only among the nearest
    choices = {
        trait: _Choice(nearest, [row for row in highest if row not in nearest])
        for trait, nearest, highest in chosen.iter_rows()
    }
    return choices, dict(counted.iter_rows())


def _scan_fired(run: str, manifest: Manifest) -> pl.LazyFrame:
    """Scan the reasons in trained text, each with its row's ledger index."""
    reasons = (pl.col("reasons").struct.field(name) for name in ("trait", "score", "threshold"))
    is_shown = pl.col("decision").is_in(SHOWN) & pl.lit(manifest.withdrawn is None)
    return (
        scan_folder(run, manifest, "ledger", row_index=INDEX)
        .filter(pl.col("reasons").list.len() > 0)
        .select("index", "record_id", is_shown.alias("shown"), "reasons")
        .explode("reasons")
        .filter(~pl.col("reasons").struct.field("signal").str.contains("@", literal=True))
        .select("index", "record_id", "shown", *reasons)
    )
