"""`congener inspect`: options and output."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from pipelines.cli.options import Json, Run, expand_argument
from pipelines.cli.output import print_json


class SortOrder(StrEnum):
    """The order in which rows are shown."""

    DECISION = "decision"
    SCORE = "score"
    THRESHOLD = "threshold"
    ROW = "row"


Trait = Annotated[str | None, typer.Option("--trait", help="Only rows on which this trait fired.")]
Teacher = Annotated[
    str | None, typer.Option("--teacher", help="Only rows of this teacher: a name or a pattern.")
]
PromptSource = Annotated[
    str | None, typer.Option("--prompt-source", help="Only rows of this prompt source.")
]
SystemPrompt = Annotated[
    str | None,
    typer.Option("--system-prompt", help="Only rows with this system prompt, as 8 hex digits."),
]
Date = Annotated[str | None, typer.Option("--date", help="Only rows of this date, such as 2026-*.")]
Decision = Annotated[
    str | None,
    typer.Option(
        "--decision",
        help="Only rows with this decision: keep, flag, mask, swap, mix, quarantine, drop, "
        "duplicate or reject. Without it, rows on which a trait fired are shown. The decision "
        "swap is that of a replaced row; a row that waits for a swap is in quarantine.",
    ),
]
Row = Annotated[
    str | None,
    typer.Option(
        "--row",
        help="Only this row: its number, FILE:NUMBER, its record id, or the corpus's own id.",
    ),
]
Parent = Annotated[
    str | None,
    typer.Option(
        "--parent",
        metavar="RUN",
        help="After a swap: the folder of the run with the old answers, if it was moved.",
    ),
]
File = Annotated[
    str | None,
    typer.Option("--file", help="Only rows of this file: its name, a folder, or a pattern."),
]
Sort = Annotated[
    SortOrder,
    typer.Option(
        "--sort",
        help="The strongest decision first, then by trait and score; the highest score first; the "
        "score nearest to a threshold first; or the order of the corpus.",
    ),
]
Start = Annotated[
    int, typer.Option("--start", min=0, help="The first row to show; 0 is the first.")
]
Limit = Annotated[int, typer.Option("--limit", "-n", min=0, help="The number of rows to show.")]

Full = Annotated[
    bool,
    typer.Option(
        "--full", help="Show whole rows, with every turn and its line breaks, not excerpts."
    ),
]


def inspect_run(
    run: Run,
    trait: Trait = None,
    teacher: Teacher = None,
    prompt_source: PromptSource = None,
    system_prompt: SystemPrompt = None,
    date: Date = None,
    decision: Decision = None,
    row: Row = None,
    file: File = None,
    sort: Sort = SortOrder.DECISION,
    start: Start = 0,
    limit: Limit = 5,
    full: Full = False,
    parent: Parent = None,
    as_json: Json = False,
) -> None:
    """Show a run's decisions, and its rows with their reasons.

    Each row is shown with the question, an excerpt around the evidence, what is masked, and its
    scores; with --full, the excerpt is the whole row. Rows in quarantine also have their nearest
    exemplars. With --decision keep, the rows nearest to a threshold come first. In a run that
    congener swap wrote, replaced rows have their old answer, the new one and its donor, and rows
    that still wait say why.

    congener inspect run/
    congener inspect run/ --trait vendor-identity --decision mask --start 5
    congener inspect run/ --decision keep --trait coercion
    congener inspect run/ --row chat.jsonl:17 --full
    congener inspect run/ --file claude-2/
    congener inspect run2/ --decision swap --trait over-refusal
    congener inspect run/ --teacher 'atlas-*' --date 2026-01-31 --json | jq .
    """
    from pipelines.early_checks import check_decided

    check_decided(run)

    from pipelines.display.terminal import open_console
    from pipelines.inspection import View, inspect_as_dicts, print_inspection
    from pipelines.runs.queries import Filters

    filters = Filters(trait, teacher, prompt_source, system_prompt, date, decision, row, file)
    folder = None if parent is None else expand_argument(parent)
    view = View(filters, sort.value, start, limit, full, folder)
    if as_json:
        print_json(inspect_as_dicts(run, view))
    else:
        print_inspection(open_console(), run, view)
