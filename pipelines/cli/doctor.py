"""`congener doctor`: options and output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import typer
from rich.table import Table
from rich.text import Text

from pipelines.cli.options import Json
from pipelines.cli.output import print_result

if TYPE_CHECKING:
    from pipelines.doctor import Check

MISSING = 2
"""The exit code if a run lacks something."""
WORDS = {True: "ok", False: "MISSING", None: "-"}


class DoctorResult(NamedTuple):
    """The results of the checks."""

    checks: Sequence[Check]

    def render(self) -> Iterator[Table]:
        """Return a table of the checks."""
        table = Table(box=None, show_header=False)
        for check in self.checks:
            table.add_row(WORDS[check.good], check.name, Text(check.found))
        yield table

    def to_json(self) -> list[dict[str, Any]]:
        """Return the checks."""
        return [check._asdict() for check in self.checks]


def examine_environment(as_json: Json = False) -> None:
    """Show the packages, device and model that a run would use.

    Exits with 2 if something that a run needs is missing. Nothing is downloaded.

    congener doctor
    """
    from pipelines.doctor import examine

    result = DoctorResult(examine())
    print_result(result, as_json)
    if any(check.good is False for check in result.checks):
        raise typer.Exit(MISSING)
