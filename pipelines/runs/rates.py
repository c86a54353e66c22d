"""Compare traits' rates between a finished run's teachers, lots and sources."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import polars as pl

from classifiers.guarantees.calibration import compute_intervals
from classifiers.guarantees.group_differences import compute_p_values
from classifiers.lots.permutations import adjust_p_values
from pipelines.runs.queries import SIGNALLED, SWAPPED, is_signalled, list_swap_traits, scan_ledger
from pipelines.runs.recorded_settings import read_recorded_policy, read_recorded_rules
from pipelines.runs.source_strata import compare_within_sources
from schemas.lots import LOT_FIELDS, SEPARATOR, UNKNOWN, Lot
from schemas.manifests import Manifest
from schemas.outputs import REJECTED_TEACHER
from schemas.policies import FILTERED, list_row_names
from schemas.scores import SIDES, Side
from schemas.shares import round_down, round_up
from transforms.rules import Rule

GROUPINGS: dict[str, tuple[str, ...]] = {
    "all": (),
    "teacher": ("teacher",),
    "lot": ("teacher", "prompt_source", "system_prompt"),
    "source": ("source",),
}
"""The ledger columns of each grouping.

Lots have no dates here, because dates would make tiny groups.
"""

FIELDS = ("teacher", "prompt_source", "system_prompt", "source")
"""The ledger columns of all groupings."""

NAMES = "names"
"""The column with the names by which exceptions name a row."""

LEAST_ROWS = 20
"""The smallest group. A trait that fired on none of 19 rows may have a rate of 17 %."""

FEW_GROUPS = 10
"""With at most this many groups, small groups are compared too."""

CONFIDENCE = 0.95
"""The confidence level of the intervals."""

BOUND_DECIMALS = 6
"""The number of decimals of bounds, which are rounded outwards."""

P_DECIMALS = 6
"""The number of decimals of p- and q-values."""

COUNTED = tuple(name for name in FILTERED if name != "reject")
"""The decisions on readable rows."""

RATES = pl.Schema(
    {
        "grouping": pl.String(),
        **dict.fromkeys(FIELDS, pl.String()),
        "trait": pl.String(),
        "side": pl.String(),
        **dict.fromkeys(("rows", "fired", *COUNTED, "decided_by_another"), pl.Int64()),
        **dict.fromkeys(("share", "low", "high"), pl.Float64()),
        **dict.fromkeys(("p", "q"), pl.Float64()),
        "swap": pl.Int64(),
    }
)
"""The columns of the rates table (see `compare_groups`)."""

ACTIONS = pl.Schema(
    {**dict.fromkeys(("trait", "side", "decision", "own"), pl.String()), "rows": pl.Int64()}
)
"""The columns of `Rates.actions`."""

TAKEN = pl.Schema({"trait": pl.String(), "decision": pl.String(), "rows": pl.Int64()})
"""The columns of `Rates.taken`."""


class Rates(NamedTuple):
    """The rates table, each grouping's omitted groups, and whose decisions rows have.

    `actions` counts the rows on which each trait fired by `trait`, `side`, the row's `decision`,
    and the trait's `own` decision, which exceptions may change for a single row. `taken` counts the
    rows that a person took out, by `trait` and `decision`; the rates leave them out.
    """

    table: pl.DataFrame
    omitted: dict[str, Omitted]
    actions: pl.DataFrame
    taken: pl.DataFrame

    def count_fired(self, trait: str, side: Side) -> int:
        """Count the rows on which a signal of a trait fired, in one kind of text."""
        own = self.table.filter(pl.col("grouping") == "all", trait=trait, side=side)
        return int(own["fired"].sum())

    def count_taken(self, trait: str) -> int:
        """Count the rows that a person took out by an exception for a trait."""
        return int(self.taken.filter(trait=trait)["rows"].sum())


class Omitted(NamedTuple):
    """How many groups are too small to compare, and how many rows they have."""

    groups: int
    rows: int


def compare_groups(run: str, manifest: Manifest) -> Rates:
    """Return a line for each group of rows, each trait, and each side with findings.

    `rows` counts the group's readable rows, and `fired` the rows on which a signal of the trait
    fired. `share`
    is their quotient, with the Clopper-Pearson interval from `low` to `high`. The decision columns
    count the decisions on the fired rows, and `decided_by_another` counts decisions of other
    traits. `swap` counts the rows whose answer was replaced because of the trait; `fired` doesn't
    count them, because it is about the new answers. Lines without a trait cover all traits: `fired`
    counts the rows on which any trait fired, and the decision columns count all rows. Groups of
    fewer than `LEAST_ROWS` rows are omitted, unless there are at most `FEW_GROUPS` groups. Fields
    outside the grouping are null.

    `p` is that of an exact test of whether the trait fires on another share of the group's rows
    than of all other rows: Fisher's, and for teachers the one within sources of prompts
    (`compare_within_sources`). `q` is `p` adjusted for all groups and traits of the grouping
    and side (Benjamini and Hochberg). Both are null in lines for all rows or all traits, and for
    teachers that have no source of prompts in common with others.

    Raises: RunError: a file is missing.
    """
    if not manifest.conservation.rows_in:
        omitted = dict.fromkeys(GROUPINGS, Omitted(0, 0))
        return Rates(RATES.to_frame(), omitted, ACTIONS.to_frame(), TAKEN.to_frame())
    readable = scan_ledger(run, manifest).filter(pl.col("decision") != "reject")
    readable = readable.with_columns(reasons=SIGNALLED)
    counted = _count_rows(readable).collect(engine="streaming")
    fired = _count_findings(readable, manifest)
    swapped = _count_swapped(readable, manifest)
    tables, omitted = [], {}
    for name, fields in GROUPINGS.items():
        groups, omitted[name] = _choose_groups(counted, fields)
        tables += [
            _tabulate_totals(counted, groups, fields).with_columns(grouping=pl.lit(name)),
            _tabulate_traits([fired, swapped], groups, fields, manifest).with_columns(
                grouping=pl.lit(name)
            ),
        ]
    whole = pl.concat(tables, how="diagonal_relaxed").pipe(_add_intervals)
    whole = _add_tests(whole, counted, fired)
    table = _sort(whole.select(*map(_cast_column, RATES)), manifest)
    return Rates(table, omitted, _count_actions(fired), count_taken_out(run, manifest))


def count_taken_out(run: str, manifest: Manifest) -> pl.DataFrame:
    """Count the rows that a person took out, by the trait of the exception and by decision.

    Raises: RunError: a ledger is missing or damaged.
    """
    if not any(item.takes_out_row for item in read_recorded_policy(manifest).exceptions):
        return TAKEN.to_frame()
    reason = pl.col("reasons").struct
    found = (
        scan_ledger(run, manifest)
        .select("decision", "reasons")
        .explode("reasons")
        .filter(~is_signalled(pl.col("reasons")))
        .group_by("decision", trait=reason.field("trait"))
        .agg(rows=pl.len())
    )
    return found.select(list(TAKEN)).sort(list(TAKEN)).cast(TAKEN).collect(engine="streaming")


def sum_taken_out(run: str, manifest: Manifest) -> int:
    """Count the rows that a person took out, each once for each trait of an exception.

    Raises: RunError: a ledger is missing or damaged.
    """
    return int(count_taken_out(run, manifest)["rows"].sum())


def _cast_column(name: str) -> pl.Expr:
    return pl.col(name).cast(RATES[name])


def _count_rows(readable: pl.LazyFrame) -> pl.LazyFrame:
    """Count rows by the columns in `FIELDS`, by decision, and by whether any trait fired."""
    fired = (pl.col("reasons").list.len() > 0).alias("any_fired")
    return readable.group_by(*FIELDS, "decision", fired).agg(rows=pl.len())


def _count_findings(readable: pl.LazyFrame, manifest: Manifest) -> pl.DataFrame:
    """Count findings by the columns in `FIELDS`, by trait and side, and by both decisions."""
    rules = read_recorded_rules(manifest)
    names = readable.collect_schema().names()
    lots = [name for name in (*LOT_FIELDS, REJECTED_TEACHER) if name in names]
    lots.append(NAMES)
    reason = pl.col("reasons").struct
    side = reason.field("signal").str.extract("@(.*)").fill_null("trained")
    found = (
        readable.filter(pl.col("reasons").list.len() > 0)
        .with_columns(_name_rows(rules).alias(NAMES))
        .select(*dict.fromkeys((*FIELDS, *lots, "decision", "reasons")))
        .explode("reasons")
        .with_columns(trait=reason.field("trait"), side=side)
    )
    if not any(item.action is not None for rule in rules for item in rule.exceptions):
        lots = []
    known = found.select(lots).unique().collect(engine="streaming") if lots else None
    own = _tabulate_decisions(rules, manifest, known)
    other = (pl.col("decision") != pl.col("own")) & (pl.col("decision") != "duplicate")
    grouped = (
        found.join(own.lazy(), on=[*lots, "trait", "side"], nulls_equal=True)
        .group_by(*FIELDS, "trait", "side", "decision", "own")
        .agg(fired=pl.len(), decided_by_another=other.sum())
    )
    return grouped.collect(engine="streaming")


def _count_actions(fired: pl.DataFrame) -> pl.DataFrame:
    """Add up findings by trait, side, the row's decision and the trait's own."""
    keys = [name for name in ACTIONS if name != "rows"]
    return fired.group_by(keys).agg(rows=pl.col("fired").sum()).sort(keys).cast(ACTIONS)


def _count_swapped(readable: pl.LazyFrame, manifest: Manifest) -> pl.DataFrame:
    """Count the rows with another teacher's answer by the traits of the answers that they had."""
    if manifest.swap is None:
        return pl.DataFrame()
    found = (
        readable.filter(SWAPPED)
        .select(*FIELDS, trait=list_swap_traits())
        .explode("trait")
        .filter(pl.col("trait") != "")
        .group_by(*FIELDS, "trait")
        .agg(swap=pl.len())
        .with_columns(side=pl.lit("trained"))
    )
    return found.collect(engine="streaming")


def _name_rows(rules: Sequence[Rule]) -> pl.Expr:
    """Return the names by which exceptions name a ledger's row, in one text."""
    names = sorted(list_row_names(item for rule in rules for item in rule.exceptions))
    place = pl.concat_str("source", pl.col("row").cast(pl.String), separator=":")
    own = (pl.when(name.is_in(names)).then(name) for name in (pl.col("record_id"), place))
    return pl.concat_str(*own, separator=SEPARATOR, ignore_nulls=True) if names else pl.lit("")


def _tabulate_decisions(
    rules: Sequence[Rule], manifest: Manifest, lots: pl.DataFrame | None
) -> pl.DataFrame:
    """Return each trait's own decision, by side and lot."""
    known = [{}] if lots is None else lots.to_dicts()
    lines = []
    for fields, rule, side in product(known, rules, manifest.list_found_sides()):
        lot = Lot(**{name: value or UNKNOWN for name, value in fields.items() if name != NAMES})
        lot = lot._replace(names=fields.get(NAMES, ""))
        action = rule.apply_exceptions(lot, side)[1]
        own = "quarantine" if action == "swap" else action
        lines.append({**fields, "trait": rule.trait, "side": side, "own": own})
    names = [] if lots is None else lots.columns
    return pl.DataFrame(lines, dict.fromkeys((*names, "trait", "side", "own"), pl.String()))


def _choose_groups(counted: pl.DataFrame, fields: Sequence[str]) -> tuple[pl.DataFrame, Omitted]:
    """Return the groups to compare with their sizes, and the omitted groups."""
    if not fields:
        return counted.select(pl.col("rows").sum()), Omitted(0, 0)
    every = counted.group_by(fields).agg(pl.col("rows").sum())
    if every.height <= FEW_GROUPS:
        return every, Omitted(0, 0)
    small = every.filter(pl.col("rows") < LEAST_ROWS)
    omitted = Omitted(small.height, int(small["rows"].sum()))
    return every.filter(pl.col("rows") >= LEAST_ROWS), omitted


def _tabulate_totals(
    counted: pl.DataFrame, groups: pl.DataFrame, fields: Sequence[str]
) -> pl.DataFrame:
    """Return each group's rows by decision, and its rows with any finding."""
    sums = [pl.col("rows").filter(pl.col("decision") == name).sum().alias(name) for name in COUNTED]
    swapped = pl.col("rows").filter(SWAPPED).sum().alias("swap")
    fired = pl.col("rows").filter("any_fired").sum().alias("fired")
    totals = _group(counted, fields, [*sums, swapped, fired])
    none = pl.lit(0, pl.Int64).alias("decided_by_another")
    return _join(groups, totals, fields).with_columns(none)


def _tabulate_traits(
    counts: Sequence[pl.DataFrame],
    groups: pl.DataFrame,
    fields: Sequence[str],
    manifest: Manifest,
) -> pl.DataFrame:
    """Return each group's findings and replaced rows by trait, side and decision."""
    pairs = product([rule.trait for rule in manifest.thresholds], manifest.list_found_sides())
    traits = pl.DataFrame(list(pairs), {"trait": pl.String, "side": pl.String}, orient="row")
    sums = [
        pl.col("fired").filter(pl.col("decision") == name).sum().alias(name) for name in COUNTED
    ]
    fired = pl.concat(counts, how="diagonal_relaxed").with_columns(_fill_swap(counts))
    sums += [pl.col("fired", "decided_by_another", "swap").sum()]
    found = _group(fired, [*fields, "trait", "side"], sums)
    lines = groups.join(traits, how="cross")
    numbers = pl.col(*COUNTED, "fired", "decided_by_another", "swap")
    return _join(lines, found, [*fields, "trait", "side"]).with_columns(numbers.fill_null(0))


def _fill_swap(counts: Sequence[pl.DataFrame]) -> pl.Expr:
    """Return the column `swap`, which only the counts of a swap have."""
    has_swap = any("swap" in frame.columns for frame in counts)
    return (pl.col("swap") if has_swap else pl.lit(0)).cast(pl.Int64).alias("swap")


def _group(frame: pl.DataFrame, fields: Sequence[str], sums: Sequence[pl.Expr]) -> pl.DataFrame:
    return frame.group_by(fields).agg(sums) if fields else frame.select(sums)


def _join(groups: pl.DataFrame, found: pl.DataFrame, fields: Sequence[str]) -> pl.DataFrame:
    return groups.join(found, on=fields, how="left") if fields else groups.hstack(found)


def _add_intervals(table: pl.DataFrame) -> pl.DataFrame:
    """Add shares and bounds. Equal counts are computed once."""
    pairs = table.select("fired", "rows").unique()
    low, high = compute_intervals(pairs["fired"].to_numpy(), pairs["rows"].to_numpy(), CONFIDENCE)
    bounds = pairs.with_columns(
        pl.Series("low", [round_down(max(value, 0.0), BOUND_DECIMALS) for value in low]),
        pl.Series("high", [round_up(min(value, 1.0), BOUND_DECIMALS) for value in high]),
    )
    shares = table.with_columns(share=pl.col("fired") / pl.col("rows"))
    return shares.join(bounds, on=["fired", "rows"])


def _add_tests(table: pl.DataFrame, counted: pl.DataFrame, fired: pl.DataFrame) -> pl.DataFrame:
    """Add the p- and q-values of each group's rate of a trait against all other rows."""
    keys = ["grouping", "trait", "side"]
    everything = table.filter(pl.col("grouping") == "all", pl.col("trait").is_not_null())
    every = everything.select("trait", "side", all_fired="fired", all_rows="rows")
    lines = table.filter(pl.col("grouping") != "all", pl.col("trait").is_not_null())
    lines = lines.select(*keys, *FIELDS, "fired", "rows").join(every, on=["trait", "side"])
    counts = (lines[name].to_numpy() for name in ("fired", "rows", "all_fired", "all_rows"))
    own, rows, all_fired, all_rows = counts
    values = np.array(compute_p_values(own, rows, all_fired - own, all_rows - rows), float)
    is_teacher = (lines["grouping"] == "teacher").to_numpy()
    teachers = lines.filter(pl.col("grouping") == "teacher")
    values[is_teacher] = compare_within_sources(teachers, counted, fired)
    tested = lines.with_columns(p=pl.Series(values, dtype=pl.Float64).fill_nan(None))
    adjusted = tested.group_by("grouping", "side", maintain_order=True).map_groups(_adjust)
    found = adjusted.select(*keys, *FIELDS, pl.col("p", "q").round(P_DECIMALS))
    return table.join(found, on=[*keys, *FIELDS], how="left", nulls_equal=True)


def _adjust(tested: pl.DataFrame) -> pl.DataFrame:
    known = tested.filter(pl.col("p").is_not_null())
    q = pl.Series("q", adjust_p_values(known["p"].to_numpy()), pl.Float64)
    others = tested.filter(pl.col("p").is_null()).with_columns(q=pl.lit(None, pl.Float64))
    return pl.concat([known.with_columns(q), others])


def _sort(table: pl.DataFrame, manifest: Manifest) -> pl.DataFrame:
    """Sort by grouping, fields, trait and side, starting with all traits together."""
    groupings = pl.col("grouping").replace_strict({name: i for i, name in enumerate(GROUPINGS)})
    traits = {rule.trait: i for i, rule in enumerate(manifest.thresholds)}
    order = pl.col("trait").replace_strict(traits, default=-1, return_dtype=pl.Int32)
    sides = pl.col("side").replace_strict(
        {side: i for i, side in enumerate(SIDES)}, default=-1, return_dtype=pl.Int32
    )
    return table.sort(groupings, *FIELDS, order, sides)
