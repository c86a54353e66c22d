"""The policy: what is done with a row on which a trait fires, per trait, per lot and for the whole run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from schemas.cards import Action, SignalName, Slug, Strict
from schemas.lots import LotPattern

DECISIONS = ("keep", "flag", "mask", "swap", "quarantine", "drop", "duplicate", "reject")
"""Every fate of an input row; the counts over them add up to the rows read."""

PUBLISHED = ("keep", "flag", "mask", "swap")
"""The decisions whose rows are in `clean/`."""

REMOVED = tuple(name for name in DECISIONS if name not in PUBLISHED)
"""The decisions whose rows leave the corpus, rejects included."""

SEVERITY: tuple[Action, ...] = ("keep", "flag", "mask", "quarantine", "swap", "drop")
"""Actions from mildest to strongest; the strongest of a row's traits decides, and all of them stay as reasons."""


class TraitRule(Strict):
    """What one trait's score does: overrides of the card, field by field."""

    signal: Literal["combined"] | SignalName = "combined"
    threshold: float | None = Field(None, ge=0, le=1)
    max_false_positive_rate: float | None = Field(None, gt=0, lt=1)
    confidence: float | None = Field(None, gt=0, lt=1)
    action: Action | None = None


class LotException(Strict):
    """Another action, or another threshold, for a trait on some lots; the last one that matches counts."""

    trait: Slug | Literal["*"]
    lot: LotPattern
    action: Action | None = None
    threshold: float | None = Field(None, ge=0, le=1)
    reason: str

    @model_validator(mode="after")
    def _changes_something(self) -> LotException:
        if self.action is None and self.threshold is None:
            raise ValueError("gives neither an action nor a threshold, so that it changes nothing")
        return self


class Policy(Strict):
    """A run's decisions, declared."""

    traits: dict[Slug, TraitRule] = Field(default_factory=dict)
    exceptions: tuple[LotException, ...] = ()
    removal_budget: float | None = Field(None, ge=0, le=1)
    """Largest share of rows that may leave the corpus; beyond it nothing is published. None is no limit, and is said aloud."""
    reject_budget: float | None = Field(None, ge=0, le=1)
    """Largest share of rows that may be rejects."""
    duplicates: Literal["keep", "remove"] = "keep"
    """Whether second and later rows of equal content leave the corpus."""

    @field_validator("traits", mode="before")
    @classmethod
    def _bare_rules(cls, value: object) -> object:
        return (
            {key: {} if rule is None else rule for key, rule in value.items()}
            if isinstance(value, dict)
            else value
        )

    def rule(self, trait: str) -> TraitRule:
        """Return a trait's rule; one that isn't named changes nothing of the card."""
        return self.traits.get(trait, TraitRule())
