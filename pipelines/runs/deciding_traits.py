"""Which of a row's findings led to its decision, and which have a milder action."""

from __future__ import annotations

from pipelines.runs.shown_findings import TraitFinding
from pipelines.runs.shown_rows import ShownRow
from schemas.policies import SEVERITY


def lead_to(finding: TraitFinding) -> str | None:
    """Return the decision that a trait's own action leads to."""
    return "quarantine" if finding.action == "swap" else finding.action


def find_deciding(row: ShownRow) -> list[TraitFinding]:
    """Return the findings to whose actions the decision on a row goes back, the first first."""
    return [item for item in row.reasons if lead_to(item) == row.decision]


def order_traits(row: ShownRow) -> list[str]:
    """Return the traits that fired on a row, without repetition, in the order to ask about them.

    Those that decided come first, then those with milder actions, and of equal ones that with the
    highest score above its threshold. If no trait fired, the nearest one is returned.
    """
    deciding = find_deciding(row)
    ordered = sorted(
        row.reasons,
        key=lambda item: (
            item not in deciding,
            -SEVERITY.index(item.action or "keep"),
            item.threshold - item.score,
        ),
    )
    return list(dict.fromkeys(item.trait for item in ordered or row.near[:1]))
