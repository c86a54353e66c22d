"""Policies: what a run does with the rows on which a trait fires, by trait and by lot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from schemas.cards import Action, SignalName, Strict, Threshold
from schemas.lots import Lot, LotPattern
from schemas.row_names import RowName
from schemas.scores import Side

DECISIONS = ("keep", "flag", "mask", "swap", "mix", "quarantine", "drop", "duplicate", "reject")
"""The decisions. Every input row has exactly one, and an added row has `mix`."""

FILTERED = tuple(name for name in DECISIONS if name not in ("swap", "mix"))
"""The decisions of `congener filter`. The others are those of commands that change a run."""

PUBLISHED = ("keep", "flag", "mask", "swap", "mix")
"""The decisions that put a row in `clean/`."""

REMOVED = tuple(name for name in DECISIONS if name not in PUBLISHED)
"""The decisions that take a row out of the corpus, including `reject`."""

TAKING_OUT = ("quarantine", "swap", "drop")
"""The actions that take a row out of `clean/`."""

SEVERITY: tuple[Action, ...] = ("keep", "flag", "mask", "quarantine", "swap", "drop")
"""Actions from the mildest to the strongest.

The strongest action among a row's traits becomes the decision. The row's reasons list every trait
that fires.
"""


EVERY_OTHER = "*"
"""The name of the rule for every trait that has no rule of its own."""

SideAction = Action | Literal["as-trained"]
"""An action for rejected or untrained texts; `as-trained` means the action for trained texts."""


class SideActions(Strict):
    """The actions on findings in rejected answers and in untrained turns.

    In a trait's rule, an unset field takes the policy's value. That is `keep` by default: the
    student learns to avoid the text or never learns it, so the row can stay.
    """

    rejected: SideAction | None = None
    untrained: SideAction | None = None


class TraitRule(Strict):
    """The rule for one trait. Its fields override the same fields of the card."""

    signal: Literal["combined"] | SignalName = "combined"
    threshold: Threshold | None = Field(None, ge=0, le=1)
    max_false_positive_rate: float | None = Field(None, gt=0, lt=1)
    confidence: float | None = Field(None, gt=0, lt=1)
    action: Action | None = None
    sides: SideActions = SideActions()


class LotException(Strict):
    """A different action or threshold for one trait, or for all (`*`), on some lots and one side.

    If several exceptions match a lot, the last action and the last threshold win. With `row`, the
    exception holds for one row, and `trait` and `lot` may be left out.
    """

    trait: str
    lot: LotPattern
    row: RowName | None = None
    side: Side = "trained"
    action: Action | None = None
    threshold: Threshold | None = Field(None, ge=0, le=1)
    reason: str

    @model_validator(mode="before")
    @classmethod
    def _complete_row(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("row") is not None:
            return {"trait": "*", "lot": {}, **given}
        return given

    @model_validator(mode="after")
    def _require_a_change(self) -> LotException:
        if self.row is not None and (self.action is None or self.threshold is not None):
            raise ValueError("names a row, so it needs an action, and has no threshold")
        if self.action is None and self.threshold is None:
            raise ValueError("gives neither an action nor a threshold, so it changes nothing")
        return self

    @property
    def takes_out_row(self) -> bool:
        """Return whether the exception takes out one row, even if no trait fires on it."""
        return self.row is not None and self.side == "trained" and self.action in TAKING_OUT

    def matches(self, lot: Lot) -> bool:
        """Return whether the exception holds for a lot, or for the one row that it names."""
        is_named = self.row is None or lot.has_name(self.row.key)
        return is_named and lot.matches(self.lot)

    def describe(self) -> str:
        """Name the row or the lots."""
        if self.row is None:
            return self.lot.describe()
        lot = self.lot.describe() if self.lot.model_dump(exclude_none=True) else ""
        return ", ".join(filter(None, (f"row {self.row.describe()}", lot)))


def list_row_names(exceptions: Iterable[LotException]) -> frozenset[str]:
    """Return the names of the rows that exceptions name and that the corpus may have."""
    return frozenset(item.row.key for item in exceptions if item.row and item.row.key)


class Policy(Strict):
    """The rules of a run: rules for traits, exceptions for lots, and limits on what is removed."""

    traits: dict[str, TraitRule] = Field(default_factory=dict)
    """The rules by trait; `*` is the rule of every trait that isn't named."""
    exceptions: tuple[LotException, ...] = ()
    sides: SideActions = SideActions()
    """The actions on findings in rejected answers and in untrained turns."""
    removal_budget: float | None = Field(None, ge=0, le=1)
    """The largest share of rows that may leave the corpus.

    A run over this budget publishes nothing. Without a budget, a run can remove every row.
    """
    reject_budget: float | None = Field(None, ge=0, le=1)
    """The largest share of rejects. A run over this budget publishes nothing."""
    unread_budget: float | None = Field(None, ge=0, le=1)
    """The largest share of trained text that no trait reads.

    A run over this budget publishes nothing.
    """
    untrained_roles: tuple[str, ...] = ("user", "system", "tool")
    """The roles whose turns the trainer leaves out of the loss."""
    untrained_columns: tuple[str, ...] = ("system", "system_prompt", "tools", "functions")
    """The columns or nested fields that the trainer doesn't learn from."""
    expected_unread: tuple[str, ...] = ()
    """Channels, roles and columns that no trait is expected to read.

    They are reported without a warning, and `unread_budget` doesn't count them.
    """
    duplicates: Literal["keep", "remove"] = "keep"
    """Whether to keep or remove rows that repeat an earlier row's content."""
    split_priority: tuple[str, ...] = ("test", "validation", "train")
    """The splits by priority: a row in several splits stays only in the first.

    By default, a row in both the test set and the training data stays in the test set. The student
    mustn't see test rows, and scores on a smaller test set couldn't be compared.
    """

    @field_validator("split_priority")
    @classmethod
    def _require_different_splits(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value) or "" in value:
            raise ValueError("names a split twice, or an empty one")
        return value

    @field_validator("traits", mode="before")
    @classmethod
    def _accept_empty_rules(cls, value: object) -> object:
        return (
            {key: {} if rule is None else rule for key, rule in value.items()}
            if isinstance(value, dict)
            else value
        )

    def get_rule(self, trait: str) -> TraitRule:
        """Return a trait's rule, the rule of every other trait, or an empty rule.

        A trait with a rule of its own takes nothing from the rule of the others.
        """
        return self.traits.get(trait) or self.traits.get(EVERY_OTHER) or TraitRule()
