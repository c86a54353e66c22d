"""`congener report`: options and output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from pipelines.cli.options import Json, Run
from pipelines.cli.output import print_result


class ReportResult(NamedTuple):
    """A written report."""

    page: str
    table: str

    def render(self) -> Iterator[str]:
        """Return the page's path, and the path of the table for notebooks."""
        yield self.page
        yield (
            f"{self.table}: how often each trait fired, by teacher, lot and source, with intervals "
            "(for notebooks)"
        )

    def to_json(self) -> dict[str, Any]:
        """Return both paths."""
        return {"report": self.page, "rates": self.table}


def report_run(run: Run, as_json: Json = False) -> None:
    """Write RUN/report/index.html, a page that needs no other file.

    Beside it, rates.parquet says how often each trait fired by teacher, lot and source, with
    intervals, for notebooks.

    congener report run/ && xdg-open run/report/index.html
    """
    from pipelines.early_checks import check_decided

    check_decided(run)

    from pipelines.report import write_report
    from schemas.runs import RATES_TABLE
    from transforms.files import storage

    result = ReportResult(write_report(run), storage.join(run, RATES_TABLE))
    print_result(result, as_json)
