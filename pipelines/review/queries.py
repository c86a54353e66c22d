"""Which rows of a run the review shows, and in which order."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from pipelines.review.corpus_map import CorpusMap, parse_area
from pipelines.review.index import SearchTexts, name_fired, name_score
from pipelines.runs.pages import INDEX, STRONGEST_FIRST
from schemas.errors import CardError
from schemas.lots import LOT_FIELDS
from schemas.notices import list_names, suggest_name
from schemas.policies import DECISIONS
from schemas.row_names import PLACE, RECORD_ID

ORDERS = ("decision", "score", "threshold", "row", "shuffled")
"""Strongest decision first; highest score first; nearest to a threshold; corpus; random."""

LABELLED = ("yes", "no")

PLACES = (*LOT_FIELDS, "source")
"""The filters for columns of the ledger."""

WORDS = ("trait", *PLACES, "decision", "text", "labelled", "area", "order")
NUMBERS = ("low", "high")

UNFOUND = ("keep", "duplicate", "reject", "any")
"""The decisions with which rows are shown on which the trait didn't fire."""

SEED = 20_261_127
"""The seed of the random order, which is the same in every review."""

ORDERED_AT_ONCE = 1 << 16
"""The random order is drawn for multiples of so many rows, so that selections share it."""

LONGEST_VALUE = 500
"""The largest number of characters in a value of a selection, except for an area of the map."""


class RowSelection(NamedTuple):
    """Which rows to show: those that fit every field that is set.

    A name that no row has selects the names that match it as a pattern, or else those of which it
    is a part, in any case. `low` and `high` bound the trait's score, or without a trait the
    distance above the nearest threshold. `text` is a part of the row's text in any case, a record
    id, or FILE:NUMBER. `area` is one of the map. Only rows on which the trait fired are selected
    (or any trait), unless the decision is one of `UNFOUND`, or there is no decision, but a text, an
    area or `low`.
    """

    trait: str | None = None
    teacher: str | None = None
    prompt_source: str | None = None
    system_prompt: str | None = None
    date: str | None = None
    source: str | None = None
    decision: str | None = None
    text: str | None = None
    labelled: str | None = None
    low: float | None = None
    high: float | None = None
    area: str | None = None
    order: str = "decision"


def parse_selection(given: Mapping[str, str], traits: Collection[str]) -> RowSelection:
    """Return the selection that a request describes. Empty values count as left out.

    Raises: CardError: a field is unknown, or a value is.
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name not in (*WORDS, *NUMBERS) or (name != "area" and len(value) > LONGEST_VALUE):
            raise CardError("isn't a filter of the review, or is too long", where=name[:40])
        if value:
            found[name] = _parse_number(name, value) if name in NUMBERS else value
    _require_known("trait", found.get("trait"), traits)
    _require_known("decision", found.get("decision"), (*DECISIONS, "any"))
    _require_known("labelled", found.get("labelled"), LABELLED)
    _require_known("order", found.get("order"), ORDERS)
    if "area" in found:
        parse_area(found["area"])
    return RowSelection(**found)


def _parse_number(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = np.nan
    if not -1 <= number <= 1:
        raise CardError(f"{value[:40]!r} isn't a number from -1 to 1", where=name)
    return number


def _require_known(name: str, value: str | None, known: Collection[str]) -> None:
    if value is not None and value not in known:
        remedy = f"{suggest_name(value[:80], known)}known are {list_names(sorted(known))}"
        raise CardError(f"{value[:80]!r} isn't known", where=name, remedy=remedy)


def select_rows(
    facts: pl.LazyFrame,
    texts: SearchTexts | None,
    selection: RowSelection,
    labelled: Collection[int] = (),
    corpus_map: CorpusMap | None = None,
) -> np.ndarray:
    """Return the ledger indexes of the selected rows (uint32), in the selection's order.

    `labelled` are the indexes of the rows that the reviewer has labelled for the trait.

    Raises: CardError: a text is searched for before the texts are read, or an area is wanted
    before there is a map.
    """
    conditions = [*_match_places(facts, selection), *_list_conditions(selection)]
    frame, has_text = facts.with_row_index(INDEX), None
    if selection.text is not None:
        named = _find_named(frame, selection.text)
        has_text = _find_text(texts, selection.text) if named is None else None
        frame = frame if named is None else named
    if selection.area is not None:
        frame = _cut_out(frame, corpus_map, selection.area)
    keys = [] if selection.order in ("row", "shuffled") else _name_keys(selection)
    if selection.order == "decision" and _has_findings(selection):
        keys += _rank_traits(facts.collect_schema().names())
    used = {name for key in keys for name in key.meta.root_names()}
    found = frame.filter(*conditions).select(INDEX, *sorted(used)).collect()
    if has_text is not None:
        found = found.filter(pl.Series(has_text[found[INDEX].to_numpy()]))
    if selection.labelled is not None:
        known = pl.Series(list(labelled), dtype=pl.UInt32).implode()
        is_known = pl.col(INDEX).is_in(known)
        found = found.filter(is_known if selection.labelled == "yes" else ~is_known)
    return _sort(found.select(INDEX, *keys), selection)


def _match_places(facts: pl.LazyFrame, selection: RowSelection) -> Iterator[pl.Expr]:
    """Yield the conditions for lots and files."""
    for name in PLACES:
        if (value := getattr(selection, name)) is not None:
            known = facts.select(pl.col(name).unique().cast(pl.String)).collect()[name].to_list()
            yield pl.col(name).cast(pl.String).is_in(match_names(value, known))


def match_names(wanted: str, known: Collection[str]) -> list[str]:
    """Return the name, or those that match it as a pattern, or those of which it is a part."""
    if wanted in known:
        return [wanted]
    matched = [name for name in known if fnmatchcase(name, wanted)]
    return matched or [name for name in known if wanted.casefold() in name.casefold()]


def _list_conditions(selection: RowSelection) -> list[pl.Expr]:
    conditions, score = list[pl.Expr](), _get_score(selection)
    if selection.low is not None:
        conditions.append(score >= selection.low)
    if selection.high is not None:
        conditions.append(score <= selection.high)
    if selection.decision not in (None, "any"):
        conditions.append(pl.col("decision") == selection.decision)
    if _needs_finding(selection):
        conditions.append(_name_finding(selection.trait))
    return conditions


def _needs_finding(selection: RowSelection) -> bool:
    """Return whether the trait, or any trait, must have fired on a row."""
    if selection.decision is None:
        return selection.text is None and selection.low is None and selection.area is None
    return selection.trait is not None and selection.decision not in UNFOUND


def _has_findings(selection: RowSelection) -> bool:
    """Return whether rows of several traits are selected, and each has a finding."""
    if selection.trait is not None or selection.decision in UNFOUND:
        return False
    return selection.decision is not None or _needs_finding(selection)


def _rank_traits(columns: Collection[str]) -> list[pl.Expr]:
    """Return the place of each row's first trait among all traits by name, and its score.

    Like `inspect`, the review shows the rows of a decision by this trait, and then by its score.
    """
    traits = [name.removeprefix("fired/") for name in columns if name.startswith("fired/")]
    ranks = {trait: rank for rank, trait in enumerate(sorted(traits))}
    first = pl.col("first").cast(pl.String).replace_strict(ranks, return_dtype=pl.UInt16)
    return [
        first.fill_null(len(ranks)).alias("trait"),
        pl.col("first_score").fill_null(-2).alias("own"),
    ]


def _name_finding(trait: str | None) -> pl.Expr:
    """Return the condition that the trait, or any trait, fired."""
    return pl.any_horizontal("^fired/.*$") if trait is None else pl.col(name_fired(trait))


def _get_score(selection: RowSelection) -> pl.Expr:
    return pl.col("margin" if selection.trait is None else name_score(selection.trait)).fill_nan(-2)


def _find_named(frame: pl.LazyFrame, wanted: str) -> pl.LazyFrame | None:
    """Return the rows that a record id or a place names, or None if a text isn't such a name."""
    if RECORD_ID.fullmatch(wanted):
        return frame.filter(pl.col("record_id") == wanted)
    if place := PLACE.fullmatch(wanted):
        named = frame.filter(pl.col("source") == place[1], pl.col("row") == int(place[2]))
        if named.select(pl.len()).collect().item():
            return named
    return None


def _find_text(texts: SearchTexts | None, wanted: str) -> np.ndarray:
    """Return which rows have a part of a text in any case."""
    if texts is None:
        raise CardError("the texts are still being read", where="text", remedy="wait a moment")
    return texts.search.find(wanted.lower())


def _cut_out(frame: pl.LazyFrame, corpus_map: CorpusMap | None, area: str) -> pl.LazyFrame:
    """Select the rows in an area of the map."""
    if corpus_map is None:
        raise CardError("the map is still being made", where="area", remedy="wait a moment")
    rows = pl.Series(corpus_map.find_rows(area), dtype=pl.UInt32)
    return frame.filter(pl.col(INDEX).is_in(rows.implode()))


def _name_keys(selection: RowSelection) -> list[pl.Expr]:
    """Return the columns by which a selection that isn't in the run's order is sorted."""
    keys = [_get_score(selection).alias("score")]
    if selection.order == "decision":
        ranks = {name: at for at, name in enumerate(STRONGEST_FIRST)}
        known = pl.col("decision").cast(pl.String)
        keys.append(known.replace_strict(ranks, return_dtype=pl.UInt8).alias("rank"))
    if selection.order == "threshold":
        keys = [pl.col("margin").abs().fill_nan(2).alias("score")]
    return keys


def _sort(found: pl.DataFrame, selection: RowSelection) -> np.ndarray:
    """Return the indexes in order. Rows of equal rank stay in corpus order."""
    rows: np.ndarray = found[INDEX].to_numpy()
    if selection.order == "row":
        return rows
    if selection.order == "shuffled":
        return shuffle(rows)
    if selection.order == "threshold":
        return rows[np.argsort(found["score"].to_numpy(), kind="stable")]
    keys = [-found["score"].to_numpy()]
    if "trait" in found.columns:
        keys += [-found["own"].to_numpy(), found["trait"].to_numpy()]
    if selection.order == "decision":
        keys.append(found["rank"].to_numpy())
    ordered: np.ndarray = rows[np.lexsort(keys)]
    return ordered


def shuffle(rows: np.ndarray) -> np.ndarray:
    """Return rows in a random order that is the same in every review, and says nothing of them.

    Which of two rows comes first doesn't depend on the other rows.
    """
    if not len(rows):
        return rows
    order = _draw_order(-(-(int(rows.max()) + 1) // ORDERED_AT_ONCE) * ORDERED_AT_ONCE)
    chosen = np.zeros(len(order), bool)
    chosen[rows] = True
    shuffled: np.ndarray = order[chosen[order]]
    return shuffled


@lru_cache(1)
def _draw_order(size: int) -> np.ndarray:
    """Return all rows up to a size in random order. A larger size only inserts rows."""
    return np.random.default_rng(SEED).random(size).argsort(kind="stable").astype(np.uint32)
