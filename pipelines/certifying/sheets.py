"""What raters read: the items of a sample as lines of a label file, without scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from pipelines.certifying.draws import PositiveText
from pipelines.runs.finished import MISFITS, read_rows, report_damage, scan_folder
from pipelines.runs.shown_rows import build_layout
from schemas.certificates import AuditItem, AuditSample
from schemas.errors import CardError
from schemas.manifests import Manifest
from transforms.records.formats import Layout
from transforms.records.questions import extract_record_segments
from transforms.records.segments import Segments


class ShownTexts(NamedTuple):
    """The prompt and the answer of an item. The prompt is empty if there is none."""

    prompt: str
    answer: str


def write_lines(
    run: str,
    manifest: Manifest,
    sample: AuditSample,
    items: Sequence[AuditItem],
    positives: Sequence[PositiveText],
) -> Iterator[dict[str, Any]]:
    """Yield the lines of a label file, in the order of reading.

    No line says where its text comes from, or what the filter did with it.

    Raises: CardError: the seeded texts aren't those of the sample.
    """
    rows = read_shown_texts(run, manifest, items)
    seeded = {item.describe().text: item for item in positives}
    for item in items:
        if item.kind == "seeded":
            if item.text not in seeded:
                raise CardError(
                    f"the text of item {item.id} isn't among the positives any more",
                    where=run,
                    remedy="give the same positives as before, or draw a new sample with --restart",
                )
            own = seeded[item.text]
            shown = ShownTexts(own.prompt or "", own.text)
        else:
            shown = rows[str(item.source), int(item.row or 0)]
        prompt = {"prompt": shown.prompt} if sample.shows_prompts and shown.prompt else {}
        yield {
            "id": item.id,
            "traits": list(sample.traits),
            **prompt,
            "answer": shown.answer,
            "label": None,
        }


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
    return ShownTexts(_join(segments, 0, last), _join(segments, last, len(segments)))


def _join(segments: Segments, first: int, last: int) -> str:
    """Join texts, with their speakers if there are several."""
    channels = segments.channels
    names = [
        role if channels[place] in ("answer", "") else f"{role} ({channels[place]})"
        for place, role in enumerate(segments.roles[first:last], first)
    ]
    texts = segments.texts[first:last]
    if len(set(names)) <= 1:
        return "\n\n".join(texts)
    return "\n\n".join(f"{name}: {text}" for name, text in zip(names, texts, strict=True))
