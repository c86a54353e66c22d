"""The exceptions of a policy for single rows on which their trait didn't fire."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import polars as pl

from pipelines.runs.finished import MISFITS, report_damage, scan_folder
from schemas.manifests import Manifest
from schemas.notices import Notice, list_names, warn
from schemas.policies import LotException, Policy, list_row_names
from schemas.scores import TEXTS_OF_SIDES, name_finding, name_side, split_side


def list_idle_exceptions(run: str, manifest: Manifest, policy: Policy) -> list[tuple[int, str]]:
    """Return the exceptions that change nothing on their row, as numbers from 1, with the reason.

    An exception whose row isn't in the run isn't among them.

    Raises: RunError: the run's ledger is missing or damaged.
    """
    fired = _read_findings(run, manifest, list_row_names(policy.exceptions))
    found = []
    for number, item in enumerate(policy.exceptions, 1):
        if item.row is not None and item.row.key in fired:
            reason = _explain(item, fired[item.row.key])
            found += [(number, f"({item.describe()}) changes nothing: {reason}")] if reason else []
    return found


def warn_of_idle(run: str, manifest: Manifest, policy: Policy) -> Iterator[Notice]:
    """Warn of exceptions for rows on which their trait didn't fire, and name the traits that did.

    Raises: RunError: the run's ledger is missing or damaged.
    """
    for number, said in list_idle_exceptions(run, manifest, policy):
        yield warn(f"exception {number} of the policy {said}")


def _read_findings(run: str, manifest: Manifest, names: Iterable[str]) -> Mapping[str, set[str]]:
    """Return what fired on the rows with some names, by name, with `@` and the side."""
    wanted = list(names)
    if not wanted:
        return {}
    place = pl.concat_str("source", pl.lit(":"), "row")
    with report_damage(run, *MISFITS):
        ledger = scan_folder(run, manifest, "ledger").filter(pl.col("decision") != "reject")
        rows = ledger.select("record_id", "reasons", place=place)
        named = rows.filter(pl.any_horizontal(pl.col("record_id", "place").is_in(wanted)))
        found: dict[str, set[str]] = {}
        for record_id, reasons, own in named.collect(engine="streaming").iter_rows():
            fired = {_name(item) for item in reasons}
            for name in (record_id, own):
                found.setdefault(name, set()).update(fired)
    return found


def _name(reason: Mapping[str, Any]) -> str:
    return name_finding(reason["trait"], reason["signal"])


def _explain(item: LotException, fired: set[str]) -> str:
    """Say why an exception changes nothing on a row, or return an empty text."""
    own = name_side(item.trait, item.side)
    if item.takes_out_row:
        return ""
    if not fired:
        return f"no trait fired on that row{_suggest_removal(item)}"
    is_any = item.trait == "*"
    if own in fired or (is_any and any(split_side(name)[1] == item.side for name in fired)):
        return ""
    if is_any:
        own = f"on its {TEXTS_OF_SIDES[item.side]}, no trait"
    verb = "fired" if is_any else "didn't fire on that row"
    return f"{own} {verb}, but {list_names(sorted(fired))} did"


def _suggest_removal(item: LotException) -> str:
    """Name the actions that need no finding, unless the exception keeps the row anyway."""
    if item.action == "keep" or item.side != "trained":
        return ""
    return f", so there is nothing to {item.action}; quarantine or drop would take the row out"
