"""`congener lineage`: options and output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.table import Table

from pipelines.cli.options import Json, Quiet, expand_argument
from pipelines.cli.output import print_result
from pipelines.display.terminal import build_table

if TYPE_CHECKING:
    from pipelines.lineage import Family, Lineage

CONTRADICTED = 5
"""The exit code if a model's parent isn't the expected one."""

SHOWN_CANDIDATES = 30
SHOWN_HABITS = 8

Models = Annotated[
    list[str],
    typer.Option(
        "--model",
        "-m",
        metavar="NAME=GLOB",
        help="A model whose parent is looked for, with the files of its answers; repeatable.",
    ),
]
Candidates = Annotated[
    list[str],
    typer.Option(
        "--candidates",
        "-c",
        metavar="NAME=GLOB",
        help="A possible parent. A glob without a name makes each of its files a candidate with "
        "the file's name; repeatable.",
    ),
]
More = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME=GLOB]...", help="More candidates."),
]
References = Annotated[
    list[str] | None,
    typer.Option(
        "--reference",
        metavar="NAME=GLOB",
        help="A model that shows what is usual and can't be the parent; repeatable (default: the "
        "candidates).",
    ),
]
Rows = Annotated[
    int, typer.Option("--rows", min=1, help="How many answers of each model are compared.")
]
Output = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FOLDER", help="Write a page and tables here."),
]
Expected = Annotated[
    str | None,
    typer.Option(
        "--expect",
        metavar="CANDIDATE",
        help="The parent that is claimed; exit with code 5 if it isn't found.",
    ),
]
FamilyPatterns = Annotated[
    list[str] | None,
    typer.Option(
        "--family",
        metavar="NAME=PATTERN",
        help="Also say how likely each family of candidates is. The pattern is one of candidates' "
        "names, such as 'gpt*'; repeatable.",
    ),
]


class LineageResult(NamedTuple):
    """The candidates for each model, and what was written."""

    family: Family
    page: str | None

    def render(self) -> Iterator[Table | str]:
        """Yield a table of candidates, the verdict and the habits of each model."""
        from pipelines.ancestry.findings import (
            NO_HABITS,
            describe_families,
            describe_verdict,
            list_reservations,
        )

        for item in self.family.lineages:
            yield f"{item.model}: {describe_verdict(item)}"
            yield from list_reservations(item)
            yield from (f"{copy}, so it was left out" for copy in item.left_out)
            if item.families:
                yield f"{item.model}: {describe_families(item)}"
            yield _list_candidates(item)
            if item.families:
                yield _list_families(item)
            if not item.habits:
                yield f"{item.model} and {item.best}: {NO_HABITS}"
            elif item.verdict:
                yield f"what {item.model} shares with {item.best}, in % of answers:"
                yield _list_habits(item)
        if self.page:
            yield f"report: {self.page}"

    def to_json(self) -> Any:
        """Return one object, or a list of objects for several models."""
        from pipelines.ancestry.findings import describe_lineage

        found = [describe_lineage(item) for item in self.family.lineages]
        return found[0] if len(found) == 1 else found


def _list_candidates(item: Lineage) -> Table:
    table = build_table("candidate", "probability, %>", "p-value>", "wording>", "same prompts>")
    for ranked in item.ranking.candidates[:SHOWN_CANDIDATES]:
        table.add_row(
            item.candidates[ranked.candidate],
            f"{100 * ranked.probability:.1f}",
            f"{ranked.p_value:.3f}",
            f"{ranked.wording:.2f}",
            "" if ranked.overlap is None else f"{ranked.overlap:.3f}",
        )
    if rest := item.ranking.candidates[SHOWN_CANDIDATES:]:
        share = sum(ranked.probability for ranked in rest)
        table.add_row(f"and {len(rest)} more", f"{100 * share:.1f}", "", "", "")
    table.add_row("none of these", f"{100 * item.ranking.none:.1f}", "", "", "")
    return table


def _list_families(item: Lineage) -> Table:
    table = build_table("family", "probability, %>", "nearest candidate")
    for share in item.families:
        table.add_row(share.family, f"{100 * share.probability:.1f}", share.nearest)
    return table


def _list_habits(item: Lineage) -> Table:
    table = build_table("habit", "parent>", "model>", "others>")
    for habit in item.habits[:SHOWN_HABITS]:
        rates = (habit.parent, habit.student, habit.others)
        table.add_row(habit.text, *(f"{100 * rate:.1f}" for rate in rates))
    if len(item.habits) > SHOWN_HABITS:
        table.add_row(f"and {len(item.habits) - SHOWN_HABITS} more", "", "", "")
    return table


def trace_model_lineage(
    models: Models,
    candidates: Candidates,
    more: More = None,
    references: References = None,
    rows: Rows = 1_000,
    output: Output = None,
    expected: Expected = None,
    families: FamilyPatterns = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find from which of several teachers a model's habits come.

    Candidates are ranked by what they share with the model and the other candidates don't have.
    The corpora may have any format that filter reads; they hold each model's answers, best to the
    same prompts. "None of these" is one of the answers. Exit code 5 means that the parent isn't
    the one that --expect names.

    congener lineage --model ours=ours.jsonl --candidates gpt=gpt.jsonl
      --candidates claude=claude.jsonl --candidates gemini=gemini.jsonl
    congener lineage --model ours=ours.jsonl --candidates 'teachers/*.parquet'
      --expect gpt-4 --output lineage
    congener lineage --model m=few.jsonl --candidates 'teachers/*.parquet'
      --family OpenAI='gpt*' --family Anthropic='claude*'
    """
    from pipelines.ancestry.answers import find_name, parse_corpora
    from pipelines.ancestry.copies import drop_copies, find_same_files
    from pipelines.ancestry.families import sort_families
    from pipelines.ancestry.files import begin_output, write_family
    from pipelines.lineage import require_roles, trace_lineage

    asked = parse_corpora(models, "--model")
    teachers = parse_corpora((*candidates, *(more or ())), "--candidates")
    usual = parse_corpora(references or (), "--reference")
    kept = drop_copies(list(find_same_files(asked, teachers)), teachers, "--candidates")
    require_roles(asked, kept, usual)
    names = [item.name for item in kept]
    sort_families(families or (), names)
    if expected is not None:
        find_name(expected, names, "--expect")
    if output is not None:
        output = expand_argument(output)
        begin_output(output)
    family = trace_lineage(asked, teachers, usual, rows, _report(quiet=quiet), families or ())
    if expected is not None:
        find_name(expected, family.lineages[0].candidates, "--expect")
    page = None if output is None else write_family(output, family)
    print_result(LineageResult(family, page), as_json)
    if expected is not None and any(item.verdict != expected for item in family.lineages):
        raise typer.Exit(CONTRADICTED)


def _report(*, quiet: bool) -> Any:
    from pipelines.display.terminal import open_console, print_text
    from schemas.events import Event, Noticed

    console = open_console(stderr=True)

    def listen(event: Event) -> None:
        if isinstance(event, Noticed) and not quiet:
            print_text(console, event.notice.text)

    return listen
