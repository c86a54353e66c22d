"""`congener traits thresholds`: options and output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.table import Table

from pipelines.cli.options import Json, Run
from pipelines.cli.output import print_result
from pipelines.display.terminal import build_table
from schemas.notices import choose_form, format_count
from schemas.scores import LIKELY, NEAR_MISS
from schemas.shares import format_bound, format_limit, round_down, round_up

if TYPE_CHECKING:
    from classifiers.guarantees.calibration import FoundShare
    from pipelines.thresholds import Choice, TraitChoices

Traits = Annotated[
    list[str] | None,
    typer.Option("--trait", help="Only this trait; repeatable (default: all traits of the run)."),
]

STARRED = (
    f"*: a run's levels give no threshold below {LIKELY}, because most rows that score "
    f"lower don't show the trait. With a level marked * a run has {LIKELY}, too, so a "
    "stricter level can be on a lower line, where it would be without this limit. To "
    "use such a threshold, set it with `threshold`."
)
"""What a star at a level means."""


class ThresholdTables(NamedTuple):
    """The thresholds of some traits."""

    traits: Sequence[TraitChoices]

    def render(self) -> Iterator[str | Table]:
        """Return a table for each trait, and its near misses."""
        for trait in self.traits:
            table = build_table(
                "score ≥>",
                "level>",
                "rows found>",
                "clean hit>",
                "positives found>",
                "",
                title=trait.trait,
            )
            for item in trait.choices:
                table.add_row(
                    f"{item.threshold:.4f}",
                    describe_level(item),
                    f"{item.rows:,}",
                    "not stated" if item.bound is None else f"≤ {format_bound(item.bound)}",
                    describe_share(item.found),
                    "in force" if item.is_in_force else "",
                )
            yield table
            if trait.near.best:  # a score of 0 means that nothing was found
                yield (
                    f"{format_count(trait.near.rows, 'row')} "
                    f"{choose_form(trait.near.rows, 'is', 'are')} up to {NEAR_MISS} below the "
                    "threshold in force; "
                    f"the highest score below it is {trait.near.best:.4f}"
                )
        yield from self._explain()

    def _explain(self) -> Iterator[str]:
        """Explain the columns, and say how another threshold comes into force."""
        yield (
            "Each line is one threshold: a lower one finds more of the trait and hits more clean "
            "rows."
        )
        yield (
            "level: the largest share of clean rows that the trait may fire on. rows found: this "
            "run's rows that reach the threshold. clean hit: what is promised about clean rows. "
            "positives found: of the card's positives, each held out from the fit."
        )
        starred = any(item.threshold < LIKELY for trait in self.traits for item in trait.choices)
        if starred:
            yield STARRED
        if self.traits:
            name = self.traits[0].trait
            yield (
                "to change it, decide again (congener decide) with a policy such as "
                f"`traits: {{{name}: {{max_false_positive_rate: 0.02}}}}` or "
                f"`traits: {{{name}: {{threshold: 0.6}}}}`. Choose it first and read the rows "
                "that it finds afterwards, or they say nothing about new rows."
            )

    def to_json(self) -> list[dict[str, Any]]:
        """Return the thresholds and the near misses of each trait."""
        return [
            {
                "trait": trait.trait,
                "near": trait.near.model_dump(mode="json"),
                "thresholds": [
                    item._asdict() | {"found": item.found and item.found._asdict()}
                    for item in trait.choices
                ],
            }
            for trait in self.traits
        ]


def describe_level(choice: Choice) -> str:
    """Return the level, or that a threshold without one was set by hand."""
    return "by hand" if choice.rate is None else mark_level(choice.rate, choice.threshold)


def mark_level(rate: float, threshold: float) -> str:
    """Return a level, marked with a star if it doesn't give a run this threshold."""
    return f"{format_limit(rate)}{'*' if threshold < LIKELY else ''}"


def describe_share(found: FoundShare | None) -> str:
    """Return how many of the card's positives are found, with the share's interval."""
    if found is None:
        return "-"
    low, high = round_down(found.low, 2) * 100, round_up(found.high, 2) * 100
    return f"{found.found} of {found.positives} ({low:.0f}–{high:.0f}%)"


def list_thresholds(run: Run, traits: Traits = None, as_json: Json = False) -> None:
    """List what other thresholds would find in a finished run.

    For each level, the table shows the threshold, the rows that it finds, the clean rows that it
    may cost, and how many of the card's positives it finds.

    congener traits thresholds run/
    congener traits thresholds run/ --trait my-trait
    """
    from pipelines.thresholds import list_choices

    print_result(ThresholdTables(list_choices(run, traits or ())), as_json)
