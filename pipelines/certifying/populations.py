"""The rows of a run that an audit may draw, in strata of lots and scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from classifiers.guarantees.audits import allocate_rows
from pipelines.certifying.actions import find_deciding_rows
from pipelines.runs.finished import MISFITS, list_outputs, report_damage, scan_folder
from pipelines.runs.queries import FINDINGS, FIRED
from schemas.certificates import AuditSample, AuditStratum
from schemas.digests import digest_bytes
from schemas.errors import RunError
from schemas.lots import LOT_FIELDS, UNKNOWN
from schemas.manifests import Manifest
from schemas.runs import parse_path
from schemas.scores import SCORE_DECIMALS, score_column

BANDS = (0.25, 0.5, 1.0)
"""The edges of the bands of scores, as parts of a trait's threshold. The highest of a row's traits
counts. Rows in the last band were found and stayed, as a flag or a mask lets them."""

EXPECTED = (0.0005, 0.005, 0.05, 0.3)
"""Guesses of the share of rows with a trait in each band, which decide how many rows are drawn from
it. Wrong guesses make bounds wider, and never wrong."""

EVEN_SHARE = 0.75
"""The part of the draws that is spread evenly over all kept rows. No row's weight is above its
inverse, so an audit that finds nothing needs at most a third more rows than an even one."""

LOTS = 20
"""How many lots have strata of their own. Smaller ones share one."""

OTHERS = "other lots"


class AuditedRows(NamedTuple):
    """A run's rows, in the order of the ledger.

    `output` and `output_row` are where the run holds a row. `fired` has the rows on which each
    trait fired. `kept` and `removed` are indexes of rows that may be drawn, and `strata` gives the
    stratum of each kept row. `decided` has the masked and removed rows that each trait's own action
    masked or removed; it is None for samples from before, which don't record it.
    """

    sources: list[str]
    numbers: list[int]
    outputs: list[str | None]
    output_rows: list[int | None]
    fired: dict[str, np.ndarray]
    kept: np.ndarray
    removed: np.ndarray
    unread: int
    excluded: tuple[tuple[str, int], ...]
    strata: np.ndarray
    sizes: tuple[AuditStratum, ...]
    decided: dict[str, np.ndarray] | None = None


def read_drawn_from(run: str, manifest: Manifest, sample: AuditSample) -> AuditedRows:
    """Read the rows of a run from which a sample was drawn, with the facts that it records.

    Raises: RunError: the run is damaged.
    """
    excluded = [(source, row, None) for source, row in sample.excluded]
    rows = read_rows_to_audit(run, manifest, sample.traits, excluded)
    return rows if sample.removed_by is not None else rows._replace(decided=None)


def read_rows_to_audit(
    run: str,
    manifest: Manifest,
    traits: Sequence[str],
    excluded: Sequence[tuple[str | None, int | None, str | None]] = (),
) -> AuditedRows:
    """Read where a run's rows are, and put the kept ones into strata.

    `excluded` names rows by source and number, or by record id.

    Raises: RunError: the run has no row in clean/, or is damaged.
    """
    if not list_outputs(manifest, "ledger"):
        raise RunError("has no rows to audit", where=run)
    with report_damage(run, *MISFITS):
        columns = ("source", "row", "record_id", *LOT_FIELDS, "decision", "output", "output_row")
        found = {"fired": FIRED, "findings": FINDINGS}
        ledger = scan_folder(run, manifest, "ledger").select(*columns, **found).collect()
        band = _find_bands(run, manifest, traits)
        rows = _sort_rows(ledger, band, traits, _mark_excluded(ledger, excluded))
        rows = rows._replace(decided=find_deciding_rows(ledger, manifest, traits))
    if not len(rows.kept):
        raise RunError("has no row in clean/ that could be drawn", where=run)
    return rows


def _mark_excluded(
    ledger: pl.DataFrame, excluded: Sequence[tuple[str | None, int | None, str | None]]
) -> np.ndarray:
    """Return which rows of the ledger are excluded."""
    places = {(source, row) for source, row, _ in excluded if row is not None}
    ids = [record for _, row, record in excluded if row is None and record is not None]
    own = ledger["record_id"].is_in(ids).fill_null(value=False).to_numpy().copy()
    if places:
        pairs = zip(ledger["source"].to_list(), ledger["row"].to_list(), strict=True)
        own |= np.fromiter((pair in places for pair in pairs), bool, len(ledger))
    return own


def _find_bands(run: str, manifest: Manifest, traits: Sequence[str]) -> np.ndarray:
    """Return each row's band: the highest over the traits, by score and threshold."""
    rules = {rule.trait: rule for rule in manifest.thresholds}
    names = [score_column(trait, rules[trait].signal) for trait in traits]
    scores = scan_folder(run, manifest, "scores").select(names).collect()
    band = np.zeros(len(scores), np.int64)
    for trait, name in zip(traits, names, strict=True):
        values = np.round(np.nan_to_num(scores[name].to_numpy().astype(np.float64)), SCORE_DECIMALS)
        threshold = max(rules[trait].threshold, 10.0**-SCORE_DECIMALS)
        edges = np.round(np.array(BANDS) * threshold, 2 * SCORE_DECIMALS)
        band = np.maximum(band, np.searchsorted(edges, values, side="right"))
    return band


def _sort_rows(
    ledger: pl.DataFrame, band: np.ndarray, traits: Sequence[str], excluded: np.ndarray
) -> AuditedRows:
    outputs = ledger["output"].to_list()
    folders = np.array([parse_path(path).folder if path else "" for path in outputs], "U10")
    decisions = ledger["decision"].to_numpy()
    gone = np.isin(decisions, ["quarantine", "drop"])
    kept = np.flatnonzero((folders == "clean") & ~excluded)
    removed = np.flatnonzero((folders == "quarantine") & gone & ~excluded)
    strata, sizes = _divide(ledger, band, kept)
    places = zip(ledger["source"].to_list(), ledger["row"].to_list(), strict=True)
    left_out = tuple(pair for pair, out in zip(places, excluded.tolist(), strict=True) if out)
    return AuditedRows(
        ledger["source"].to_list(),
        ledger["row"].to_list(),
        outputs,
        ledger["output_row"].to_list(),
        {name: ledger["fired"].list.contains(name).to_numpy() for name in traits},
        kept,
        removed,
        int((gone & (folders != "quarantine")).sum()),
        left_out,
        strata,
        sizes,
    )


def _divide(
    ledger: pl.DataFrame, band: np.ndarray, kept: np.ndarray
) -> tuple[np.ndarray, tuple[AuditStratum, ...]]:
    """Return the stratum of each kept row, and the strata, by lot and band."""
    fields = [pl.col(name).fill_null(UNKNOWN) for name in LOT_FIELDS]
    lots = ledger.select(pl.concat_str(fields, separator=" · "))[kept].to_series()
    known = lots.value_counts(sort=True).sort(["count", lots.name], descending=[True, False])
    own = known[lots.name].head(LOTS).to_list()
    names = [*own, OTHERS]
    codes = lots.replace_strict({name: i for i, name in enumerate(own)}, default=len(own))
    keys = codes.to_numpy().astype(np.int64) * (len(BANDS) + 1) + band[kept]
    found, strata, counts = np.unique(keys, return_inverse=True, return_counts=True)
    lot, bands = np.divmod(found, len(BANDS) + 1)
    sizes = tuple(
        AuditStratum(lot=names[name], band=int(own_band), rows=int(rows), share=0)
        for name, own_band, rows in zip(lot.tolist(), bands, counts, strict=True)
    )
    return strata, sizes


def settle_shares(strata: Sequence[AuditStratum], budget: int) -> tuple[AuditStratum, ...]:
    """Settle the chance of each stratum: most of it by size, and the rest by `allocate_rows`.

    `allocate_rows` draws more where rows with a trait are expected, and some in every stratum.
    """
    rows = np.array([item.rows for item in strata], np.int64)
    expected = np.array([EXPECTED[item.band] for item in strata])
    wanted = allocate_rows(rows, expected, budget).astype(np.float64)
    shares = EVEN_SHARE * rows / rows.sum() + (1 - EVEN_SHARE) * wanted / wanted.sum()
    return tuple(
        item.model_copy(update={"share": round(float(share), 12)})
        for item, share in zip(strata, shares, strict=True)
    )


class DrawnRow(NamedTuple):
    """A drawn row: its place in the ledger, its weight, and the largest that it could have had."""

    place: int
    weight: float
    cap: float


def draw_kept(
    rows: AuditedRows, strata: Sequence[AuditStratum], seed: str, count: int
) -> list[DrawnRow]:
    """Draw kept rows by weight, without replacement.

    First a stratum is drawn, by `roll`, and then its next row, in the order of the rows' digests.
    So the first draws of a larger audit are those of a smaller one.
    """
    orders = [_order(rows, rows.kept[rows.strata == number], seed) for number in range(len(strata))]
    shares = np.array([item.share for item in strata])
    left = np.array([item.rows for item in strata], np.float64)
    total, drawn = left.sum(), []
    for turn in range(min(count, int(total))):
        live = np.where(left > 0, shares, 0.0)
        live /= live.sum()
        ends = np.cumsum(live)
        number = int(np.searchsorted(ends, roll(seed, f"kept {turn}") * ends[-1], side="right"))
        with np.errstate(divide="ignore", invalid="ignore"):
            weights = np.where(left > 0, left / (total * live), 0.0)
        taken = int(strata[number].rows - left[number])
        drawn.append(DrawnRow(orders[number][taken], float(weights[number]), float(weights.max())))
        left[number] -= 1
    return drawn


def draw_removed(rows: AuditedRows, seed: str, count: int) -> list[DrawnRow]:
    """Draw removed rows evenly, without replacement."""
    return [DrawnRow(index, 1.0, 1.0) for index in _order(rows, rows.removed, seed)[:count]]


def _order(rows: AuditedRows, indexes: np.ndarray, seed: str) -> list[int]:
    """Return rows in the order of the digests of the seed and their names."""
    keys = {
        index: digest_bytes(f"{seed}\0{rows.sources[index]}\0{rows.numbers[index]}".encode())
        for index in indexes.tolist()
    }
    return sorted(keys, key=keys.__getitem__)


def roll(seed: str, name: str) -> float:
    """Return a number from 0 to below 1: the first 52 bits of a digest of the seed and a name."""
    return int(digest_bytes(f"{seed}\0{name}".encode())[:13], 16) / 16**13
