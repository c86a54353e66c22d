"""`congener inspect`: options and output."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.options import Json, Run
from pipelines.cli.output import print_json

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
Start = Annotated[int, typer.Option("--start", min=0, help="The first quarantined row to show.")]
Limit = Annotated[
    int, typer.Option("--limit", "-n", min=0, help="The number of quarantined rows to show.")
]


def inspect_run(
    run: Run,
    trait: Trait = None,
    teacher: Teacher = None,
    prompt_source: PromptSource = None,
    system_prompt: SystemPrompt = None,
    date: Date = None,
    start: Start = 0,
    limit: Limit = 5,
    as_json: Json = False,
) -> None:
    """Show a run's decisions and its quarantined rows.

    Each row is shown with its spans, scores and nearest exemplars.

    congener inspect run/
    congener inspect run/ --trait vendor-identity --start 5
    congener inspect run/ --teacher 'atlas-*' --date 2026-01-31 --json | jq .
    """
    from pipelines.early_checks import check_run

    check_run(run)

    from pipelines.display.terminal import open_console
    from pipelines.inspection import inspect_as_dicts, print_inspection
    from pipelines.runs.queries import Filters

    filters = Filters(trait, teacher, prompt_source, system_prompt, date)
    if as_json:
        print_json(inspect_as_dicts(run, filters, start, limit))
    else:
        print_inspection(open_console(), run, filters, start, limit)
