"""What became of a row that was to be replaced, for a person: its donor, or why it waits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from schemas.notices import list_names
from schemas.swaps import DECISION_OF_OUTCOME, REPLACED, SENTENCES

WAITING = {
    "no donor": "no donor answers this prompt",
    "answers taken": "other rows took every answer of the donors to this prompt",
    "donors carry a trait": "a trait fires on every donor's answer",
    "same answer": "the donors give the answer that the row has",
    "still carries a trait": "a trait fires on the row even with the donor's answer",
    "prompt incomplete": "its prompt has a part that isn't text, or it has no prompt",
    "answer not replaceable": "its answer isn't one message of plain text",
}
"""Why a row still waits, by outcome."""


class ShownSwap(NamedTuple):
    """The outcome of a swap for one row.

    `traits` held the row. A replaced row has a donor, the donor's row (`source` and `row`), and the
    distance of its prompt. `carried` are the traits that fire on the donors' answers. A row without
    an outcome has an answer of an earlier swap that the ledger doesn't name.
    """

    outcome: str | None
    traits: tuple[str, ...] = ()
    donor: str | None = None
    source: str | None = None
    row: int | None = None
    distance: float | None = None
    carried: tuple[str, ...] = ()
    earlier: str | None = None
    """The run that an earlier swap made, if that swap put the answer in place."""

    def explain(self) -> str:
        """Say in a sentence where the answer is from, or why the row waits."""
        if self.outcome is None:
            return "an earlier swap put this answer in place: see the parent run"
        if self.earlier is not None:
            said = self._replace(earlier=None).explain()
            return f"{said} (by the swap that made run {self.earlier})"
        if self.outcome == REPLACED:
            because = list_names(self.traits)
            return f"replaced because of {because}: the new answer is {self.describe_donor()}"
        if self.outcome in DECISION_OF_OUTCOME:
            return self._explain_sentences()
        why = WAITING.get(self.outcome, self.outcome)
        found = f" ({list_names(self.carried)})" if self.carried else ""
        return f"waits for another answer because of {list_names(self.traits)}: {why}{found}"

    def _explain_sentences(self) -> str:
        """Say in a sentence what was done to the sentences of a row."""
        because = list_names(self.traits)
        donor = f"with sentences of {self.describe_donor()}" if self.donor else ""
        if self.outcome == SENTENCES:
            return f"sentences replaced because of {because}, {donor}"
        more = f"; other sentences were replaced {donor}" if donor else ""
        return f"sentences masked because of {because}{more}"

    def describe_donor(self) -> str:
        """Name the donor and its row, and say how near its prompt is."""
        near = "the same prompt" if not self.distance else f"a prompt {self.distance:.4f} away"
        return f"{self.donor}'s, from {self.source} row {self.row}, to {near}"


def read_swap(ledger: Mapping[str, Any]) -> ShownSwap | None:
    """Return what a row of a ledger says about a swap, or None if it wasn't to be replaced."""
    if ledger.get("swap") is None:
        return ShownSwap(None) if ledger["decision"] == "swap" else None
    distance = ledger["distance"]
    return ShownSwap(
        ledger["swap"],
        _split(ledger["swap_traits"]),
        ledger["donor"],
        ledger["donor_source"],
        ledger["donor_row"],
        None if distance is None else round(distance, 4),
        _split(ledger["donor_traits"]),
        ledger.get("swap_run"),
    )


def _split(names: str | None) -> tuple[str, ...]:
    return tuple(names.split(",")) if names else ()
