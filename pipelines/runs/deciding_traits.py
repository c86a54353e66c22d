"""Which of a row's findings led to its decision, and which have a milder action."""

from __future__ import annotations

from pipelines.runs.shown_findings import TraitFinding
from pipelines.runs.shown_rows import ShownRow


def lead_to(finding: TraitFinding) -> str | None:
    """Return the decision that a trait's own action leads to."""
    return "quarantine" if finding.action == "swap" else finding.action


def find_deciding(row: ShownRow) -> list[TraitFinding]:
    """Return the findings to whose actions the decision on a row goes back, the first first."""
    return [item for item in row.reasons if lead_to(item) == row.decision]
