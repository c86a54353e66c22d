"""One row of a run on the terminal: its origin, its decision, each reason, and its texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pipelines.display.excerpts import LONGEST_NAME, build_excerpt, escape_name
from pipelines.display.highlights import describe_hits, describe_words, join_pieces, show_whole_row
from pipelines.display.likenesses import describe_doubt, find_likeness, list_patterns
from pipelines.display.swapped_answers import explain_swap, is_replaced, render_old_answer
from pipelines.runs.recorded_settings import read_recorded_policy
from pipelines.runs.shown_findings import TraitFinding
from pipelines.runs.shown_rows import MaskedSpan, ShownRow, build_layout
from pipelines.runs.unread_hits import list_unread_hits
from schemas.lots import LOT_FIELDS, UNKNOWN
from schemas.manifests import Manifest
from transforms.records.field_paths import get_field_text
from transforms.records.questions import SpokenText

EXEMPLAR_CONTEXT = 80
"""How many characters are shown on each side of an exemplar's telling part."""

TURN_CHARACTERS = 240
"""How many characters are shown of a turn without evidence, such as the question."""

LONGEST_CLOSING = 1000
"""How many characters are shown of an answer of which only the end is read."""

MASKS_SHOWN = 10
"""The maximum number of a row's masked stretches shown beside its reasons."""

ROW_INDENT = 2
REASON_INDENT = 4


def render_row(
    row: ShownRow,
    number: int,
    total: int,
    manifest: Manifest,
    full: bool = False,
    old: ShownRow | None = None,
) -> Group:
    """Show a row: its origin, its decision, its lot, each reason, and excerpts or whole texts.

    `old` is the row before a swap replaced its answer.
    """
    head = Text.assemble(
        (f"{number:,} of {total:,}", "bold"),
        "  ",
        (f"{escape_name(row.source)} row {row.row}", "bold"),
        "  ",
        (escape_name(row.decision), "bold cyan"),
        f"  {row.record_id or ''}",
    )
    fields = [
        f"{name.replace('_', ' ')} {escape_name(value)}"
        for name, value in zip(LOT_FIELDS, row.lot, strict=False)
        if value != UNKNOWN
    ]
    lines = [Text("   ".join(fields), style="dim")] if fields else []
    swap = explain_swap(row)
    found: list[RenderableType] = [] if swap is None else [Text(swap, style="italic")]
    found += render_old_answer(row, old, build_layout(manifest) if full else None)
    found += [Text(note, style="italic") for note in explain_shown_row(row, manifest)]
    found += _render_findings(row, manifest, full)
    found += [Text(item.describe(), "bold yellow") for item in list_unread_hits(row, manifest)]
    if full:
        found += show_whole_row(row, build_layout(manifest))
    else:
        found += [*_render_other_masks(row, manifest), *_render_exchange(row, manifest)]
    return Group(head, *(_indent(part, ROW_INDENT) for part in (*lines, *found)), "")


def _render_findings(row: ShownRow, manifest: Manifest, full: bool) -> Iterator[RenderableType]:
    for before, finding in pairwise((None, *(row.reasons or row.near))):
        if finding is not None:
            yield from _render_finding(finding, before, row, manifest, full)


def _render_exchange(row: ShownRow, manifest: Manifest) -> Iterator[RenderableType]:
    """Show the last question and answer, if no finding has a text."""
    if row.question is not None:
        yield _indent(_show_spoken(row.question), REASON_INDENT - ROW_INDENT)
    if row.answer is not None:
        yield _indent(_show_answer(row, row.answer, manifest), REASON_INDENT - ROW_INDENT)


def explain_shown_row(row: ShownRow, manifest: Manifest) -> Iterator[str]:
    """Yield facts about a row besides its reasons."""
    if row.error is not None:
        yield f"couldn't be read: {escape_name(row.error, TURN_CHARACTERS)}"
        yield escape_name((row.raw or b"").decode(errors="replace"), TURN_CHARACTERS)
    elif row.copy_of is not None:
        source, number = row.copy_of
        yield f"repeats {escape_name(source)} row {number}, whose text is shown"
    elif row.record is None:
        uris = (item.uri for item in manifest.inputs if item.name == row.source)
        where = escape_name(next(uris, row.source), 2 * LONGEST_NAME)
        yield f"the run doesn't contain its text: see row {row.row} of {where}"
    elif not row.reasons:
        fired = "fires on the new answer" if is_replaced(row) else "fired"
        yield (
            f"no trait {fired}; nearest to a threshold{_explain_no_passage(row, manifest)}:"
            if row.near
            else "no trait scored above 0"
        )
    exceptions = read_recorded_policy(manifest).exceptions if row.exceptions else ()
    for number, before, after in row.exceptions:
        item = exceptions[number - 1]
        yield (
            f"exception {number} of the policy ({escape_name(item.describe())}) changed "
            f"{before} to {after}: {escape_name(item.reason, TURN_CHARACTERS)}"
        )


def _explain_no_passage(row: ShownRow, manifest: Manifest) -> str:
    """Say why none of a row's near misses has a passage, or return an empty text."""
    if any(item.field_path for item in row.near):
        return ""
    return f" (the run stores no passage for scores below {manifest.span_floor:g})"


def _render_finding(
    finding: TraitFinding,
    before: TraitFinding | None,
    row: ShownRow,
    manifest: Manifest,
    full: bool,
) -> Iterator[RenderableType]:
    """Show a finding without repeating what the finding `before` shows.

    With `full`, the texts are shown below all findings.
    """
    relation = "against" if finding.action else "below"
    scores = f"score {finding.score:.4f} {relation} {finding.threshold:.4f} ({finding.signal})"
    if finding.is_by_person:
        scores = f"score {finding.score:.4f} ({finding.signal}), taken out by a person"
    action = f", {finding.action}" if finding.action else ""
    span = f"{escape_name(finding.field_path)} [{finding.start}:{finding.end}]"
    yield Text.assemble(
        (finding.trait, "bold red" if finding.action else "bold yellow"),
        f"  {scores}{action}  ",
        (span if finding.field_path else "", "dim"),
    )
    if not full:
        yield from _render_texts(finding, before, row)
    if masked := _name_masks(finding, row.masks):
        yield _indent(Text(f"masked    {masked}", style="dim"), REASON_INDENT)
    signals = (
        f"{name} {UNKNOWN if score is None else f'{score:.4f}'}"
        for name, score in finding.signals.items()
    )
    yield _indent(Text(f"signals   {'   '.join(signals)}"), REASON_INDENT)
    if words := describe_words(finding.words):
        yield _indent(Text(f"words     {words}"), REASON_INDENT)
    if finding.neighbours:
        card = manifest.cards.get(finding.trait, {})
        yield _indent(_tabulate_neighbours(finding, list_patterns(card)), REASON_INDENT)
        if doubt := describe_doubt(finding.neighbours):
            yield _indent(Text(doubt, "bold yellow"), REASON_INDENT)
    if len(finding.hits) > 1:
        yield _indent(Text(describe_hits(finding.hits)), REASON_INDENT)


def _name_masks(finding: TraitFinding, masks: Sequence[MaskedSpan]) -> str:
    """Give the ranges of the masks that contain a part of a finding's span."""
    own = [mask for mask in masks if finding.action and _shows([finding], mask)]
    return ", ".join(
        f"[{mask.start}:{mask.end}]{' by an earlier run' if mask.is_earlier else ''}"
        for mask in own
    )


def _render_texts(
    finding: TraitFinding, before: TraitFinding | None, row: ShownRow
) -> Iterator[RenderableType]:
    """Show a finding's question and excerpt, unless the finding `before` has the same."""
    if finding.question is not None and (before is None or before.question != finding.question):
        yield _indent(_show_spoken(finding.question), REASON_INDENT)
    if row.record is not None and finding.field_path:
        is_same = before is not None and _get_span(before) == _get_span(finding)
        same = Text("(the same passage)", style="dim")
        yield _indent(same if is_same else _show_excerpt(finding, row.masks), REASON_INDENT)


def _get_span(finding: TraitFinding) -> tuple[str, int, int]:
    return finding.field_path, finding.start, finding.end


def _show_spoken(said: SpokenText, style: str = "dim") -> Text:
    shown = f"{escape_name(said.role)}: {escape_name(said.text, TURN_CHARACTERS)}"
    return Text(shown, style=style)


def _show_answer(row: ShownRow, said: SpokenText, manifest: Manifest) -> Text:
    """Show the start of an answer, or its end if the nearest trait reads only that.

    If no trait scored above 0, that is so if all traits of the run read only ends.
    """
    names = [row.near[0].trait] if row.near else list(manifest.cards)
    scopes = [manifest.cards.get(name, {}).get("scope", {}) for name in names]
    closings = [scope.get("closing") or 0 for scope in scopes]
    if not closings or not all(closings):
        return _show_spoken(said, style="")
    end, read = len(said.text), max(closings)
    pieces = build_excerpt(said.text, end, end, context=min(read, LONGEST_CLOSING))
    who = f"{escape_name(said.role)}, of whose answer the last {read:,} characters are read: "
    return Text.assemble(who, join_pieces(pieces))


def _tabulate_neighbours(finding: TraitFinding, patterns: Sequence[str]) -> Table:
    """Tabulate the nearest exemplars, each cut around its telling part."""
    table = Table.grid(padding=(0, 2, 0, 0))
    text = finding.text or ""
    own = text[finding.start : finding.end] if finding.end > finding.start else text
    for near in sorted(finding.neighbours, key=lambda near: -near["similarity"]):
        style = "red" if near["polarity"] == "positive" else "green"
        label = near["polarity"]
        label += f" ({near['owner']})" if near.get("owner") else ""
        part = find_likeness(near["text"], patterns, own)
        pieces = build_excerpt(near["text"], *part, context=EXEMPLAR_CONTEXT)
        table.add_row(
            Text(label, style), Text(f"{near['similarity']:.4f}", style), join_pieces(pieces)
        )
    return table


def _show_excerpt(finding: TraitFinding, masks: Sequence[MaskedSpan]) -> Text:
    """Show the text around a span, with masked stretches."""
    if finding.text is None:
        return Text("(the field isn't in the row)", style="dim")
    own = [(mask.start, mask.end) for mask in masks if mask.field_path == finding.field_path]
    return join_pieces(build_excerpt(finding.text, finding.start, finding.end, own))


def _render_other_masks(row: ShownRow, manifest: Manifest) -> Iterator[RenderableType]:
    """Show the masked stretches that contain no span of a reason."""
    columns = manifest.identity.columns.values()
    others = [mask for mask in row.masks if not _shows(row.reasons, mask)]
    if row.record is None:
        return
    for mask in others[:MASKS_SHOWN]:
        whose = "masked by an earlier run" if mask.is_earlier else "masked too"
        yield Text(f"{whose}  {escape_name(mask.field_path)} [{mask.start}:{mask.end}]")
        text = get_field_text(row.record, mask.field_path, columns)
        pieces = build_excerpt(text or "", mask.start, mask.end, [(mask.start, mask.end)])
        plain = [piece._replace(marked=False) for piece in pieces]
        yield _indent(join_pieces(plain), REASON_INDENT)
    if (left := len(others) - MASKS_SHOWN) > 0:
        yield Text(f"and {left:,} more masked stretches; --json lists all")


def _shows(reasons: Sequence[TraitFinding], mask: MaskedSpan) -> bool:
    """Return whether a reason has its span in a masked stretch."""
    return any(
        reason.field_path == mask.field_path and reason.start < mask.end and mask.start < reason.end
        for reason in reasons
    )


def _indent(part: RenderableType, columns: int) -> Padding:
    return Padding(part, (0, 0, 0, columns), expand=False)
