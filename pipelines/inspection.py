"""`congener inspect`: print a run's decisions, and its rows with reasons."""

from __future__ import annotations

import base64
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from pipelines.display.count_tables import render_counts
from pipelines.display.excerpts import (
    CONTEXT,
    LONGEST_SPAN,
    escape_name,
)
from pipelines.display.shell_words import quote_word
from pipelines.display.terminal_rows import TURN_CHARACTERS, render_row
from pipelines.row_exceptions import name_exceptions
from pipelines.runs.alterations import require_sound_ledger
from pipelines.runs.finished import MISFITS, report_damage
from pipelines.runs.manifest_file import load_decided
from pipelines.runs.old_answers import OldAnswers, read_old_answers
from pipelines.runs.pages import Order, Page, count_taken_rows, read_page
from pipelines.runs.queries import Count, Filters, count_rows
from pipelines.runs.shown_findings import TraitFinding
from pipelines.runs.shown_rows import ShownRow
from pipelines.runs.unread_hits import list_unread_hits
from pipelines.runs.wording_reasons import add_words
from schemas.lots import LOT_FIELDS
from schemas.manifests import Manifest
from schemas.notices import format_count
from transforms.files import storage
from transforms.records.questions import SpokenText

NOTHING_PUBLISHED = "Nothing was published, so the run holds scores and decisions but no text:"

LONGEST_NOTE = 1000
"""How many characters of a note about the whole page are shown."""

ORDERS: dict[Order, str] = {
    "decision": "strongest decision first, then by trait and score",
    "score": "highest score first",
    "threshold": "nearest to a threshold first",
    "row": "in the order of the corpus",
}


class Inspection(NamedTuple):
    """A run's counts, and a page of its rows with the answers that a swap replaced."""

    manifest: Manifest
    counts: list[Count]
    page: Page
    old: OldAnswers = OldAnswers({})


class View(NamedTuple):
    """Which rows to show, in which order, and whether to print them whole.

    `parent` is the folder of the run whose answers a swap replaced, if it was moved.
    """

    filters: Filters = Filters()
    order: Order = "decision"
    start: int = 0
    limit: int = 5
    full: bool = False
    parent: str | None = None


def inspect_run(run: str, view: View, whole: bool = True) -> Inspection:
    """Count a run's rows, and read a page of rows.

    Unless `whole` is set, Parquet records have only the columns that the run read.

    Raises: RunError: the run is neither finished nor stopped by a budget, a file is missing or
        damaged, or a filter matches no row.
    """
    with report_damage(run, *MISFITS):
        manifest = load_decided(run)
        require_sound_ledger(run, manifest)
        page = read_page(run, manifest, *view[:4], whole, check=True)
        page = page._replace(rows=tuple(add_words(run, page.rows)))
        old = read_old_answers(manifest, page.rows, view.parent, whole)
        return Inspection(manifest, count_rows(run, manifest, view.filters), page, old)


def inspect_as_dicts(run: str, view: View) -> dict[str, Any]:
    """Return an inspection for JSON. Texts are complete and unescaped.

    Raises: RunError: for the same reasons as `inspect_run`.
    """
    manifest, counts, page, old = inspect_run(run, view)
    shown = {
        "run_id": manifest.run_id,
        "finished": manifest.circumstances.get("finished"),
        "withdrawn": manifest.withdrawn,
        "filters": view.filters._asdict(),
        "order": view.order,
        "counts": [count._asdict() for count in counts],
        "page": {
            **page._asdict(),
            "next": page.next_start,
            "previous": page.previous_start,
            "rows": [
                _describe_row(row)
                | _describe_swap(row, old.rows.get((row.source, row.row)))
                | {"unread_hits": [hit._asdict() for hit in list_unread_hits(row, manifest)]}
                for row in page.rows
            ],
        },
        "old_answers_missing": old.missing,
    }
    return {name: _convert_to_json(value) for name, value in shown.items()}


def _describe_row(row: ShownRow) -> dict[str, Any]:
    """Return the fields of a row and its lot, under their ledger names."""
    found = row._asdict()
    del found["lot"]
    return {
        **found,
        **{name: getattr(row.lot, name) for name in LOT_FIELDS},
        "reasons": [_describe_finding(finding) for finding in row.reasons],
        "near": [_describe_finding(finding) for finding in row.near],
        "masks": [mask._asdict() for mask in row.masks],
        "answer": _describe_spoken(row.answer),
        "question": _describe_spoken(row.question),
        "exceptions": [change._asdict() for change in row.exceptions],
    }


def _describe_swap(row: ShownRow, old: ShownRow | None) -> dict[str, Any]:
    """Return what a swap did to a row, and the row as it was before."""
    if row.swap is None:
        return {"swap": None}
    was = None if old is None else _describe_row(old)
    return {"swap": {**row.swap._asdict(), "explained": row.swap.explain(), "old": was}}


def _describe_finding(finding: TraitFinding) -> dict[str, Any]:
    return finding._asdict() | {
        "question": _describe_spoken(finding.question),
        "hits": [hit._asdict() for hit in finding.hits],
        "words": [item._asdict() for item in finding.words],
    }


def _describe_spoken(said: SpokenText | None) -> dict[str, str] | None:
    return None if said is None else said._asdict()


def _convert_to_json(value: Any) -> Any:
    """Convert any corpus value for JSON: bytes to base64, and infinities and NaN to null."""
    if isinstance(value, Mapping):
        return {str(key): _convert_to_json(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_convert_to_json(below) for below in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


def print_inspection(console: Console, run: str, view: View) -> None:
    """Print a page of rows. The first page begins with the counts.

    Raises: RunError: for the same reasons as `inspect_run`.
    """
    manifest, counts, page, old = inspect_run(run, view, whole=False)
    if manifest.withdrawn is not None:
        note = f"{NOTHING_PUBLISHED} {escape_name(manifest.withdrawn, TURN_CHARACTERS)}."
        console.print(Text(note, style="bold red"))
    if counts and not view.start and view.filters.row is None:
        console.print(render_counts(counts, manifest))
    for number, row in enumerate(page.rows, page.start + 1):
        was = old.rows.get((row.source, row.row))
        console.print(render_row(row, number, page.total, manifest, view.full, was))
    if old.missing:
        console.print(Text(escape_name(old.missing, LONGEST_NOTE), style="italic"))
    # a wrapped command can't be copied
    is_all = view.filters.decision is None and view.filters.row is None
    taken = count_taken_rows(run, manifest, view.filters) if is_all else 0
    console.print(render_end(page, run, view, taken), soft_wrap=True)
    for line in name_exceptions(page.rows, run, manifest):
        console.print(Text(line), soft_wrap=True)


def render_end(page: Page, run: str, view: View, taken: int = 0) -> Text:
    """Show the number of rows, and the commands for the neighbouring pages.

    Only a person took out `taken` of the rows.
    """
    # kept rows have no score above a threshold to be sorted by
    by_distance = view.order == "decision" and view.filters.decision == "keep"
    order = f", {ORDERS['threshold' if by_distance else view.order]}" if page.total > 1 else ""
    lines = [f"{describe_selection(page.total, view.filters, taken)}{order}"]
    if signs := _explain_signs(page.rows):
        lines[0] += f"; {signs}"
    lines[0] += "."
    if page.limit and page.total and not page.rows:
        lines.append(f"There is no row at --start {page.start}.")
    if not view.full and any(map(_is_cut, page.rows)):
        lines.append("Long texts are cut; --full shows whole rows.")
    for name, start in (("next", page.next_start), ("previous", page.previous_start)):
        if start is not None:
            lines.append(f"{name}: {build_command(run, view._replace(start=start))}")
    lines += _name_evaluation(page, run, view)
    if not storage.is_local(run):
        lines.append(f"not checked: the run's files; run congener verify {shlex.quote(run)}")
    return Text("\n".join(lines))


def _name_evaluation(page: Page, run: str, view: View) -> Iterator[str]:
    """Name the command that records whether a reader agrees with the rows on a page."""
    found = [reason.trait for row in page.rows if row.record for reason in row.reasons]
    traits = list(dict.fromkeys(found))
    if traits:
        named = view.filters.trait or (traits[0] if len(traits) == 1 else "TRAIT")
        yield (
            "to label rows and measure the trait: "
            f"congener traits eval {named} --run {quote_word(run)}"
        )


def _is_cut(row: ShownRow) -> bool:
    """Return whether the excerpts of a row leave out some of its text."""
    if row.record is None:
        return False
    said = [row.question, row.answer]
    for item in row.reasons or row.near:
        said.append(item.question)
        before, after = item.start, len(item.text or "") - item.end
        if item.text and (max(before, after) > CONTEXT or item.end - item.start > LONGEST_SPAN):
            return True
    return any(len(item.text) > TURN_CHARACTERS for item in said if item is not None)


def _explain_signs(rows: Sequence[ShownRow]) -> str:
    """Say what the brackets in these rows enclose."""
    shown = [row for row in rows if row.record is not None]
    has_evidence, has_masks = any(row.reasons for row in shown), any(row.masks for row in shown)
    if has_evidence and has_masks:
        return "«» encloses the evidence, and ⟦⟧ what is masked"
    if has_masks:
        return "⟦⟧ encloses what is masked"
    return "«» encloses the evidence" if has_evidence else ""


def describe_selection(total: int, filters: Filters, taken: int = 0) -> str:
    """Describe a view's filters and number of rows, and how many only a person took out."""
    rows = format_count(total - taken, "row")
    lots = any(filters.select_lots()._replace(file=None))
    selected = " of the selected lots" if lots else ""
    selected += "" if filters.file is None else f" in {escape_name(filters.file)}"
    if filters.row is not None:
        return f"{rows}{selected} with this number or id"
    if filters.decision is not None:
        if filters.decision == "swap" and filters.trait:
            return f"{rows}{selected} whose answers were replaced because of {filters.trait}"
        trait = f" on which {filters.trait} fired" if filters.trait else ""
        trait = "" if filters.decision == "keep" else trait
        return f"{rows}{selected} with the decision {filters.decision}{trait}"
    others = f" and {taken:,} taken out by a person" if taken else ""
    return f"{rows}{selected} on which {filters.trait or 'a trait'} fired{others}"


def build_command(run: str, view: View) -> str:
    """Return the command that shows a page."""
    options = [
        f"--{name.replace('_', '-')}={quote_word(value)}"
        for name, value in view.filters._asdict().items()
        if value is not None
    ]
    options += [] if view.order == View().order else [f"--sort {view.order}"]
    options += ["--full"] * view.full
    options += [] if view.parent is None else [f"--parent={quote_word(view.parent)}"]
    words = [quote_word(run), *options, f"--start {view.start}", f"--limit {view.limit}"]
    return f"congener inspect {' '.join(words)}"
