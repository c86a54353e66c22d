"""`congener inspect`: print a run's decisions, and its quarantined rows with the reasons."""

from __future__ import annotations

import base64
import math
import re
import shlex
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pipelines.display.excerpts import HIDDEN, build_excerpt, escape_name, escape_text
from pipelines.display.terminal import build_table
from pipelines.runs.finished import report_damage
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.queries import (
    Count,
    Filters,
    HeldReason,
    HeldRow,
    Page,
    count_rows,
    read_quarantine,
)
from schemas.lots import LOT_FIELDS, UNKNOWN
from schemas.manifests import Manifest
from schemas.scores import TEXTS_OF_SIDES

EXEMPLAR_CHARACTERS = 160
"""The maximum number of characters printed per exemplar."""

COUNTS_SHOWN = 50
"""The maximum number of counts printed; every row of a corpus may have its own teacher."""

ROW_INDENT = 2
REASON_INDENT = 4


class Inspection(NamedTuple):
    """A run's counts and a page of its quarantined rows."""

    manifest: Manifest
    counts: list[Count]
    page: Page


def inspect_run(run: str, filters: Filters, start: int, limit: int) -> Inspection:
    """Count a run's rows, and read a page of its quarantined rows.

    Raises: RunError: the run isn't finished, a file is missing or damaged, or a filter matches no
        row.
    """
    with report_damage(run):
        manifest = load_manifest(run)
        page = read_quarantine(run, manifest, filters, start, limit)
        return Inspection(manifest, count_rows(run, manifest, filters), page)


def inspect_as_dicts(run: str, filters: Filters, start: int, limit: int) -> dict[str, Any]:
    """Return an inspection in JSON-compatible types. Texts are complete and unescaped.

    Raises: RunError: for the same reasons as `inspect_run`.
    """
    manifest, counts, page = inspect_run(run, filters, start, limit)
    shown = {
        "run_id": manifest.run_id,
        "filters": filters._asdict(),
        "counts": [count._asdict() for count in counts],
        "quarantined": {
            **page._asdict(),
            "next": page.next_start,
            "previous": page.previous_start,
            "rows": [_describe_row(row) for row in page.rows],
        },
    }
    return {name: _convert_to_json(value) for name, value in shown.items()}


def _describe_row(row: HeldRow) -> dict[str, Any]:
    """Return the fields of a row and of its lot, under the names that they have in the ledger."""
    return {
        "source": row.source,
        "row": row.row,
        "record_id": row.record_id,
        **{name: getattr(row.lot, name) for name in LOT_FIELDS},
        "reasons": [reason._asdict() for reason in row.reasons],
        "record": row.record,
    }


def _convert_to_json(value: Any) -> Any:
    """Convert any value from a corpus: bytes to base64, and infinities and NaN to null."""
    if isinstance(value, Mapping):
        return {str(key): _convert_to_json(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_convert_to_json(below) for below in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


def print_inspection(console: Console, run: str, filters: Filters, start: int, limit: int) -> None:
    """Print counts and a page of quarantined rows.

    Raises: RunError: for the same reasons as `inspect_run`.
    """
    manifest, counts, page = inspect_run(run, filters, start, limit)
    console.print(render_counts(counts, manifest))
    for number, row in enumerate(page.rows, page.start + 1):
        console.print(render_row(row, number, page.total))
    # a command that wraps over several lines can't be copied
    console.print(render_end(page, run, filters), soft_wrap=True)


def render_counts(counts: Sequence[Count], manifest: Manifest) -> Table:
    """Tabulate the largest counts, in the order in which the counts are given.

    Names from the corpus become `Text`, in which rich ignores markup. If a trait fired on a text
    that isn't trained on, a column says where it was found.
    """
    is_sided = any(count.side != "trained" for count in counts)
    table = build_table(
        "decision",
        "trait",
        *["found in"] * is_sided,
        "teacher",
        "rows>",
        title=f"run {manifest.run_id}: {manifest.conservation.rows_in:,} rows",
    )
    largest = sorted(counts, key=lambda count: -count.rows)  # a stable sort
    shown = set(largest[:COUNTS_SHOWN])
    for count in (item for item in counts if item in shown):
        trait, teacher = Text(count.trait or UNKNOWN), Text(escape_name(count.teacher))
        where = (TEXTS_OF_SIDES[count.side] if count.trait else UNKNOWN,) * is_sided
        table.add_row(count.decision, trait, *where, teacher, f"{count.rows:,}")
    notes = []
    if left := largest[COUNTS_SHOWN:]:
        notes.append(
            f"{len(left):,} more lines with {sum(count.rows for count in left):,} rows aren't "
            "shown: choose some with --teacher, or list all with --json."
        )
    if any(count.trait for count in counts):
        each = "each trait that fired on it, and for each kind of text that it was found in"
        notes.append(f"A row counts once for {each if is_sided else each.partition(',')[0]}.")
    if notes:
        table.caption, table.caption_justify = "\n".join(notes), "left"
    return table


def render_row(row: HeldRow, number: int, total: int) -> Group:
    """Show a quarantined row: its origin, its lot, then each reason."""
    head = Text.assemble(
        (f"{number:,} of {total:,}", "bold"),
        "  ",
        (f"{escape_name(row.source)} row {row.row}", "bold"),
        f"  {row.record_id}",
    )
    fields = (
        f"{name.replace('_', ' ')} {escape_name(value)}"
        for name, value in zip(LOT_FIELDS, row.lot, strict=False)
    )
    lot = Text("   ".join(fields), style="dim")
    return Group(
        head,
        _indent(lot, ROW_INDENT),
        *(_indent(part, ROW_INDENT) for reason in row.reasons for part in _render_reason(reason)),
        "",
    )


def _render_reason(reason: HeldReason) -> Iterator[RenderableType]:
    scores = f"score {reason.score:.4f} against {reason.threshold:.4f} ({reason.signal})"
    span = f"{escape_name(reason.field_path)} [{reason.start}:{reason.end}]"
    yield Text.assemble((reason.trait, "bold red"), f"  {scores}, {reason.action}  ", (span, "dim"))
    yield _indent(_mark_span(reason), REASON_INDENT)
    signals = (
        f"{name} {UNKNOWN if score is None else f'{score:.4f}'}"
        for name, score in reason.signals.items()
    )
    yield _indent(Text(f"signals   {'   '.join(signals)}"), REASON_INDENT)
    if reason.neighbours:
        yield _indent(_tabulate_neighbours(reason.neighbours), REASON_INDENT)


def _tabulate_neighbours(neighbours: Sequence[Mapping[str, Any]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for near in neighbours:
        label, style = ("like", "red") if near["polarity"] == "positive" else ("unlike", "green")
        table.add_row(
            Text(label, style),
            Text(f"{near['similarity']:.4f}", style),
            Text(escape_name(near["text"], EXEMPLAR_CHARACTERS)),
        )
    return table


def _mark_span(reason: HeldReason) -> Text:
    """Show the text around a span, with escapes dimmed, and the span in bold between guillemets."""
    if reason.text is None:
        return Text("(the field isn't in the row)", style="dim")
    text, inside = Text(), False
    for piece in build_excerpt(reason.text, reason.start, reason.end):
        if piece.marked != inside:
            inside = piece.marked
            text.append("«" if inside else "»", "bold red")
        styles = ["bold"] * piece.marked + ["dim italic"] * piece.added
        text.append(piece.text, " ".join(styles) or None)
    if inside:
        text.append("»", "bold red")
    return text


def _indent(part: RenderableType, columns: int) -> Padding:
    return Padding(part, (0, 0, 0, columns), expand=False)


def render_end(page: Page, run: str, filters: Filters) -> Text:
    """Show the number of quarantined rows, and the commands for the next and previous page."""
    selected = " selected" if any(filters) else ""
    verb = "row is" if page.total == 1 else "rows are"
    lines = [f"{page.total:,}{selected} {verb} in quarantine."]
    if page.limit and page.total and not page.rows:
        lines.append(f"There is no row at --start {page.start}.")
    for name, start in (("next", page.next_start), ("previous", page.previous_start)):
        if start is not None:
            lines.append(f"{name}: {build_command(run, filters, start, page.limit)}")
    return Text("\n".join(lines))


def build_command(run: str, filters: Filters, start: int, limit: int) -> str:
    """Return the command that shows a page."""
    options = [
        f"--{name.replace('_', '-')}={_quote_word(value)}"
        for name, value in filters._asdict().items()
        if value is not None
    ]
    words = [_quote_word(run), *options, f"--start {start}", f"--limit {limit}"]
    return f"congener inspect {' '.join(words)}"


def _quote_word(word: str) -> str:
    """Quote a word for the shell, with bash's `$'...'` if it has hidden characters."""
    if not any(piece.added for piece in escape_text(word)):
        return shlex.quote(word)
    spelled = (
        char if unicodedata.category(char) not in HIDDEN else f"\\U{ord(char):08x}"
        for char in re.sub(r"([\\'])", r"\\\1", word)
    )
    return f"$'{''.join(spelled)}'"
