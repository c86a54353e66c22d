"""Texts for a terminal, with evidence and masks in brackets: excerpts, and whole rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.padding import Padding
from rich.text import Text

from classifiers.phrase_weights import WeighedPhrase
from pipelines.display.excerpts import Piece, build_whole, escape_name
from pipelines.runs.shown_findings import FoundPhrase
from pipelines.runs.shown_rows import ShownRow
from schemas.notices import format_count, list_names
from transforms.records.field_paths import get_field_text
from transforms.records.formats import Layout
from transforms.records.questions import list_fields

BRACKETS = {"marked": ("«", "»", "bold red"), "masked": ("⟦", "⟧", "bold magenta")}
"""The brackets and styles of a span and of a masked stretch."""

TEXT_INDENT = 2

PHRASES_LISTED = 10
"""The largest number of listed phrases of a lexicon."""


FOR, AGAINST = 5, 3
"""How many phrases are named that speak for a trait, and against it."""

WORD = re.compile(r"[\w']+")

LEAST = 0.05
"""The least weight of a phrase that is named, in units of the logit."""


def join_pieces(pieces: Sequence[Piece]) -> Text:
    """Join pieces, with brackets around spans and masked stretches."""
    text, before = Text(), Piece("")
    for piece in (*pieces, Piece("")):
        for name in ("marked", "masked"):
            if getattr(before, name) and not getattr(piece, name):
                text.append(BRACKETS[name][1], BRACKETS[name][2])
        for name in ("masked", "marked"):
            if getattr(piece, name) and not getattr(before, name):
                text.append(BRACKETS[name][0], BRACKETS[name][2])
        styles = ["bold"] * piece.marked + ["magenta"] * piece.masked + ["dim italic"] * piece.added
        text.append(piece.text, " ".join(styles) or None)
        before = piece
    return text


def describe_hits(hits: Sequence[FoundPhrase]) -> str:
    """Count the phrases that made a score, and list each once, with how often it occurs.

    Phrases that differ only in case count as the same, and the first is shown.
    """
    counts: dict[str, list[str]] = {}
    for hit in hits:
        counts.setdefault(hit.text.casefold(), []).append(hit.text)
    shown = [
        f"«{escape_name(texts[0])}»{f' ×{len(texts):,}' if len(texts) > 1 else ''}"
        for texts in counts.values()
    ]
    listed = list_names(shown, PHRASES_LISTED)
    return f"{format_count(len(hits), 'phrase')} made this score: {listed}"


def describe_words(words: Sequence[WeighedPhrase]) -> str:
    """Name the weightiest phrases for a trait and against it, each with what it adds.

    A phrase that contains a weightier one, or is part of it, isn't named as well.
    """
    parts = []
    for sign, most, name in ((1, FOR, "for"), (-1, AGAINST, "against")):
        own = [item for item in words if item.weight * sign >= LEAST]
        chosen = list(_drop_parts(own))[:most]
        if chosen:
            parts.append(f"{name} {list_names([_name(item) for item in chosen], most)}")
    return "; ".join(parts)


def _drop_parts(words: Sequence[WeighedPhrase]) -> Iterator[WeighedPhrase]:
    shown: list[str] = []
    for item in words:
        plain = f" {' '.join(WORD.findall(item.text.lower())) or item.text} "
        if not any(plain in known or known in plain for known in shown):
            shown.append(plain)
            yield item


def _name(item: WeighedPhrase) -> str:
    return f"«{escape_name(item.text)}»{' (first)' if item.opens else ''} {item.weight:+.2f}"


class WholeField(NamedTuple):
    """A field of a row, who speaks in it, and safe pieces of its whole text."""

    path: str
    roles: tuple[str, ...]
    pieces: list[Piece]


def show_whole_row(row: ShownRow, layout: Layout) -> Iterator[Text | Padding]:
    """Show every text of a row's record with its line breaks, below its role and field path."""
    for field in list_whole_fields(row, layout):
        roles = escape_name(" and ".join(field.roles))
        yield Text.assemble((roles, "bold"), (f"  {escape_name(field.path)}", "dim"))
        yield Padding(join_pieces(field.pieces), (0, 0, 0, TEXT_INDENT), expand=False)


def list_whole_fields(row: ShownRow, layout: Layout) -> Iterator[WholeField]:
    """Yield every field with text, with the evidence of all findings and the masks marked."""
    if row.record is None:
        return
    findings = row.reasons or row.near
    for field in list_fields(row.record, layout):
        text = get_field_text(row.record, field.path, layout.columns.values())
        marks = [
            (span.start, span.end)
            for item in findings
            for span in (FoundPhrase(item.field_path, item.start, item.end, ""), *item.hits)
            if span.field_path == field.path
        ]
        masks = [(mask.start, mask.end) for mask in row.masks if mask.field_path == field.path]
        yield WholeField(field.path, field.roles, build_whole(text or "", marks, masks))
