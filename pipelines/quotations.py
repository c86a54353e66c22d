"""Rows that the report quotes: the text around the evidence, and remarks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pipelines.display.excerpts import CONTEXT, LONGEST_SPAN, Piece, build_excerpt, escape_name
from pipelines.display.likenesses import describe_doubt
from pipelines.runs.deciding_traits import find_deciding
from pipelines.runs.shown_findings import TraitFinding, lead_to, sort_findings
from pipelines.runs.shown_rows import ShownRow
from schemas.policies import Policy

TURN_CHARACTERS = 300
"""How many characters are shown of a turn without evidence, such as the question."""


class Quotation(NamedTuple):
    """A row to show: the pieces of its text, and remarks.

    `finding` is the trait's finding in the row, or None without one. `verdict` states the decision
    and its trait, and `exceptions` what the policy's exceptions did. `doubt` is a sentence about a
    nearest exemplar that is a negative.
    """

    row: ShownRow
    finding: TraitFinding | None
    pieces: list[Piece]
    verdict: str
    exceptions: list[str]
    nearest: dict[str, float]
    doubt: str | None


def quote_row(row: ShownRow, policy: Policy) -> Quotation:
    """Quote a row with the finding that decided, or else with the nearest miss."""
    found = next(iter(sort_findings(row.reasons, row.decision) or row.near), None)
    return quote(row, found, policy)


def quote(row: ShownRow, finding: TraitFinding | None, policy: Policy) -> Quotation:
    """Quote a row around a finding."""
    near = finding.neighbours if finding else []
    nearest = {
        kind: max(item["similarity"] for item in near if item["polarity"] == kind)
        for kind in ("positive", "negative")
        if any(item["polarity"] == kind for item in near)
    }
    return Quotation(
        row,
        finding,
        cut_text(row, finding),
        describe_verdict(row, finding),
        list(describe_changes(row, policy)),
        nearest,
        describe_doubt(near),
    )


def describe_changes(row: ShownRow, policy: Policy) -> Iterator[str]:
    """Say what each exception of the policy did to a row, and for which reason."""
    for number, before, after in row.exceptions:
        reason = escape_name(policy.exceptions[number - 1].reason, TURN_CHARACTERS)
        did = "kept by exception" if after == row.decision == "keep" else "exception"
        change = "" if after == row.decision == "keep" else f" changed {before} to {after}"
        yield f"{did} {number}{change}: {reason}"


def describe_verdict(row: ShownRow, finding: TraitFinding | None) -> str:
    """State the decision on a row, and the trait behind it if another trait decided."""
    if finding is None or finding.action is None:
        return row.decision
    if row.decision in (lead_to(finding), "duplicate"):
        return "swap" if finding.action == "swap" else row.decision
    others = [item.trait for item in find_deciding(row)]
    return f"{row.decision}, decided by {' and '.join(dict.fromkeys(others))}"


def cut_text(
    row: ShownRow,
    finding: TraitFinding | None,
    context: int = CONTEXT,
    longest: int = LONGEST_SPAN,
) -> list[Piece]:
    """Return the text around the evidence, with at most `longest` characters of a span.

    Without evidence, the text is the row's answer, or says what the row lacks.
    """
    if finding is not None and finding.text is not None:
        own = [
            (mask.start, mask.end) for mask in row.masks if mask.field_path == finding.field_path
        ]
        return build_excerpt(finding.text, finding.start, finding.end, own, context, longest)
    if row.error is not None:
        raw = (row.raw or b"").decode(errors="replace")
        return [Piece(f"{escape_name(row.error)} ", added=True), Piece(escape_name(raw))]
    if row.answer is not None:
        return [Piece(escape_name(row.answer.text, TURN_CHARACTERS))]
    if row.record is None:
        return [Piece("(the run doesn't contain the text of this row)", added=True)]
    return [Piece("(the field isn't in the row)", added=True)]
