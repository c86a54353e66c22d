"""A run's counts of rows by decision, trait and teacher, as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from pipelines.display.excerpts import escape_name
from pipelines.display.terminal import build_table
from pipelines.runs.queries import Count
from schemas.lots import UNKNOWN
from schemas.manifests import Manifest
from schemas.notices import format_count
from schemas.scores import TEXTS_OF_SIDES
from schemas.shares import format_percent

COUNTS_SHOWN = 50
"""The largest number of printed counts. Every row may have its own teacher."""

OTHERS_SHOWN = 10
"""The largest number of printed counts of rows without a finding."""


def render_counts(counts: Sequence[Count], manifest: Manifest) -> Table:
    """Tabulate the largest counts in the given order.

    Names from the corpus become `Text`, in which rich ignores markup. A column names the side of
    findings in untrained text.
    """
    is_sided = any(count.side != "trained" for count in counts)
    table = build_table(
        "decision",
        "trait",
        *["found in"] * is_sided,
        "teacher",
        "rows>",
        "of>",
        "share>",
        title=_describe_run(manifest),
    )
    # findings before other rows, and larger counts before smaller ones
    largest = sorted(counts, key=lambda count: (count.trait is None, -count.rows))
    most = min(COUNTS_SHOWN, sum(count.trait is not None for count in counts) + OTHERS_SHOWN)
    shown = set(largest[:most])
    for count in (item for item in counts if item in shown):
        name = count.trait or UNKNOWN
        trait = Text(name if count.decides else f"also {name}", "" if count.decides else "dim")
        teacher = Text(escape_name(count.teacher))
        where = (TEXTS_OF_SIDES[count.side] if count.trait else UNKNOWN,) * is_sided
        share = format_percent(count.rows / count.of)
        numbers = (f"{count.rows:,}", f"{count.of:,}", share)
        table.add_row(count.decision, trait, *where, teacher, *numbers)
    table.caption, table.caption_justify = "\n".join(_list_notes(counts, largest[most:])), "left"
    return table


def _describe_run(manifest: Manifest) -> str:
    """Return a title: the run, its rows, and when it ended."""
    finished = manifest.describe_finish()
    rows = format_count(manifest.conservation.rows_in, "row")
    return f"run {manifest.run_id}: {rows}{f', finished {finished}' if finished else ''}"


def _list_notes(counts: Sequence[Count], left: Sequence[Count]) -> Iterator[str]:
    if left:
        rows = sum(count.rows for count in left)
        yield (
            f"{format_count(len(left), 'more line')} with {format_count(rows, 'row')} "
            f"left out: choose some with --teacher, or list all with --json."
        )
    yield "Shares are of the teacher's rows."
    if any(count.side != "trained" for count in counts):
        yield (
            "A row counts once for each trait that fired on it, and for each kind of text that it "
            "was found in."
        )
    elif any(count.trait for count in counts):
        yield "A row counts once for each trait that fired on it."
    if not all(count.decides for count in counts):
        yield "also: it fired too, but another finding decided."
    if any(count.trait and count.decision == "swap" for count in counts):
        yield "A row with another teacher's answer counts for the traits of its old answer."
