"""Choose a page of a finished run's rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import polars as pl

from pipelines.runs.finished import scan_folder
from pipelines.runs.first_reasons import scan_first_reasons
from pipelines.runs.queries import EVERYTHING, SIGNALLED_TRAITS, Filters, require_trait, scan_ledger
from pipelines.runs.recorded_settings import read_recorded_policy, read_recorded_rules
from pipelines.runs.shown_rows import ShownRow, read_shown_rows
from schemas.lots import LOT_FIELDS, Lot
from schemas.manifests import Manifest
from schemas.policies import DECISIONS
from schemas.scores import score_column
from transforms.rules import Rule

MOST_ROWS = 2**32 - 1
"""The largest number of rows that polars counts."""

Order = Literal["decision", "score", "threshold", "row"]
"""The order of rows: by decision, by score, by distance from a threshold, or as in the corpus.

In the order of decisions, the strongest comes first, and the rows of a decision are sorted by the
trait that decided, and then by its score, so that scores of one trait are compared.
In the order of scores, rows without a fired trait come last. The nearest of them to a threshold
comes first.
"""

STRONGEST_FIRST = (*reversed(DECISIONS[:-2]), *DECISIONS[-2:])
"""The decisions, beginning with the strongest; those that no trait makes come last."""

INDEX = "index"
"""The column of row numbers in the whole ledger."""


class Page(NamedTuple):
    """Consecutive rows in some order.

    The filters select `total` rows in all.
    """

    total: int
    start: int
    limit: int
    rows: tuple[ShownRow, ...]

    @property
    def next_start(self) -> int | None:
        """Return the start of the next page, or None."""
        end = self.start + self.limit
        return end if self.limit and end < self.total else None

    @property
    def previous_start(self) -> int | None:
        """Return the start of the previous page, or None."""
        if not (self.limit and self.start and self.total):
            return None
        return max(0, min(self.start, self.total) - self.limit)


def read_page(
    run: str,
    manifest: Manifest,
    filters: Filters = EVERYTHING,
    order: Order = "score",
    start: int = 0,
    limit: int = 5,
    whole: bool = True,
    check: bool = False,
) -> Page:
    """Read a page of rows.

    Without a decision or a row in the filters, only rows with a fired trait are selected. With the
    decision `keep` or with a row, `filters.trait` doesn't select rows. It only names the trait
    whose score and threshold count. `whole` asks for all columns of records. `check` asks for a
    comparison of the rows' files with the manifest's digests.

    Raises: RunError: a file is missing or damaged, or a filter matches no row of the run.
    """
    start, limit = min(start, MOST_ROWS), min(limit, MOST_ROWS)
    total, indexes = choose_rows(run, manifest, filters, order, start, limit)
    rows = read_shown_rows(run, manifest, indexes, filters.trait, whole, check)
    return Page(total, start, limit, tuple(rows))


def choose_rows(
    run: str, manifest: Manifest, filters: Filters, order: Order, start: int, limit: int
) -> tuple[int, list[int]]:
    """Return how many rows the filters select, and the ledger indexes of a page of them.

    The selection is that of `read_page`.

    Raises: RunError: a file is missing or damaged, or a filter matches no row of the run.
    """
    selected = _select_rows(run, manifest, filters)
    total: int = selected.select(pl.len()).collect(engine="streaming").item()
    if not limit or start >= total:
        return total, []
    ranked = _rank_rows(run, manifest, selected, filters, order)
    chosen = ranked.select(INDEX).slice(start, limit).collect(engine="streaming")
    return total, chosen[INDEX].to_list()


def count_taken_rows(run: str, manifest: Manifest, filters: Filters) -> int:
    """Count the selected rows that only a person took out: no signal of a wanted trait fired.

    Raises: RunError: a file is missing or damaged, or a filter matches no row of the run.
    """
    if not any(item.takes_out_row for item in read_recorded_policy(manifest).exceptions):
        return 0
    fired = SIGNALLED_TRAITS.list
    has_fired = fired.len() > 0 if filters.trait is None else fired.contains(filters.trait)
    chosen = _select_rows(run, manifest, filters).filter(~has_fired)
    return int(chosen.select(pl.len()).collect(engine="streaming").item())


def _select_rows(run: str, manifest: Manifest, filters: Filters) -> pl.LazyFrame:
    if filters.trait is not None:
        require_trait(filters.trait, manifest)
    if filters.decision == "keep" or filters.row is not None:
        filters = filters._replace(trait=None)
    frame = scan_ledger(run, manifest, filters, INDEX)
    if filters.decision is None and filters.row is None:
        frame = frame.filter(pl.col("reasons").list.len() > 0)
    return frame


def _rank_rows(
    run: str, manifest: Manifest, selected: pl.LazyFrame, filters: Filters, order: Order
) -> pl.LazyFrame:
    """Sort the selected rows. Rows of equal rank stay in corpus order."""
    if order == "row":
        return selected.select(INDEX)
    reasons = pl.col("reasons").list.eval(_take_if_trait(filters.trait))
    of_fired = reasons.list.eval(pl.element().struct.field("score")).list.max()
    over = pl.element().struct.field("score") - pl.element().struct.field("threshold")
    margins = reasons.list.eval(over).list
    margin = margins.min() if order == "threshold" else margins.max()
    rank = pl.col("decision").replace_strict({name: at for at, name in enumerate(STRONGEST_FIRST)})
    found = selected.select(INDEX, rank=rank, score=of_fired, over=margin)
    if order == "decision" and filters.trait is None:
        first = scan_first_reasons(selected, manifest, INDEX).rename({"score": "own"})
        found = found.join(first, on=INDEX, how="left", maintain_order="left")
    if filters.decision == "keep" or filters.row is not None:
        found = found.join(
            scan_margins(run, manifest, filters.trait), on=INDEX, how="left", maintain_order="left"
        ).with_columns(over=pl.coalesce("over", "margin"))
    keys, descending = [pl.col("score"), pl.col("over")], [True, True]
    if order == "threshold":
        keys, descending = [pl.col("over").abs()], [False]
    elif order == "decision" and filters.trait is None:
        keys = [pl.col("rank"), pl.col("trait"), pl.col("own"), pl.col("over")]
        descending = [False, False, *descending]
    elif order == "decision":
        keys, descending = [pl.col("rank"), *keys], [False, *descending]
    return found.sort([*keys, pl.col(INDEX)], descending=[*descending, False], nulls_last=True)


def _take_if_trait(trait: str | None) -> pl.Expr:
    """Return a trait's reasons in a list of reasons, or all reasons."""
    every = pl.element()
    return every if trait is None else every.filter(every.struct.field("trait") == trait)


def scan_margins(run: str, manifest: Manifest, trait: str | None = None) -> pl.LazyFrame:
    """Scan each row's distance above or below the nearest threshold.

    `index` is the row's index in the whole ledger. `margin` is the largest difference between a
    trait's score on trained text and its threshold: negative if no trait fired, and null if no
    trait scored above 0. `trait` selects one trait.
    """
    rules = [rule for rule in read_recorded_rules(manifest) if trait in (None, rule.trait)]
    scores = scan_folder(run, manifest, "scores", INDEX)
    if not any(item.threshold is not None for rule in rules for item in rule.exceptions):
        limits = [pl.lit(rule.apply_exceptions(Lot())[0]) for rule in rules]
        return scores.select(INDEX, margin=_find_margin(rules, limits))
    lots = scan_ledger(run, manifest, row_index=INDEX).select(INDEX, *LOT_FIELDS)
    known = lots.select(LOT_FIELDS).unique().collect(engine="streaming")
    thresholds = [
        pl.Series(
            _name_limit(rule), [rule.apply_exceptions(Lot(*lot))[0] for lot in known.iter_rows()]
        )
        for rule in rules
    ]
    own = lots.join(known.with_columns(thresholds).lazy(), on=LOT_FIELDS)
    limits = [pl.col(_name_limit(rule)) for rule in rules]
    return scores.join(own, on=INDEX).select(INDEX, margin=_find_margin(rules, limits))


def _name_limit(rule: Rule) -> str:
    return f"{rule.trait}/limit"


def _find_margin(rules: Sequence[Rule], limits: Sequence[pl.Expr]) -> pl.Expr:
    scores = [pl.col(score_column(rule.trait, rule.signal)) for rule in rules]
    return pl.max_horizontal(
        pl.when(score > 0).then(score - limit) for score, limit in zip(scores, limits, strict=True)
    )
