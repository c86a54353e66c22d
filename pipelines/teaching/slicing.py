"""Slices of a trial's corpus: which there are, and which are tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from classifiers.heredity.arms import Arm, Candidate, TokenCounter, Unbuilt, count_tokens
from classifiers.heredity.planner import Plan, PromptTable, plan_slices
from classifiers.heredity.slices import build_slice_arms, name_slice
from classifiers.languages import ENGLISH, LANGUAGES
from classifiers.signals.prompt_languages import find_main
from pipelines.teaching.rows import CorpusRow, build_example
from schemas.errors import CardError
from schemas.trials import SliceSettings

NAMED = 10
"""How many names of slices an error lists."""


class Slicing(NamedTuple):
    """All planned slices, the most promising first, and the names of those that are tried."""

    plans: list[Plan]
    tried: tuple[str, ...] = ()

    @property
    def chosen(self) -> list[Plan]:
        """Return the slices that are tried."""
        return [plan for plan in self.plans if plan.name in self.tried]


def plan_corpus(
    rows: Sequence[CorpusRow], count: TokenCounter, settings: SliceSettings, seed: int
) -> Slicing:
    """Plan the slices of a corpus, and choose those to try.

    Raises: CardError: a chosen slice isn't planned. Raises: TrialError: the budget allows no row.
    """
    examples = [build_example(row) for row in rows]
    table = PromptTable(
        [row.prompt for row in rows],
        count_tokens(examples, count),
        np.array([row.traited for row in rows], bool),
        np.array([row.score for row in rows], float),
        list_attributes(rows),
    )
    plans = plan_slices(table, budget=settings.budget, seed=seed)
    return Slicing(plans, choose_slices(plans, settings))


def list_attributes(rows: Sequence[CorpusRow]) -> dict[str, list[str]]:
    """Return the columns by which slices are cut: each row's value, if not all rows have the same.

    They are the source, the number of the user's turns, the prompt's language, and the columns that
    the configuration names.
    """
    columns: Mapping[str, list[str]] = {
        "source": [row.source for row in rows],
        "turns": [str(row.turns) for row in rows],
        "language": [name_language(row.prompt) for row in rows],
        **{
            name: [dict(row.labels)[name] for row in rows]
            for name, _ in (rows[0].labels if rows else ())
        },
    }
    return {name: values for name, values in columns.items() if len(set(values)) > 1}


def name_language(prompt: str) -> str:
    """Return the language of a prompt, or its script."""
    others = sorted(find_main(prompt) - {ENGLISH})
    return LANGUAGES[others[0] if others else ENGLISH]


def choose_slices(plans: Sequence[Plan], settings: SliceSettings) -> tuple[str, ...]:
    """Return the names of the slices to try: the wanted ones, or else the most promising.

    A slice with the same rows as a better one isn't tried again.

    Raises: CardError: a wanted slice isn't planned.
    """
    known = [plan.name for plan in plans]
    for name in settings.names:
        if name not in known:
            more = f" and {len(known) - NAMED:,} more" if len(known) > NAMED else ""
            raise CardError(
                f"there is no slice {name!r}",
                where="slices.names",
                remedy=f"the slices are {', '.join(known[:NAMED])}{more}; --plan lists them",
            )
    if settings.names:
        return settings.names
    different = {plan.rows: plan.name for plan in reversed(plans)}
    return tuple(name for name in known if name in different.values())[: settings.most]


def build_arms_of_slices(
    candidates: Sequence[Candidate], slicing: Slicing, count: TokenCounter, seed: int
) -> tuple[list[Arm], Slicing, list[Unbuilt]]:
    """Build the four arms of each chosen slice.

    Also returns the slices that are left, and those of which an arm can't be built, with a reason.
    """
    arms, missing = build_slice_arms(candidates, slicing.chosen, count, seed=seed)
    reasons: dict[str, str] = {}
    for name in slicing.tried:
        for item in missing:
            if item.name.endswith(name_slice("", name)):
                reasons.setdefault(name, item.reason)
    kept = tuple(name for name in slicing.tried if name not in reasons)
    built = [arm for arm in arms if arm.name.partition(": ")[2] in kept]
    unbuilt = [Unbuilt(f"slice {name}", reason) for name, reason in reasons.items()]
    return built, slicing._replace(tried=kept), unbuilt
