"""Policies: what a run does with the rows on which a trait fires, by trait and by lot."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from schemas.cards import Action, SignalName, Slug, Strict, Threshold
from schemas.lots import LotPattern
from schemas.scores import Side

DECISIONS = ("keep", "flag", "mask", "swap", "quarantine", "drop", "duplicate", "reject")
"""The decisions: every input row has exactly one, so their counts add up to the number of rows."""

PUBLISHED = ("keep", "flag", "mask", "swap")
"""The decisions whose rows are in `clean/`."""

REMOVED = tuple(name for name in DECISIONS if name not in PUBLISHED)
"""The decisions whose rows leave the corpus, including rejects."""

SEVERITY: tuple[Action, ...] = ("keep", "flag", "mask", "quarantine", "swap", "drop")
"""Actions from the mildest to the strongest.

The strongest action of the traits that fire on a row determines its decision. Every trait that
fires is listed in the row's reasons.
"""


SideAction = Action | Literal["as-trained"]
"""An action for rejected or untrained texts; `as-trained` means the action for trained texts."""


class SideActions(Strict):
    """What happens to a row with a finding in a rejected answer or in an untrained turn.

    In a trait's rule, a field that isn't set takes the policy's value, which is `keep` by default:
    a trait that the student learns to avoid, or never learns, is no reason to lose a row.
    """

    rejected: SideAction | None = None
    untrained: SideAction | None = None


class TraitRule(Strict):
    """The rule for one trait; a field that is set overrides the same field of the card."""

    signal: Literal["combined"] | SignalName = "combined"
    threshold: Threshold | None = Field(None, ge=0, le=1)
    max_false_positive_rate: float | None = Field(None, gt=0, lt=1)
    confidence: float | None = Field(None, gt=0, lt=1)
    action: Action | None = None
    sides: SideActions = SideActions()


class LotException(Strict):
    """A different action or threshold for one trait, or for all (`*`), on some lots and one side.

    Of several exceptions that match a lot, the last one that gives an action sets the action, and
    the last one that gives a threshold sets the threshold.
    """

    trait: Slug | Literal["*"]
    lot: LotPattern
    side: Side = "trained"
    action: Action | None = None
    threshold: Threshold | None = Field(None, ge=0, le=1)
    reason: str

    @model_validator(mode="after")
    def _require_a_change(self) -> LotException:
        if self.action is None and self.threshold is None:
            raise ValueError("gives neither an action nor a threshold, so it changes nothing")
        return self


class Policy(Strict):
    """The rules of a run: rules for traits, exceptions for lots, and limits on what is removed."""

    traits: dict[Slug, TraitRule] = Field(default_factory=dict)
    exceptions: tuple[LotException, ...] = ()
    sides: SideActions = SideActions()
    """The actions on findings in rejected answers and in untrained turns."""
    removal_budget: float | None = Field(None, ge=0, le=1)
    """The largest share of rows that may leave the corpus.

    If more rows leave it, nothing is published. Without a budget, a run can remove every row.
    """
    reject_budget: float | None = Field(None, ge=0, le=1)
    """The largest share of rows that may be rejects. If more rows are, nothing is published."""
    unread_budget: float | None = Field(None, ge=0, le=1)
    """The largest share of text that may go unread, because no trait looks at it.

    If more goes unread, nothing is published. Text that the trainer doesn't learn from isn't
    counted.
    """
    untrained_roles: tuple[str, ...] = ("user", "system", "tool")
    """The roles whose turns the trainer leaves out of the loss."""
    untrained_columns: tuple[str, ...] = ("system", "system_prompt", "tools", "functions")
    """The columns, or fields in them, that the trainer doesn't learn from."""
    expected_unread: tuple[str, ...] = ()
    """Channels, roles and columns that are expected to go unread.

    They are reported without a warning, and `unread_budget` doesn't count them.
    """
    duplicates: Literal["keep", "remove"] = "keep"
    """Whether rows that repeat the content of an earlier row leave the corpus."""
    split_priority: tuple[str, ...] = ("test", "validation", "train")
    """The splits by priority: a row that is in several of them stays only in the first.

    By default, held-out splits come first, so that a row in both the test set and the training data
    stays in the test set: the student mustn't see test rows, and scores on a test set that has lost
    rows can't be compared with scores on the whole set.
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
        """Return a trait's rule, or an empty rule, which leaves the card unchanged."""
        return self.traits.get(trait, TraitRule())
