"""The report's section on what a run's traits took out of the corpus, by kind of row."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from schemas.lots import UNKNOWN
from schemas.manifests import Manifest
from schemas.notices import format_count

if TYPE_CHECKING:
    from pipelines.losses import Losses

MOST_ROWS = 200_000
"""From how many rows on the report reads no text for this section, which would take minutes."""

LINES_SHOWN = 20
"""The largest number of groups in the table."""

FEWEST_LINES = 6
"""How many groups are shown if none differs."""


class LossLine(NamedTuple):
    """A group's lost rows beside the share of lost rows among all other rows."""

    name: str
    rows: int
    lost: int
    share: float
    low: float
    high: float
    rest: float
    differs: bool


class LossSummary(NamedTuple):
    """What the page shows: the groups that differ most, and how many were compared.

    `doubtful` names groups that would differ if each were tested alone, the clearest first.
    `scale` is the highest upper bound of the intervals. `without_text` says why rows aren't
    compared by their texts, or is empty.
    """

    rows: int
    lost: int
    lines: list[LossLine]
    compared: int
    differing: int
    doubtful: list[str]
    small: int
    scale: float
    without_text: str


def summarise_losses(run: str, manifest: Manifest) -> LossSummary | None:
    """Summarise what a run lost, or return None if it lost nothing or was stopped by a budget.

    Only the run's own files are read, so the page can be made again anywhere: if rows were dropped,
    whose text only the input has, or if there are too many rows, groups by text are left out.

    Raises: RunError: a file of the run is missing or damaged.
    """
    decided = manifest.conservation.by_decision
    dropped = decided.get("drop", 0)
    if manifest.withdrawn is not None or not dropped + decided.get("quarantine", 0):
        return None
    from pipelines.losses import BY_LEDGER, GROUPINGS, measure_losses  # loads Beam, which is slow

    rows, reason = manifest.conservation.rows_in, ""
    if dropped:
        reason = f"the run doesn't hold the text of {format_count(dropped, 'dropped row')}"
    elif rows > MOST_ROWS:
        reason = f"the run has more than {format_count(MOST_ROWS, 'row')}"
    found = measure_losses(run, by=tuple(BY_LEDGER) if reason else GROUPINGS)
    return build_summary(found, reason)


def build_summary(found: Losses, without_text: str) -> LossSummary:
    """Choose the groups to show: those that differ, or else the first ones."""
    lines = [
        LossLine(
            name_group(line["by"], line["group"]),
            *(line[name] for name in ("rows", "lost", "share", "low", "high", "rest", "differs")),
        )
        for line in found.table.to_dicts()
    ]
    differing = sum(line.differs for line in lines)
    shown = lines[: min(max(differing, FEWEST_LINES), LINES_SHOWN)]
    scale = max((line.high for line in shown), default=1.0)
    small = sum(found.omitted.values())
    doubtful = name_doubtful(found)
    return LossSummary(
        found.rows, found.lost, shown, len(lines), differing, doubtful, small, scale, without_text
    )


def name_doubtful(found: Losses) -> list[str]:
    """Name the groups that differ if each is tested alone but not when all are tested together.

    The clearest group is first, and each has its counts and its p-value. Two groups that are all
    rows are one test, so the second isn't named.
    """
    from pipelines.losses import LEVEL  # loads Beam, which is slow

    lines = found.table.filter(~pl.col("differs"), pl.col("p_alone") <= LEVEL)
    names: list[str] = []
    sizes: list[tuple[str, int]] = []
    for line in lines.sort("p_alone", "by", "group").to_dicts():
        by, rows = line["by"], line["rows"]
        if (by, found.rows - rows) in sizes:
            continue
        sizes.append((by, rows))
        counts = f"{line['lost']:,} of {rows:,} lost, p = {line['p_alone']:.2g}"
        names.append(f"{name_group(by, line['group'])} ({counts})")
    return names


def name_group(by: str, group: str) -> str:
    """Return a group as it is called in a table."""
    if group == UNKNOWN:
        return f"{by} not known"
    return f"{group} characters" if by == "length" else f"{by} {group}"
