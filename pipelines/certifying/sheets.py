"""What raters read: the items of a sample as lines of a label file, without scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from pipelines.certifying.answers import name_draw
from pipelines.certifying.draws import PositiveText
from pipelines.label_files import read_entries
from pipelines.runs.finished import MISFITS, read_rows, report_damage, scan_folder
from pipelines.runs.shown_rows import build_layout
from schemas.certificates import AuditItem, AuditSample
from schemas.errors import CardError
from schemas.manifests import Manifest
from schemas.outputs import CLEAN_EXTRA
from transforms.records.formats import Layout
from transforms.records.questions import extract_record_segments
from transforms.records.segments import Segments

Stretch: TypeAlias = tuple[int, int]
"""The first character of a stretch of text, and the one after its last."""


class ShownTexts(NamedTuple):
    """The prompt and the answer of an item. The prompt is empty if there is none.

    `masked_prompt` and `masked_answer` are the masked stretches of each text, in characters.
    `system` is the system text with which the prompt begins, with its speaker.
    """

    prompt: str
    answer: str
    masked_prompt: tuple[Stretch, ...] = ()
    masked_answer: tuple[Stretch, ...] = ()
    system: str = ""

    def list_masked(self, with_prompt: bool) -> Iterator[dict[str, Any]]:
        """Yield the masked passages as a label file lists them."""
        sides = [("prompt", self.prompt, self.masked_prompt)] if with_prompt else []
        for name, text, masked in (*sides, ("answer", self.answer, self.masked_answer)):
            for start, end in masked:
                yield {"in": name, "start": start, "end": end, "text": text[start:end]}


def write_lines(
    run: str,
    manifest: Manifest,
    sample: AuditSample,
    items: Sequence[AuditItem],
    positives: Sequence[PositiveText],
) -> Iterator[dict[str, Any]]:
    """Yield the lines of a label file, in the order of reading.

    No line says where its text comes from, or what the filter did with it, except for the masked
    passages of a kept row: without them, a rater would label text that isn't learnt. A sample from
    before has none.

    Raises: CardError: the seeded texts aren't those of the sample.
    """
    rows = read_shown_texts(run, manifest, items)
    seeded = {item.describe().text: item for item in positives}
    systems, draw = _list_systems(sample, rows), name_draw(sample)
    for item in items:
        if item.kind == "seeded":
            if item.text not in seeded:
                raise CardError(
                    f"the text of item {item.id} isn't among the positives any more",
                    where=run,
                    remedy="give the same positives as before, or draw a new sample with --restart",
                )
            shown = _show_seeded(seeded[item.text], systems, int(item.id))
        else:
            shown = rows[str(item.source), int(item.row or 0)]
        prompt = {"prompt": shown.prompt} if systems and shown.prompt else {}
        masked = [*shown.list_masked(bool(prompt))] if sample.masked_by is not None else []
        yield {
            "id": item.id,
            "draw": draw,
            "traits": list(sample.traits),
            **prompt,
            "answer": shown.answer,
            **({"masked": masked} if masked else {}),
            "label": None,
        }


def is_unlabelled(path: Path) -> bool:
    """Return whether a file has only items that `write_lines` wrote, none of them labelled.

    Raises: CardError: the file isn't JSON Lines.
    """
    fields = [entry.fields for entry in read_entries(path)]
    return all({"id", "traits", "answer", "label"} <= item.keys() for item in fields) and all(
        item["label"] is None for item in fields
    )


def _list_systems(sample: AuditSample, rows: Mapping[tuple[str, int], ShownTexts]) -> list[str]:
    """Return the system text of each drawn row with a prompt, which may be empty.

    The list is empty if raters see no prompts: a seeded text has none, or most rows have none, so
    that a text with a prompt would stand out.
    """
    shown = [rows[place] for place in sorted(rows) if rows[place].prompt]
    if not sample.shows_prompts or 2 * len(shown) < len(rows):
        return []
    return [row.system for row in shown] or [""]


def _show_seeded(text: PositiveText, systems: Sequence[str], number: int) -> ShownTexts:
    """Return a seeded text whose prompt begins with a drawn row's system text, as rows' do."""
    prompt = text.prompt or ""
    system = systems[number % len(systems)] if systems and prompt else ""
    return ShownTexts(f"{system}\n\nuser: {prompt}" if system else prompt, text.text)


def read_shown_texts(
    run: str, manifest: Manifest, items: Sequence[AuditItem]
) -> dict[tuple[str, int], ShownTexts]:
    """Read the texts of the rows among some items, one file at a time.

    Raises: RunError: a file of the run is missing or damaged.
    """
    wanted = {(item.source, item.row) for item in items if item.kind != "seeded"}
    layout = build_layout(manifest)
    found: dict[tuple[str, int], ShownTexts] = {}
    with report_damage(run, *MISFITS):
        columns = ("source", "row", "output", "output_row")
        ledger = scan_folder(run, manifest, "ledger").select(columns).collect()
        places = [line for line in ledger.iter_rows() if line[:2] in wanted]
        for path, lines in groupby(sorted(places, key=lambda line: line[2]), lambda line: line[2]):
            own = list(lines)
            records = read_rows(run, path, [line[3] for line in own])
            for source, row, _, index in own:
                found[source, row] = show_record(records[index], layout)
    return found


def show_record(record: Mapping[str, Any], layout: Layout) -> ShownTexts:
    """Return what comes before a record's last answer, and the answer, as texts.

    Only the chosen side of a pair is shown. Without an answer, the whole text is in its place.
    """
    segments = extract_record_segments(record, layout)
    rejected = {layout.columns.get(name) for name in ("rejected", "rejected_response")}
    columns = [segments.fields[code].column for code in segments.field_codes.tolist()]
    chosen = [place for place, column in enumerate(columns) if column not in rejected]
    segments = segments.take(np.array(chosen, np.int64))
    roles, last = segments.roles, len(segments)
    while last and roles[last - 1] == "assistant":
        last -= 1
    if last == len(segments):
        last = 0
    masks = _list_masks(record)
    prompt, masked_prompt = _join(segments, 0, last, masks)
    answer, masked_answer = _join(segments, last, len(segments), masks)
    system = f"system: {segments.texts[0]}" if last > 1 and roles[0] == "system" else ""
    return ShownTexts(prompt, answer, masked_prompt, masked_answer, system)


def _list_masks(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the masks in a record's field `congener`, which removed rows don't have."""
    note = record.get(CLEAN_EXTRA.name)
    return list(note.get("masks") or ()) if isinstance(note, dict) else []


def _join(
    segments: Segments, first: int, last: int, masks: Sequence[Mapping[str, Any]]
) -> tuple[str, tuple[Stretch, ...]]:
    """Join texts, with their speakers if there are several, and return where they are masked."""
    channels = segments.channels
    names = [
        role if channels[place] in ("answer", "") else f"{role} ({channels[place]})"
        for place, role in enumerate(segments.roles[first:last], first)
    ]
    has_names = len(set(names)) > 1
    whole, masked = "", list[Stretch]()
    for place, name in enumerate(names, first):
        whole += ("\n\n" if whole else "") + (f"{name}: " if has_names else "")
        masked += _place_masks(segments, place, masks, len(whole))
        whole += segments.texts[place]
    return whole, tuple(masked)


def _place_masks(
    segments: Segments, place: int, masks: Sequence[Mapping[str, Any]], offset: int
) -> Iterator[Stretch]:
    """Yield a segment's masked stretches, in a text in which it begins at `offset`."""
    begin, size = int(segments.starts[place]), len(segments.texts[place])
    for mask in masks:
        start, end = max(mask["start"] - begin, 0), min(mask["end"] - begin, size)
        if mask["field_path"] == segments.field_paths[place] and start < end:
            yield offset + start, offset + end
