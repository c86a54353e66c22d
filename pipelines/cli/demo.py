"""`congener demo`: options and output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.table import Table

from pipelines.cli.options import (
    Json,
    ModelOptions,
    expand_argument,
    read_settings,
    spread_groups,
)
from pipelines.cli.output import print_result
from pipelines.display.terminal import build_table

if TYPE_CHECKING:
    from pipelines.demo import DemoOutcome, Remark
    from schemas.manifests import Manifest

Output = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        help="The folder for the demo's runs; it is replaced.",
        callback=expand_argument,
    ),
]


class DemoResult(NamedTuple):
    """The demo's runs, their reports, and how well the runs agree with the truth."""

    output: str
    manifests: Sequence[Manifest]
    pages: Sequence[str]
    outcomes: Sequence[DemoOutcome]
    remarks: Sequence[Remark] = ()

    def render(self) -> Iterator[str | Table]:
        """Return the comparison as a table, and the next commands."""
        yield self._tabulate()
        for is_right, title in ((True, "rows worth a look"), (False, "rows that it gets wrong")):
            if chosen := [item for item in self.remarks if item.is_right == is_right]:
                yield _tabulate_remarks(chosen, title)
        yield (
            "The sample is small and was written for this demo. docs/quirks.md has measurements "
            "on held-out text and on real answers."
        )
        yield (
            f"next:\n  congener inspect {self.output}/chat\n"
            f"  congener inspect {self.output}/chat --row atlas.jsonl:109\n"
            f"  congener verify {self.output}/chat\n"
            f"  open {self.pages[0]} in a browser\n"
            "  congener traits new my-trait, then congener filter --traits my-trait ..."
        )

    def _tabulate(self) -> Table:
        columns = ("trait", "true rows>", "found>", "right>", "precision>", "recall>")
        table = build_table(*columns, title="against the sample's truth")
        for outcome in self.outcomes:
            table.add_row(
                outcome.name,
                str(outcome.true),
                str(outcome.found),
                str(outcome.right),
                _format_share(outcome.precision),
                _format_share(outcome.recall),
                end_section=outcome is self.outcomes[-2],
            )
        return table

    def to_json(self) -> dict[str, Any]:
        """Return the runs, their reports and the outcomes."""
        return {
            "runs": [manifest.run_id for manifest in self.manifests],
            "reports": self.pages,
            "outcomes": [
                vars(outcome) | {"precision": outcome.precision, "recall": outcome.recall}
                for outcome in self.outcomes
            ],
            "remarks": [vars(remark) | {"is_right": remark.is_right} for remark in self.remarks],
        }


def _tabulate_remarks(remarks: Sequence[Remark], title: str) -> Table:
    """Tabulate rows, with the names that `congener inspect --row` accepts."""
    table = build_table("row", "decision", "traits that fired", "comment", title=title)
    for item in remarks:
        missed = [f"missed {trait}" for trait in item.true if trait not in item.found]
        fired = ", ".join((*item.found, *missed)) or "-"
        table.add_row(f"{item.source}:{item.row}", item.decision, fired, item.comment)
    return table


def _format_share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


@spread_groups
def run_demo(models: ModelOptions, output: Output = "demo", as_json: Json = False) -> None:
    """Filter the sample corpus, and compare it with the truth.

    congener demo --output demo/
    """
    from pipelines.config import require_local_path

    folder, settings = str(require_local_path(output)), read_settings(None, models)

    from pipelines import demo
    from pipelines.display.progress import TerminalReporter
    from pipelines.report import write_report

    with TerminalReporter() as listener:
        manifests, outcomes = demo.run_demo(folder, settings, listener=listener)
    corpora = [Path(manifest.inputs[0].uri).parent.name for manifest in manifests]
    pages = [write_report(f"{output}/{corpus}") for corpus in corpora]
    traits = [rule.trait for rule in manifests[0].thresholds]
    remarks = demo.list_remarks(folder, traits)
    print_result(DemoResult(output, manifests, pages, outcomes, remarks), as_json)
