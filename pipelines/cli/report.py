"""`congener report`: options and output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from pipelines.cli.options import Json, Run
from pipelines.cli.output import print_result


class ReportResult(NamedTuple):
    """A written report."""

    page: str

    def render(self) -> Iterator[str]:
        """Return the page's path."""
        yield self.page

    def to_json(self) -> dict[str, Any]:
        """Return the page's path."""
        return {"report": self.page}


def report_run(run: Run, as_json: Json = False) -> None:
    """Write RUN/report/index.html, a page that needs no other file.

    congener report run/ && xdg-open run/report/index.html
    """
    from pipelines.early_checks import check_decided

    check_decided(run)

    from pipelines.report import write_report

    print_result(ReportResult(write_report(run)), as_json)
