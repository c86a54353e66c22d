"""Query a finished run: scan its ledger with filters, and count its rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import polars as pl

from pipelines.runs.finished import scan_folder
from pipelines.runs.own_ids import find_own_rows
from pipelines.runs.recorded_settings import read_recorded_rules
from schemas.cards import Action
from schemas.digests import RECORD_ID_HEX
from schemas.errors import RunError
from schemas.lots import LOT_FIELDS, UNKNOWN, Lot
from schemas.lots import SEPARATOR as LOT_SEPARATOR
from schemas.manifests import Manifest
from schemas.mixes import MIX
from schemas.notices import format_count
from schemas.policies import DECISIONS, SEVERITY, list_row_names
from schemas.scores import SIDES, Side, split_side


def is_signalled(reason: pl.Expr) -> pl.Expr:
    """Return whether a ledger's reason was given by a signal, and not by a person's exception.

    Only a person's reason has the threshold 0 and no passage (`shard_checks.is_by_person`).
    """
    return (reason.struct.field("threshold") != 0) | (reason.struct.field("field_path") != "")


SIGNALLED = pl.col("reasons").list.filter(is_signalled(pl.element()))
"""The reasons of a ledger row that a signal gave."""

SIGNALLED_TRAITS = SIGNALLED.list.eval(pl.element().struct.field("trait")).list.unique()
"""The traits of which a signal fired on a ledger row."""

FIRED = pl.col("reasons").list.eval(pl.element().struct.field("trait"))


def name_reason() -> pl.Expr:
    """Return the trait of a reason with its side (`name_finding`), within a list of reasons."""
    reason = pl.element().struct
    return reason.field("trait") + reason.field("signal").str.extract("(@.*)").fill_null("")


FINDINGS = pl.col("reasons").list.eval(name_reason())
"""The traits that fired on a ledger row, with their sides (`name_finding`)."""

SWAPPED = pl.col("decision") == "swap"
"""Whether another teacher's answer is in a ledger row."""

SEPARATOR = "\x1f"
"""The separator of a row's traits in counts. No trait id contains it."""

DECIDED_BY_ACTIONS = ("flag", "mask", "quarantine", "drop")
"""The decisions that a trait's action leads to, in every run."""

NAMES_LISTED = 20
"""How many known names an error lists."""

NAME_CHARACTERS = 120
"""How many characters of a name are shown in an error."""


RECORD_ID = re.compile(rf"[0-9a-f]{{{RECORD_ID_HEX}}}")
ROW_NUMBER = re.compile(r"[0-9]{1,18}|[0-9]{1,3}(,[0-9]{3}){1,5}")
"""A row's number, also with the commas of the numbers in tables."""


class Filters(NamedTuple):
    """Filters for ledger rows.

    A filter can be a fired trait, a name or shell pattern for each lot field, a decision, one row,
    or files. The row is given by number, file and number (`chat.jsonl:17`), record id, or the id
    that the corpus gives it. `file` is a file's name, a folder above it, or a pattern.
    """

    trait: str | None = None
    teacher: str | None = None
    prompt_source: str | None = None
    system_prompt: str | None = None
    date: str | None = None
    decision: str | None = None
    row: str | None = None
    file: str | None = None

    def select_lots(self) -> Filters:
        """Return only the filters for lot fields and files."""
        return self._replace(trait=None, decision=None, row=None)


EVERYTHING = Filters()


class Count(NamedTuple):
    """The number of rows with this decision, teacher and trait (None without a finding).

    `side` is the side of the trait's finding. `of` is the number of the teacher's selected rows
    with any decision. `decides` is false if the trait has another action than the one that led to
    the decision, so another trait decided.
    """

    decision: str
    trait: str | None
    side: Side
    teacher: str
    rows: int
    of: int
    decides: bool = True


def scan_ledger(
    run: str, manifest: Manifest, filters: Filters = EVERYTHING, row_index: str | None = None
) -> pl.LazyFrame:
    """Scan the ledger rows that the filters select, with `UNKNOWN` for null lot fields.

    Raises: RunError: the run doesn't have the trait or the row, no such decision exists, or the
    filter of a lot field or of files matches no row.
    """
    scanned = scan_folder(run, manifest, "ledger", row_index)
    whole = scanned.with_columns(pl.col(LOT_FIELDS).fill_null(UNKNOWN))
    frame = whole
    if filters.trait is not None:
        require_trait(filters.trait, manifest)
        frame = frame.filter(_select_trait(filters, manifest))
    if filters.decision is not None:
        _require_decision(filters.decision, manifest)
        frame = frame.filter(pl.col("decision") == filters.decision)
    if filters.row is not None:
        frame = frame.filter(_select_row(filters.row, whole, run, manifest))
    if filters.file is not None:
        sources = whole.select(pl.col("source").unique()).collect(engine="streaming")
        found = _match_files(filters.file, sources["source"].to_list())
        frame = frame.filter(pl.col("source").is_in(found))
    for field in LOT_FIELDS:
        wanted = getattr(filters, field)
        if wanted is not None:
            names = whole.select(pl.col(field).unique()).collect(engine="streaming")
            frame = frame.filter(
                pl.col(field).is_in(_match_names(wanted, field, names[field].to_list()))
            )
    return frame


def _select_trait(filters: Filters, manifest: Manifest) -> pl.Expr:
    """Return the condition for rows on which a trait fired.

    The answers of rows with the decision `swap` are new, so for them it is the trait of the answers
    that they had.
    """
    fired = FIRED.list.contains(filters.trait)
    if manifest.swap is None or filters.decision != "swap":
        return fired
    return list_swap_traits().list.contains(filters.trait)


def list_swap_traits() -> pl.Expr:
    """Return the traits because of which a ledger row was to be replaced, as a list."""
    return pl.col("swap_traits").fill_null("").str.split(",")


def _require_decision(decision: str, manifest: Manifest) -> None:
    if decision not in DECISIONS:
        raise _report_unknown(decision, "decision", list(DECISIONS))
    if decision == "swap" and manifest.swap is None:
        raise RunError(
            "rows to swap are in quarantine until another teacher has answered them",
            remedy="--decision quarantine; congener swap writes a run with their answers",
        )
    if decision == MIX and manifest.mix is None:
        raise RunError(
            "no rows were mixed into this run",
            remedy="congener mix writes a run with clean rows of donors",
        )


def _select_row(wanted: str, whole: pl.LazyFrame, run: str, manifest: Manifest) -> pl.Expr:
    """Return the condition for one row, or for the rows with the same id.

    Raises: RunError: no row fits.
    """
    condition = _read_place(wanted)
    if whole.filter(condition).select(pl.len()).collect(engine="streaming").item():
        return condition
    if places := find_own_rows(run, manifest, wanted):
        return _select_places(places)
    sources = whole.select(pl.col("source").unique().sort()).collect(engine="streaming")
    listed = _list_names(sources["source"].to_list())
    raise RunError(
        f"no row of this run is {wanted[:NAME_CHARACTERS]!r}",
        remedy="give a number, FILE:NUMBER, a record id, or the row's own id (as COLUMN=ID if its "
        "column has an unusual name); own ids are found only in rows that the run stores; the "
        f"files are {listed}",
    )


def _read_place(wanted: str) -> pl.Expr:
    """Return the condition for a number, a file and a number, or a record id."""
    source, _, number = wanted.rpartition(":")
    if RECORD_ID.fullmatch(wanted):
        return pl.col("record_id") == wanted
    if not ROW_NUMBER.fullmatch(number):
        return pl.lit(value=False)
    condition = pl.col("row") == int(number.replace(",", ""))
    return condition & (pl.col("source") == source) if source else condition


def _select_places(places: Sequence[tuple[str, int]]) -> pl.Expr:
    """Return the condition for stored rows, given by their files and their indexes there."""
    by_file: dict[str, list[int]] = {}
    for path, index in places:
        by_file.setdefault(path, []).append(index)
    return pl.any_horizontal(
        (pl.col("output") == path) & pl.col("output_row").is_in(indexes)
        for path, indexes in by_file.items()
    )


def require_trait(trait: str, manifest: Manifest) -> None:
    """Check that a run has a trait.

    Raises: RunError: the run doesn't have the trait.
    """
    known = [rule.trait for rule in manifest.thresholds]
    if trait not in known:
        raise _report_unknown(trait, "trait", known)


def _match_names(wanted: str, field: str, names: Iterable[str]) -> list[str]:
    """Return the names that equal `wanted`, or match it as a pattern.

    Raises: RunError: no name matches.
    """
    known = sorted(names)
    found = [name for name in known if name == wanted or fnmatchcase(name, wanted)]
    if not found:
        raise _report_unknown(wanted, field.replace("_", " "), known)
    return found


def _match_files(wanted: str, names: Iterable[str]) -> list[str]:
    """Return the files with a name, below a folder, or that match a pattern.

    Raises: RunError: no file does.
    """
    known, folder = sorted(names), f"{wanted.rstrip('/')}/"
    found = [name for name in known if name.startswith(folder)]
    return found or _match_names(wanted, "file", known)


def _report_unknown(wanted: str, kind: str, known: list[str]) -> RunError:
    return RunError(
        f"no {kind} of this run is called {wanted[:NAME_CHARACTERS]!r}",
        remedy=f"{kind}s of this run: {_list_names(known)}",
    )


def _list_names(known: list[str]) -> str:
    """List some known names; `repr` escapes their control characters."""
    listed = "; ".join(repr(name[:NAME_CHARACTERS]) for name in known[:NAMES_LISTED]) or "none"
    others = len(known) - NAMES_LISTED
    return f"{listed} and {format_count(others, 'other')}" if others > 0 else listed


def count_rows(run: str, manifest: Manifest, filters: Filters = EVERYTHING) -> list[Count]:
    """Count rows by decision, trait, side and teacher, those of traits that decided first.

    A row counts once for each trait and side with a finding. A row with another teacher's answer
    counts for the traits of the answer that it had.

    Raises: RunError: for the same reasons as `scan_ledger`.
    """
    found = FINDINGS.list.join(SEPARATOR)
    if manifest.swap is not None:
        found = pl.when(SWAPPED).then(list_swap_traits().list.join(SEPARATOR)).otherwise(found)
    actions = ActionTable(manifest)
    grouped = (
        scan_ledger(run, manifest, filters)
        .group_by("decision", "teacher", found.alias("found"), *actions.list_keys())
        .agg(pl.len().alias("rows"))
        .collect(engine="streaming")
    )
    counts: Counter[tuple[int, bool, str, int, str]] = Counter()
    for line in grouped.to_dicts():
        decision, teacher = line["decision"], line["teacher"]
        for trait, side in map(split_side, (line["found"] or "").split(SEPARATOR)):
            if filters.trait in (None, trait):
                milder = bool(trait) and not actions.decides(trait, side, line)
                place = (DECISIONS.index(decision), milder, trait, SIDES.index(side), teacher)
                counts[place] += line["rows"]
    whole = _count_by_teacher(run, manifest, filters.select_lots())
    return [
        Count(DECISIONS[at], trait or None, SIDES[side], teacher, rows, whole[teacher], not milder)
        for (at, milder, trait, side, teacher), rows in sorted(counts.items())
    ]


class ActionTable:
    """The actions of a run's traits, by lot and row if exceptions change them."""

    def __init__(self, manifest: Manifest) -> None:
        """Read the run's rules."""
        self._rules = {rule.trait: rule for rule in read_recorded_rules(manifest)}
        exceptions = [item for rule in self._rules.values() for item in rule.exceptions]
        self._by_lot = bool(exceptions)
        self._names = list_row_names(exceptions)

    def list_keys(self) -> list[pl.Expr]:
        """Return the columns besides the teacher on which the actions depend."""
        if not self._by_lot:
            return []
        names, place = list(self._names), pl.concat_str("source", pl.lit(":"), "row")
        own = [
            pl.when(name.is_in(names)).then(name).fill_null("")
            for name in (pl.col("record_id"), place)
        ]
        fields = [pl.col(name) for name in LOT_FIELDS if name != "teacher"]
        return [*fields, pl.concat_str(own, separator=LOT_SEPARATOR).alias("names")]

    def decides(self, trait: str, side: Side, line: Mapping[str, Any]) -> bool:
        """Return whether the action of a trait that fired led to the decision on rows."""
        if line["decision"] not in DECIDED_BY_ACTIONS or trait not in self._rules:
            return True
        action = self._find_action(trait, side, line)
        return bool(line["decision"] == ("quarantine" if action == "swap" else action))

    def rank(self, trait: str, side: Side, line: Mapping[str, Any]) -> int:
        """Return the place of a finding among a row's: the trait that decided has the lowest.

        Traits that didn't decide follow by their actions, the strongest first.
        """
        if trait not in self._rules:
            return 0
        action = self._find_action(trait, side, line)
        decides = line["decision"] == ("quarantine" if action == "swap" else action)
        return -SEVERITY.index(action) - (len(SEVERITY) if decides else 0)

    def _find_action(self, trait: str, side: Side, line: Mapping[str, Any]) -> Action:
        lot = Lot()
        if self._by_lot:
            lot = Lot(*(line[name] for name in LOT_FIELDS))
            lot = lot._replace(names=line["names"].strip(LOT_SEPARATOR))
        return self._rules[trait].apply_exceptions(lot, side)[1]


def _count_by_teacher(run: str, manifest: Manifest, filters: Filters) -> dict[str, int]:
    counted = scan_ledger(run, manifest, filters).group_by("teacher").agg(pl.len())
    return dict(counted.collect(engine="streaming").iter_rows())
