"""Swaps: what became of the rows that waited for another teacher's answer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from schemas.cards import Strict

REPLACED = "replaced"
OUTCOMES = (
    REPLACED,
    "no donor",
    "answers taken",
    "donors carry a trait",
    "same answer",
    "still carries a trait",
    "prompt incomplete",
    "answer not replaceable",
)
"""What became of a row that was to be replaced, in the column `swap` of the ledger.

- `replaced`: a donor's answer is in its place.
- `no donor`: no donor has the prompt.
- `answers taken`: donors have the prompt, but other rows took every clean answer to it.
- `donors carry a trait`: a trait fires on every donor's answer.
- `same answer`: the donors give the answer that the row has.
- `still carries a trait`: a trait fires on the row even with the donor's answer.
- `prompt incomplete`: the prompt has a part that isn't text, or there is no prompt.
- `answer not replaceable`: the answer isn't one message of plain text, such as a tool call.
"""

ReplacedAction = Literal["swap", "quarantine"]
"""The actions whose rows can be replaced."""

PARENT_FOLDER = "parent"
"""The field of a manifest's circumstances that says where the run with the old answers was."""

DONOR_NAME = "^[a-z0-9][a-z0-9._-]{0,60}$"
"""A donor's name, which is also its folder's name."""


class Donor(Strict):
    """A donor: its name, and its filtered run as it was when its answers were taken.

    `usable` counts the rows on which no trait fires.
    """

    name: Annotated[str, StringConstraints(pattern=DONOR_NAME)]
    run_id: str
    ledger_root: str
    rows: int
    usable: int


class SwapCounts(Strict):
    """How many rows were to be replaced, by outcome, and the replaced rows by donor.

    `by_trait` counts, for each trait that held the rows, the rows by outcome. `carried` counts, for
    each trait, the rows without a replacement because the trait fires on a donor's answer.
    """

    outcomes: dict[str, int] = Field(default_factory=dict)
    by_donor: dict[str, int] = Field(default_factory=dict)
    by_trait: dict[str, dict[str, int]] = Field(default_factory=dict)
    carried: dict[str, int] = Field(default_factory=dict)

    @property
    def replaced(self) -> int:
        """Return the number of replaced rows."""
        return self.outcomes.get(REPLACED, 0)

    @property
    def waiting(self) -> int:
        """Return the number of rows that still wait."""
        return sum(self.outcomes.values()) - self.replaced


class SwapRecord(Strict):
    """The swap that made a run: the parent, the donors in order, the settings and the counts."""

    parent: str
    """The id of the run whose rows were replaced."""
    parent_digest: str
    parent_root: str
    donors: tuple[Donor, ...]
    replace: tuple[ReplacedAction, ...] = ("swap",)
    near: float | None = None
    counts: SwapCounts = SwapCounts()
