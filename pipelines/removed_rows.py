"""The report's lists of rows that a run removed or masked, or whose answer it replaced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import polars as pl

from pipelines.display.excerpts import Piece
from pipelines.inspection import View, build_command
from pipelines.quotations import cut_text, describe_changes
from pipelines.row_exceptions import CHANGED, write_exceptions
from pipelines.runs.pages import choose_rows
from pipelines.runs.queries import Filters
from pipelines.runs.rates import Rates
from pipelines.runs.recorded_settings import read_recorded_policy
from pipelines.runs.shown_findings import TraitFinding, lead_to
from pipelines.runs.shown_rows import ShownRow, read_shown_rows
from schemas.manifests import Manifest
from schemas.policies import Policy

LISTED = 600
"""The largest number of listed rows. A listed row takes about a kilobyte of the page."""

MASKED_LISTED = 200
"""The largest number of listed rows with masks, and of flagged ones."""

FOLDED = 50
"""How many rows of a list are folded together."""

CONTEXT = 60
"""How many characters are shown on each side of the evidence."""

LONGEST_SPAN = 240
"""How many characters of the evidence are shown."""

BY_TRAIT = ("drop", "quarantine", "swap", "duplicate")
"""The decisions whose rows are listed by trait."""

ALL_TRAITS = ("duplicate", "reject")
"""The decisions whose rows are listed whatever trait fired."""

PLACES = {
    "drop": "the input, at the rows that ledger/ names",
    "quarantine": "quarantine/",
    "mask": "clean/",
    "flag": "clean/",
    "swap": "clean/, and with their old answers in quarantine/ of the parent run",
    "duplicate": "the input, at the rows that ledger/ names",
    "reject": "rejects/",
}
"""Where the rows of each decision are."""


class ListedRow(NamedTuple):
    """A row, its finding of the list's trait, a short passage, and what else decided.

    `deciding` are other traits to whose actions the decision goes back, if the list's own trait has
    a milder action, and `others` the remaining traits that fired. `exceptions` keep the row if a
    reader copies them into a policy.
    """

    row: ShownRow
    finding: TraitFinding | None
    question: str
    pieces: list[Piece]
    deciding: list[TraitFinding]
    others: list[TraitFinding]
    changes: list[str]
    exceptions: list[str]


class RemovedList(NamedTuple):
    """The rows of one decision.

    `folds` are the listed rows, the highest score first. If there are more rows, `command` shows
    the next ones, and `place` says where all are.
    """

    decision: str
    total: int
    listed: int
    folds: list[tuple[ListedRow, ...]]
    command: str | None
    place: str

    @property
    def own_folds(self) -> list[tuple[ListedRow, ...]]:
        """Return the folds without the rows that other traits decided, unless the list is cut.

        Those rows are in the lists of the traits that decided.
        """
        if self.command is not None:
            return self.folds
        own = [item for fold in self.folds for item in fold if not item.deciding]
        return [tuple(own[first : first + FOLDED]) for first in range(0, len(own), FOLDED)]

    @property
    def elsewhere(self) -> int:
        """Return how many rows are only in the lists of the traits that decided."""
        return self.listed - sum(map(len, self.own_folds))


class RemovedGroup(NamedTuple):
    """The lists of a trait, or of the rows with one decision whatever trait fired (None)."""

    trait: str | None
    lists: list[RemovedList]

    @property
    def name(self) -> str:
        """Return the end of the group's link."""
        return self.trait or self.lists[0].decision


class _ListChoice(NamedTuple):
    """A list before its rows are read: the filters, how many rows they select, and the first."""

    filters: Filters
    total: int
    indexes: Sequence[int]


def list_removed_rows(run: str, manifest: Manifest, rates: Rates) -> list[RemovedGroup]:
    """List the rows that were removed or replaced, by trait and decision.

    A row on which several traits fired is in the list of each. If there are more than `LISTED`
    rows, every list is cut to the same length, and shorter lists stay whole.

    Raises: RunError: a file is missing or damaged.
    """
    by_decision = manifest.conservation.by_decision
    filters = [*_list_filters(rates, BY_TRAIT)]
    filters += [Filters(decision=name) for name in ALL_TRAITS if by_decision.get(name)]
    return _list_rows(run, manifest, filters, LISTED)


def list_masked_rows(run: str, manifest: Manifest, rates: Rates) -> list[RemovedGroup]:
    """List the rows with the decision mask by trait, each with a passage of its text.

    Lists are cut as in `list_removed_rows`, to `MASKED_LISTED` rows. A run that a budget stopped
    has no such rows.

    Raises: RunError: a file is missing or damaged.
    """
    if manifest.withdrawn is not None:
        return []
    return _list_rows(run, manifest, [*_list_filters(rates, ("mask",))], MASKED_LISTED)


def list_flagged_rows(run: str, manifest: Manifest, rates: Rates) -> list[RemovedGroup]:
    """List the rows with the decision flag by trait, as `list_masked_rows` does.

    Raises: RunError: a file is missing or damaged.
    """
    if manifest.withdrawn is not None:
        return []
    return _list_rows(run, manifest, [*_list_filters(rates, ("flag",))], MASKED_LISTED)


def _list_rows(
    run: str, manifest: Manifest, wanted_lists: Sequence[Filters], largest: int
) -> list[RemovedGroup]:
    """Read the rows of several lists, cut so that all together have `largest` rows."""
    choices = [
        _ListChoice(filters, *choose_rows(run, manifest, filters, "decision", 0, largest))
        for filters in wanted_lists
    ]
    most = share_out([item.total for item in choices], largest)
    cut = [item._replace(indexes=item.indexes[:most]) for item in choices if item.total]
    wanted = sorted({index for item in cut for index in item.indexes})
    read = read_shown_rows(run, manifest, wanted, whole=False)
    rows, policy = dict(zip(wanted, read, strict=True)), read_recorded_policy(manifest)
    groups: dict[tuple[str | None, str | None], RemovedGroup] = {}
    for item in cut:
        trait, decision = item.filters.trait, item.filters.decision
        group = RemovedGroup(trait, [])
        own = groups.setdefault((trait, None if trait else decision), group)
        own.lists.append(_build_list(item, [rows[index] for index in item.indexes], policy))
    return list(groups.values())


def _list_filters(rates: Rates, decisions: Sequence[str]) -> Iterator[Filters]:
    """Yield the filters of the lists by trait that have a row."""
    whole = rates.table.filter(pl.col("grouping") == "all", pl.col("trait").is_not_null())
    sums = whole.group_by("trait", maintain_order=True).agg(pl.col(*decisions).sum())
    taken = set(rates.taken.select("trait", "decision").rows())
    for line in sums.to_dicts():
        for decision in decisions:
            if line[decision] or (line["trait"], decision) in taken:
                yield Filters(line["trait"], decision=decision)


def share_out(totals: Sequence[int], most: int) -> int:
    """Return the largest length to which lists must be cut so that all together have `most` rows.

    A length that cuts no list may be larger than every list.
    """
    left, rest = most, sorted(totals)
    for number, total in enumerate(rest):
        share = left // (len(rest) - number)
        if total > share:
            return share
        left -= total
    return most


def _build_list(choice: _ListChoice, rows: Sequence[ShownRow], policy: Policy) -> RemovedList:
    filters, total = choice.filters, choice.total
    listed = [_describe_row(row, filters.trait, policy) for row in rows]
    more = View(filters, start=len(listed), limit=FOLDED)
    decision = filters.decision or ""
    return RemovedList(
        decision,
        total,
        len(listed),
        [tuple(listed[first : first + FOLDED]) for first in range(0, len(listed), FOLDED)],
        build_command(".", more) if total > len(listed) else None,
        PLACES[decision],
    )


def _describe_row(row: ShownRow, trait: str | None, policy: Policy) -> ListedRow:
    own = [item for item in row.reasons if trait in (None, item.trait)]
    found = max(own, key=lambda item: item.score, default=None)
    others = [item for item in row.reasons if found is not None and item.trait != found.trait]
    deciding = [item for item in others if lead_to(item) == row.decision]
    if found is None or lead_to(found) == row.decision:
        deciding = []
    asked = (found and found.question) or row.question
    return ListedRow(
        row,
        found,
        "" if asked is None else f"{asked.role}: {asked.text}",
        cut_text(row, found, CONTEXT, LONGEST_SPAN),
        deciding,
        [item for item in others if item not in deciding],
        list(describe_changes(row, policy)),
        write_exceptions(row) if row.decision in CHANGED and row.swap is None else [],
    )
