"""`congener estimate`: options and output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from pipelines.cli.options import (
    Config,
    InputOptions,
    Json,
    ModelOptions,
    SignalOptions,
    read_settings,
    spread_groups,
)
from pipelines.cli.output import print_result
from schemas.notices import format_count
from schemas.shares import format_bound, round_up

if TYPE_CHECKING:
    from pipelines.estimate import Estimate, Terms

Sample = Annotated[
    int, typer.Option("--sample", min=1, help="Rows to filter here, chosen by hash.")
]
Machines = Annotated[
    int, typer.Option("--machines", min=1, help="The machines that share the work.")
]
Speed = Annotated[
    float,
    typer.Option(
        "--speed",
        min=0.001,
        help="The speed of each machine relative to this one; measure it.",
    ),
]
Price = Annotated[float, typer.Option("--price", min=0, help="The price of a machine for an hour.")]
Startup = Annotated[
    float,
    typer.Option("--startup-minutes", min=0, help="Paid minutes before a machine starts to work."),
]
Budget = Annotated[
    float | None,
    typer.Option("--budget", min=0, help="Exit with code 3 if the run may cost more than this."),
]


class EstimateResult(NamedTuple):
    """An estimate and its assumptions."""

    estimate: Estimate
    terms: Terms

    def render(self) -> Iterator[str]:
        """Return the estimate: the rows, the work and the uncertainty."""
        found, machines = self.estimate, self.terms.machines
        yield (
            f"{format_count(found.rows, 'row')}, about {format_count(found.tokens, 'token')}, "
            f"estimated from {format_count(found.sampled, 'row')}"
        )
        yield (
            f"{found.machine_hours:.2f} machine hours, {found.hours:.2f} hours on "
            f"{format_count(machines, 'machine')}; price {found.price:.2f}"
        )
        yield (
            f"the work may differ by {format_bound(found.spread, 0)}, because rows differ: price "
            f"at most {round_up(found.highest, 2):.2f}, if --speed {self.terms.speed:g} is right"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the estimate."""
        return self.estimate._asdict()


@spread_groups
def estimate_cost(
    inputs: InputOptions,
    traits: SignalOptions,
    models: ModelOptions,
    config: Config = None,
    sample: Sample = 2000,
    machines: Machines = 1,
    speed: Speed = 1.0,
    price: Price = 0.0,
    startup: Startup = 15.0,
    budget: Budget = None,
    as_json: Json = False,
) -> None:
    """Estimate the time and price of a run on other machines.

    A sample of the corpus is filtered here, and the rest is extrapolated.

    congener estimate -i gs://bucket/corpus --machines 8 --price 1.10 --budget 200
    """
    settings = read_settings(config, inputs, traits, models)

    from pipelines.early_checks import check_sources, check_traits

    check_sources(settings)
    check_traits(settings)

    from pipelines.display.progress import TerminalReporter
    from pipelines.estimate import Terms, run_estimate

    terms = Terms(machines, speed, price, startup)
    with TerminalReporter() as listener:
        estimate = run_estimate(settings, terms, sample, budget, listener)
    print_result(EstimateResult(estimate, terms), as_json)
