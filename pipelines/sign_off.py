"""The report's first screen, for somebody who signs a release and reads nothing else.

Everything here is also in other sections, with its reasons. These are the short forms: what came
in, what was taken out and why, what is promised, what isn't known, and who made and checked the
run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import polars as pl

from pipelines.certifying.histories import describe_carried
from pipelines.display.excerpts import escape_name
from pipelines.library_precision import SAMPLE, describe_library_precision
from pipelines.removals_read import (
    describe_clean_removals,
    list_doubtful,
)
from pipelines.runs.own_actions import count_own
from pipelines.runs.queries import scan_ledger
from pipelines.runs.rates import Rates
from pipelines.runs.recorded_settings import read_recorded_policy
from pipelines.sentences import NOT_LOOKED_FOR, describe_origin
from schemas.certificates import CarriedRows, Certificate, ShareBound
from schemas.lots import UNKNOWN
from schemas.manifests import Manifest, SettledThreshold
from schemas.mixes import MIX
from schemas.notices import choose_form, format_count, list_names
from schemas.scores import TEXTS_OF_SIDES
from schemas.shares import format_bound, format_exact, format_percent

TEACHERS_SHOWN = 5
"""The largest number of teachers that are named."""

BY_HAND = "taken out by a person"
"""What became of the rows that exceptions take out by name, which no signal found."""

REASONS_SHOWN = 16
"""The largest number of traits on the first screen. The next section has all of them."""

DATE = re.compile(r"\d{4}(?:-\d{2}(?:-\d{2})?)?")
"""A date whose order is that of its text."""


class TraitEffects(NamedTuple):
    """A trait's part in what happened to rows, and what is known of how often it is right.

    `effects` are numbers of rows with what became of them. `right` is measured, on this run or by
    whoever wrote the card; without a measurement it is empty. `is_weak` marks a card's warning.
    """

    trait: str
    texts: str
    effects: list[tuple[int, str]]
    right: str
    is_weak: bool

    @property
    def is_minor(self) -> bool:
        """Return whether the trait only flagged rows, and no warning is known of it."""
        return {name for _, name in self.effects} == {"flagged"} and not self.is_weak

    @property
    def is_from_library(self) -> bool:
        """Return whether `right` was measured on the library's own sample of real answers."""
        return SAMPLE in self.right


class SignOff(NamedTuple):
    """The first screen: sentences by block, and the traits behind what was taken out.

    `counts_twice` says that a removed row counts for more than one of these traits.
    """

    came_in: list[str]
    taken: str
    counts_twice: bool
    reasons: list[TraitEffects]
    unlisted: int
    promised: list[str]
    unknown: list[str]
    made: list[str]
    reading: list[str]


def summarise_for_signing(
    run: str,
    manifest: Manifest,
    rates: Rates,
    certificate: Certificate | None,
    history: str | None = None,
) -> SignOff:
    """Gather the first screen. `certificate` is this run's, if it has one.

    `history` says which statements came before it.

    Raises: RunError: a file that the manifest lists is missing or damaged.
    """
    teachers = count_teachers(run, manifest)
    reasons = list(list_reasons(manifest, rates, certificate))
    return SignOff(
        list(_describe_input(manifest, teachers)),
        describe_taken(manifest),
        counts_rows_twice(manifest, reasons),
        reasons[:REASONS_SHOWN],
        len(reasons[REASONS_SHOWN:]),
        list(describe_promises(manifest, certificate)),
        list(list_unknown(manifest, teachers, certificate)),
        list(describe_origin(manifest, read_recorded_policy(manifest))),
        [*describe_reading(certificate), *([history] if history else [])],
    )


class TeacherRows(NamedTuple):
    """How many readable rows a teacher has, and their first and last date, if rows have one."""

    name: str
    rows: int
    dated: int
    first: str | None
    last: str | None


def count_teachers(run: str, manifest: Manifest) -> list[TeacherRows]:
    """Count the rows of the corpus by teacher, the largest number first.

    Rows that couldn't be read and rows that a mix added are left out.
    """
    if not manifest.conservation.rows_in:
        return []
    is_dated = pl.col("date") != UNKNOWN
    dates = pl.col("date").filter(is_dated)
    found = (
        scan_ledger(run, manifest)
        .filter(~pl.col("decision").is_in(["reject", MIX]))
        .group_by("teacher")
        .agg(rows=pl.len(), dated=is_dated.sum(), first=dates.min(), last=dates.max())
        .sort("rows", "teacher", descending=[True, False])
    )
    return [TeacherRows(*line) for line in found.collect(engine="streaming").iter_rows()]


def _describe_input(manifest: Manifest, teachers: Sequence[TeacherRows]) -> Iterator[str]:
    counts = manifest.conservation
    came = counts.rows_in - manifest.added
    yield f"{format_count(came, 'row')} in {format_count(len(manifest.inputs), 'file')}"
    known = [item for item in teachers if item.name != UNKNOWN]
    if known:
        names = [f"{escape_name(item.name, 40)} {item.rows:,}" for item in known]
        yield f"{format_count(len(known), 'teacher')}: {list_names(names, TEACHERS_SHOWN)}"
    elif teachers:
        yield "no row names its teacher"
    if teachers:
        yield _describe_dates(teachers)
    if manifest.parents and manifest.swap is None and manifest.mix is None:
        yield f"already filtered before, by {manifest.describe_parents()}"


def _describe_dates(teachers: Sequence[TeacherRows]) -> str:
    """Return the first and the last date, and how many rows have none."""
    dated, rows = (sum(getattr(item, name) for item in teachers) for name in ("dated", "rows"))
    if not dated:
        return "no row has a date"
    edges = [date for item in teachers for date in (item.first, item.last) if date is not None]
    first, last = min(edges), max(edges)
    if not DATE.match(first) or not DATE.match(last):
        return f"{format_count(dated, 'row')} with a date, in no known form"
    when = f"dated {first[:10]}" if first == last else f"dated {first[:10]} to {last[:10]}"
    return f"{when}{f'; {rows - dated:,} without a date' if rows > dated else ''}"


def describe_taken(manifest: Manifest) -> str:
    """Say in a phrase how many rows were taken out, and where they are."""
    found, rows = manifest.conservation.by_decision, manifest.conservation.rows_in
    words = {
        "quarantine": "in quarantine",
        "drop": "dropped",
        "duplicate": choose_form(found.get("duplicate", 0), "duplicate", "duplicates"),
        "reject": "unreadable",
    }
    parts = [f"{found[name]:,} {text}" for name, text in words.items() if found.get(name)]
    total = sum(found.get(name, 0) for name in words)
    if not total:
        return "no row was taken out"
    share = format_percent(total / rows)
    return f"{total:,} of {format_count(rows, 'row')} ({share}): {', '.join(parts)}"


def counts_rows_twice(manifest: Manifest, reasons: Sequence[TraitEffects]) -> bool:
    """Return whether the traits' removed rows are more than the rows that were removed."""
    found = manifest.conservation.by_decision
    total = sum(found.get(name, 0) for name in ("quarantine", "drop", "duplicate"))
    taking = ("removed", BY_HAND)
    parts = (rows for item in reasons for rows, name in item.effects if name in taking)
    return sum(parts) > total


def list_reasons(
    manifest: Manifest, rates: Rates, certificate: Certificate | None
) -> Iterator[TraitEffects]:
    """Yield the traits that did something to rows, those that took out most of them first."""
    chosen = (pl.col("grouping") == "all") & pl.col("trait").is_not_null()
    has_rows = (pl.col("fired") > 0) | (pl.col("swap") > 0)
    has_rows |= pl.col("trait").is_in(rates.taken["trait"].to_list()) & (
        pl.col("side") == "trained"
    )
    lines = rates.table.filter(chosen, has_rows).to_dicts()
    settled = {item.trait: item for item in manifest.thresholds}
    counted = [(line, _count_effects(line, rates)) for line in lines]
    counted.sort(key=lambda pair: (-pair[1]["removed"] - pair[1]["replaced"], -pair[1]["masked"]))
    for line, counts in counted:
        effects = [(count, name) for name, count in counts.items() if count]
        if effects:
            right, is_weak = describe_precision(settled[line["trait"]], manifest, certificate)
            texts = "" if line["side"] == "trained" else TEXTS_OF_SIDES[line["side"]]
            yield TraitEffects(line["trait"], texts, effects, right, is_weak)


def _count_effects(line: dict[str, Any], rates: Rates) -> dict[str, int]:
    """Count a trait's rows by what its own action did, whatever other traits did to them."""
    own = count_own(rates.actions, line["trait"], line["side"])
    taken = rates.count_taken(line["trait"]) if line["side"] == "trained" else 0
    return {
        "removed": own.removed,
        "replaced": line["swap"],
        "masked": own.masked,
        "flagged": own.flagged,
        BY_HAND: taken,
    }


def describe_precision(
    rule: SettledThreshold, manifest: Manifest, certificate: Certificate | None
) -> tuple[str, bool]:
    """Return what is known of how often a trait is right, and whether the card warns of it.

    What people read in this run comes first, then the card's warning, then what was measured of the
    library's traits. People read rows that the trait's own action removed; the trait may have fired
    on rows that others removed.
    """
    read = next((item for item in _list_read(certificate) if item[0] == rule.trait), None)
    if read is not None:
        return _describe_read(read[1], certificate), False
    caution = manifest.cards.get(rule.trait, {}).get("caution")
    if caution:
        return str(caution), True
    return describe_library_precision(rule.trait, manifest), False


def _describe_read(found: ShareBound, certificate: Certificate | None) -> str:
    """Say how many of the rows that a trait removed people read, and what they found.

    A certificate from before counts all removed rows on which the trait fired.
    """
    if found.carried is not None:
        return _describe_read_before(found, found.carried)
    is_old = certificate is None or certificate.masked is None
    what = "removed rows on which it fired" if is_old else "rows that this trait's action removed"
    shown, doubt = found.read - found.counted, ""
    if found.unsure:
        doubt = f" ({found.describe_counted('clean')})"
    verb = choose_form(shown, "shows", "show")
    show = f"{shown:,} {verb} it" if shown else "none shows it"
    return f"people read {found.read:,} of {found.rows:,} {what}: {show}{doubt}"


def _describe_read_before(found: ShareBound, carried: CarriedRows) -> str:
    """Say in how many of this run's removed rows people saw a trait when they read another run."""
    shown = carried.ruled_out + carried.added_ruled_out
    read = shown + found.counted - carried.gone + carried.added_shown
    what = f"of {found.rows:,} rows that this trait's action removed"
    if not read:
        return f"people read none {what}"
    show = f"{shown:,} {choose_form(shown, 'shows', 'show')} it" if shown else "none shows it"
    unsure = f" (they were unsure of {found.unsure:,} before)" if found.unsure else ""
    return f"people read {read:,} {what}: {show}{unsure}"


def _list_read(certificate: Certificate | None) -> Iterator[tuple[str, ShareBound]]:
    """Yield the traits whose removed rows people read, with what they found."""
    for item in certificate.traits if certificate else ():
        if item.trait is not None and item.clean_removed.read:
            yield item.trait, item.clean_removed


def describe_promises(manifest: Manifest, certificate: Certificate | None = None) -> Iterator[str]:
    """Yield what is promised, with which confidence, and on which text."""
    if said := describe_clean_removals(manifest, certificate):
        yield f"{said[0].upper()}{said[1:]}."
    bounded = [rule for rule in manifest.thresholds if rule.bound is not None]
    if bounded:
        highest = max(rule.bound or 0.0 for rule in bounded)
        levels = " or ".join(sorted({format_exact(rule.confidence) for rule in bounded}))
        whose = f"Each of {len(bounded):,} traits" if bounded[1:] else bounded[0].trait
        yield (
            f"{whose} fires on at most {format_bound(highest)} of clean rows, with {levels} "
            f"confidence{' for each alone' if bounded[1:] else ''}, on text like this: "
            f"{'; '.join(_name_clean_texts(bounded))}."
        )
    by_hand = [rule.trait for rule in manifest.thresholds if rule.bound is None]
    if by_hand:
        yield f"Nothing is promised for {list_names(by_hand)}: no calibrated threshold."
    if doubtful := [*manifest.list_remarks()]:
        yield f"The bounds of {list_names(doubtful)} may not hold for this corpus."


def _name_clean_texts(rules: Sequence[SettledThreshold]) -> list[str]:
    """Return the clean texts on which thresholds were calibrated, each with its size."""
    sizes: dict[str, list[int]] = {}
    for rule in rules:
        sizes.setdefault(rule.calibrated_on, []).append(rule.clean_texts)
    return [
        f"{escape_name(name)}, {min(found):,}"
        f"{f' to {max(found):,}' if max(found) > min(found) else ''} texts"
        for name, found in sizes.items()
    ]


def list_unknown(
    manifest: Manifest, teachers: Sequence[TeacherRows], certificate: Certificate | None
) -> Iterator[str]:
    """Yield what the run can't say."""
    yield "Covert transfer: whether rows that look clean carry a trait."
    if certificate is None:
        yield (
            "How many rows with a trait stay: the run has no certificate. congener certify bounds "
            "the number; congener traits eval measures one trait's recall."
        )
    elif rows := _count_unread(certificate):
        verb = choose_form(rows, "shows", "show")
        which = "that only this run keeps, and nobody read,"
        yield f"Whether {format_count(rows, 'row')} {which} {verb} a trait."
    if doubtful := list_doubtful(manifest, certificate):
        verb, whose = ("occurs", "its") if len(doubtful) == 1 else ("occur", "their")
        yield f"Whether {list_names(doubtful)} {verb} at all: all {whose} rows may be mistakes."
    unnamed = sum(item.rows for item in teachers if item.name == UNKNOWN)
    if unnamed:
        verb = choose_form(unnamed, "it names", "they name")
        yield f"Who wrote {format_count(unnamed, 'row')}: {verb} no teacher."
    yield from (
        f"Traits that didn't run: {text.removeprefix(NOT_LOOKED_FOR).rstrip('.')}."
        for text in manifest.limits
        if text.startswith(NOT_LOOKED_FOR)
    )
    if unread := manifest.conservation.by_decision.get("reject", 0):
        yield f"What is in {format_count(unread, 'row')} that couldn't be read."
    yield from _describe_unread_text(manifest)


def _count_unread(certificate: Certificate) -> int:
    """Count the kept rows of a carried certificate that no bound covers, and that nobody read."""
    rows = certificate.together.residual.carried
    return 0 if rows is None else rows.new - rows.added_shown


def _describe_unread_text(manifest: Manifest) -> Iterator[str]:
    turns = manifest.coverage.select_trained().turns
    whole, unread = (
        sum(getattr(turn, name) for turn in turns) for name in ("characters", "unread")
    )
    if unread:
        yield f"{format_percent(unread / whole)} of the trained text: no trait looks at it."
    for item in manifest.coverage.languages:
        looks = choose_form(item.rows, "looks", "look")
        yield (
            f"Most of what is in {format_count(item.rows, 'row')} that {looks} like "
            f"{item.language}: the library is mostly English."
        )


def describe_reading(found: Certificate | None) -> Iterator[str]:
    """Yield what the certificate says, or that there is none."""
    if found is None:
        yield (
            "No certificate: congener certify makes one from a random sample of rows that people "
            "read. What was read with congener traits eval or congener review isn't counted here."
        )
        return
    residual, raters = found.together.residual, format_count(len(found.raters), "person", "people")
    names = [str(item.trait) for item in found.traits]
    what = names[0] if len(names) == 1 else f"any of {list_names(names)}"
    seen = ", as far as they see it" if residual.adjusted is None else ""
    masks = ", if the trainer applies the masks" if found.reading else ""
    yield (
        f"Certificate: at most {format_bound(found.together.decisive)} of "
        f"{format_count(residual.rows, 'kept row')} show {what}{seen}, with "
        f"{format_exact(1 - found.risk)} confidence{masks}."
        + ("" if found.carried else f" {raters} read {residual.read:,} of them.")
    )
    if carried := describe_carried(found):
        yield carried
    if found.at_most is not None:
        met = "met" if found.met else "not met"
        yield f"The target of {format_exact(found.at_most)} was {met}."
