"""`congener fit`: options and output."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.table import Table

from pipelines.cli.options import (
    BackgroundOptions,
    Config,
    Json,
    LabelFileOptions,
    ModelOptions,
    Restart,
    Setting,
    TraitOptions,
    expand_argument,
    read_settings,
    spread_groups,
)
from pipelines.cli.output import print_result
from pipelines.display.terminal import build_table

if TYPE_CHECKING:
    from classifiers.banks import Bank
    from pipelines.fit import FittedTrait
    from pipelines.worth import CloseTexts

Output = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        help="The bank's folder; it is created if needed.",
        callback=expand_argument,
    ),
]


@dataclass(frozen=True)
class FitLabelOptions(LabelFileOptions):
    """The labels with which cards are fitted, and the rows that they name."""

    corpus: Annotated[
        list[str] | None,
        Setting("labels_on"),
        typer.Option("--on", help="The corpus with the rows that the labels name; repeatable."),
    ] = None
    run: Annotated[
        str | None,
        Setting("labels_run"),
        typer.Option("--run", help="A finished run with these rows, instead of --on."),
    ] = None


class FitResult(NamedTuple):
    """A fitted bank and its traits."""

    output: str
    bank: Bank
    traits: Sequence[FittedTrait]

    def render(self) -> Iterator[str | Table]:
        """Return a table of the traits, and the bank's digest."""
        table = build_table(
            "trait", "signals", "positives>", "negatives>", "clean texts>", "threshold>"
        )
        for trait in self.traits:
            table.add_row(
                trait.trait,
                ", ".join(trait.signals),
                str(trait.positives),
                str(trait.negatives or "-"),
                str(trait.threshold.clean),
                _describe_threshold(trait),
            )
        yield table
        for trait in self.traits:
            yield from _describe_worth(trait, self.output)
        yield f"bank {self.bank.digest[:12]} in {self.output}"

    def to_json(self) -> dict[str, Any]:
        """Return the bank's digest, its encoder and its traits."""
        return {
            "bank": self.output,
            "digest": self.bank.digest,
            "encoder": self.bank.encoder,
            "traits": [
                vars(trait)
                | {
                    "threshold": trait.threshold._asdict(),
                    "found": trait.found and trait.found._asdict(),
                    "patterns": trait.patterns and trait.patterns.to_json(),
                    "cost": trait.cost and trait.cost._asdict(),
                    "close": trait.close and _describe_close(trait.close),
                }
                for trait in self.traits
            ],
        }


def _describe_worth(trait: FittedTrait, bank: str) -> Iterator[str]:
    """Describe which positives would be found, and the texts closest to the threshold."""
    from pipelines.worth import LISTED, STRONGEST, describe_found

    if trait.found is not None and trait.threshold.value is not None:
        found = describe_found(trait.found, trait.threshold.value, trait.labels is not None)
        yield f"{trait.trait}: {found}{f'. {trait.advice}' if trait.advice else ''}"
    elif trait.close and trait.close.clean:
        yield f"{trait.trait}: the positives can't be measured; the highest clean scores:"
    if trait.patterns is not None:
        yield f"{trait.trait}: {trait.patterns.describe()}"
    if trait.close is not None:
        most = STRONGEST if trait.close.are_shipped else LISTED
        command = f"congener traits check CARD --bank {shlex.quote(bank)}"
        yield from (f"  {line}" for line in trait.close.describe(most, command))
    if trait.cost_line:
        yield f"{trait.trait}: {trait.cost_line}"
    yield from trait.label_lines


def _describe_close(close: CloseTexts) -> dict[str, Any]:
    return close._asdict() | {"clean": [text._asdict() for text in close.clean]}


def _describe_threshold(trait: FittedTrait) -> str:
    value = trait.threshold.value
    if value is None:
        return f"missing: {trait.needed - trait.threshold.clean} more clean texts"
    return f"{value:.4f}"


@spread_groups
def fit_traits(
    output: Output,
    traits: TraitOptions,
    background: BackgroundOptions,
    labels: FitLabelOptions,
    models: ModelOptions,
    config: Config = None,
    restart: Restart = False,
    as_json: Json = False,
) -> None:
    """Fit trait cards into a bank.

    The bank holds exemplar indexes, heads, and the scores that thresholds are calibrated on.

    congener fit --traits my-traits/ --output bank/
    congener fit --output bank/ --background our-clean-sample.parquet
    congener fit -t my-trait/ -o bank/ --labels read.jsonl --on corpus.jsonl
    """
    settings = read_settings(config, traits, background, labels, models)

    from pipelines.early_checks import check_fit

    check_fit(settings, output, restart)

    from pipelines.display.progress import TerminalReporter
    from pipelines.fit import describe_fitted_traits, run_fit

    with TerminalReporter() as listener:
        fitted = run_fit(settings, output, restart, listener)
    result = FitResult(output, fitted.bank, describe_fitted_traits(fitted))
    print_result(result, as_json)
