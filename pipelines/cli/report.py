"""`congener report`: options and output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from pipelines.cli.options import Json, Run
from pipelines.cli.output import print_result


class ReportResult(NamedTuple):
    """A written report. Without teachers who share prompts, there is no table of pairs."""

    page: str
    table: str
    pairs: str | None

    def render(self) -> Iterator[str]:
        """Return the page's path, and the path of the table for notebooks."""
        yield self.page
        yield (
            f"{self.table}: how often each trait fired, by teacher, lot and source, with intervals "
            "(for notebooks)"
        )
        if self.pairs is not None:
            yield f"{self.pairs}: teachers on the prompts that two of them answered"

    def to_json(self) -> dict[str, Any]:
        """Return the paths; that of the pairs is None if no two teachers share prompts."""
        return {"report": self.page, "rates": self.table, "pairs": self.pairs}


def report_run(run: Run, as_json: Json = False) -> None:
    """Write RUN/report/index.html, a page that needs no other file.

    Beside it, rates.parquet says how often each trait fired by teacher, lot and source, with
    intervals, for notebooks. If two teachers answered the same prompts, pairs.parquet compares
    them on these.

    congener report run/ && xdg-open run/report/index.html
    """
    from pipelines.early_checks import check_decided

    check_decided(run)

    from pipelines.report import write_report
    from schemas.runs import PAIRS_TABLE, RATES_TABLE
    from transforms.files import storage

    page, pairs = write_report(run), storage.join(run, PAIRS_TABLE)
    has_pairs = storage.exists(pairs)
    result = ReportResult(page, storage.join(run, RATES_TABLE), pairs if has_pairs else None)
    print_result(result, as_json)
