"""Which of a row's findings led to its decision, and which have a milder action."""

from __future__ import annotations

from pipelines.runs.shown_findings import TraitFinding, lead_to, sort_findings
from pipelines.runs.shown_rows import ShownRow


def find_deciding(row: ShownRow) -> list[TraitFinding]:
    """Return the findings to whose actions the decision on a row goes back, the first first."""
    return [item for item in row.reasons if lead_to(item) == row.decision]


def order_traits(row: ShownRow) -> list[str]:
    """Return the traits that fired on a row, without repetition, in the order to ask about them.

    That is the order of `sort_findings`. If no trait fired, the nearest one is returned.
    """
    ordered = sort_findings(row.reasons, row.decision)
    return list(dict.fromkeys(item.trait for item in ordered or row.near[:1]))
