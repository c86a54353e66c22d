"""A replaced row on a terminal: the outcome, and the old answer above the new one."""

from __future__ import annotations

from collections.abc import Iterator

from rich.padding import Padding
from rich.text import Text

from pipelines.display.excerpts import build_excerpt, escape_name
from pipelines.display.highlights import join_pieces, show_whole_row
from pipelines.runs.shown_findings import TraitFinding
from pipelines.runs.shown_rows import ShownRow
from schemas.swaps import REPLACED, SENTENCES
from transforms.records.formats import Layout

INDENT = 2
OLD_CHARACTERS = 240
"""How many characters are shown of an old answer without evidence."""

LONGEST_SENTENCE = 600
"""How many characters of a sentence about a swap are shown."""


def explain_swap(row: ShownRow) -> str | None:
    """Say what a swap did to a row, or return None if the row wasn't to be replaced."""
    return None if row.swap is None else escape_name(row.swap.explain(), LONGEST_SENTENCE)


def is_replaced(row: ShownRow) -> bool:
    """Return whether a donor's answer is in a row."""
    return row.swap is not None and row.swap.outcome in (REPLACED, SENTENCES, None)


def render_old_answer(
    row: ShownRow, old: ShownRow | None, layout: Layout | None = None
) -> Iterator[Text | Padding]:
    """Show the answer that a replaced row had, around its evidence, or whole with a `layout`."""
    if old is None or not is_replaced(row):
        return
    yield Text("old answer", style="bold")
    if layout is not None:
        yield from (_indent(part) for part in show_whole_row(old, layout))
    else:
        yield from map(_indent, _show_findings(old))
    yield Text("new answer", style="bold")


def _show_findings(old: ShownRow) -> Iterator[Text]:
    for finding in old.reasons:
        scores = f"score {finding.score:.4f} against {finding.threshold:.4f}"
        yield Text.assemble((finding.trait, "bold red"), f"  {scores} ({finding.signal})")
        if finding.text is not None:
            yield _show_evidence(finding, finding.text)
    if not any(finding.text is not None for finding in old.reasons) and old.answer is not None:
        yield Text(escape_name(old.answer.text, OLD_CHARACTERS))


def _show_evidence(finding: TraitFinding, text: str) -> Text:
    return join_pieces(build_excerpt(text, finding.start, finding.end))


def _indent(part: Text | Padding) -> Padding:
    return Padding(part, (0, 0, 0, INDENT), expand=False)
