"""Swaps: what became of the rows that waited for another teacher's answer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from schemas.cards import Strict

REPLACED = "replaced"
SENTENCES = "sentences replaced"
MASKED = "sentences masked"

DECISION_OF_OUTCOME = {REPLACED: "swap", SENTENCES: "swap", MASKED: "mask"}
"""The outcomes whose rows are in `clean/`, with the decisions on the rows."""

OUTCOMES = (
    *DECISION_OF_OUTCOME,
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
- `sentences replaced`: a donor's sentences are in the places of those that carried a trait.
- `sentences masked`: some of these sentences, or all of them, are still there and are masked.
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
"""The field of a manifest's circumstances that says where the run was that this one changes.

It has the old answers of a swap, or the scores of a run that was decided again.
"""

CHANCE = 3.29
"""How many standard deviations of a binomial count chance exceeds in one case of 1,000."""

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


def count_done(outcomes: Mapping[str, int], *names: str) -> int:
    """Return the number of rows with some outcomes, by default with all that end the waiting."""
    return sum(outcomes.get(name, 0) for name in names or DECISION_OF_OUTCOME)


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
        """Return the number of rows with another answer, or with other sentences in theirs."""
        return count_done(self.outcomes, REPLACED, SENTENCES)

    @property
    def masked(self) -> int:
        """Return the number of rows of which sentences are masked."""
        return count_done(self.outcomes, MASKED)

    @property
    def waiting(self) -> int:
        """Return the number of rows that still wait."""
        return sum(self.outcomes.values()) - count_done(self.outcomes)


class EarlierSwap(Strict):
    """A swap whose answers a run still has, although another swap made the run.

    `run_id` is the run that it made, and `parent` the run whose answers it replaced. `counts` has
    only the rows that were replaced or masked.
    """

    run_id: str
    parent: str
    donors: tuple[Donor, ...]
    counts: SwapCounts


class BatchRequests(Strict):
    """How the prompts that still wait are asked about: the model, and the most tokens."""

    model: Annotated[str, StringConstraints(min_length=1)]
    reply_tokens: Annotated[int, Field(ge=1)]


def describe_options(
    spans: bool, requests: BatchRequests | None, shares: Mapping[str, float]
) -> dict[str, object]:
    """Return the options of a swap as a run's settings record them, without those not used."""
    return {
        **({"spans": True} if spans else {}),
        **({} if requests is None else {"requests": requests.model_dump(mode="json")}),
        **({"shares": dict(shares)} if shares else {}),
    }


def find_off_shares(
    shares: Mapping[str, float], used: Mapping[str, int]
) -> Iterator[tuple[str, int, int]]:
    """Yield the donors whose answers are more or fewer than chance allows for their shares.

    A donor comes with its answers, and the number that its share calls for. Chance allows
    `CHANCE` standard deviations of a binomial count, and one answer.
    """
    total = sum(used.values())
    for name, share in shares.items():
        found, wanted = used.get(name, 0), share * total
        if abs(found - wanted) > 1 + CHANCE * math.sqrt(wanted * (1 - share)):
            yield name, found, round(wanted)


class SwapRecord(Strict):
    """The swap that made a run: the parent, the donors in order, the settings and the counts."""

    parent: str
    """The id of the run whose rows were replaced."""
    parent_digest: str
    parent_root: str
    donors: tuple[Donor, ...]
    replace: tuple[ReplacedAction, ...] = ("swap",)
    near: float | None = None
    spans: bool = False
    """Whether only the sentences that carried a trait were replaced or masked."""
    shares: dict[str, float] = Field(default_factory=dict)
    """The share of the answers that each donor was to give, or nothing if donors have an order."""
    requests: BatchRequests | None = None
    """What the files of requests beside the swap list say, or null without them."""
    counts: SwapCounts = SwapCounts()
    earlier: tuple[EarlierSwap, ...] = ()
    """The swaps of ancestors, the latest first."""
