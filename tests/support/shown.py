"""A row as `inspect` shows it, made without a run."""

import io
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from pipelines.display.terminal_rows import render_row
from pipelines.runs.shown_findings import TraitFinding
from pipelines.runs.shown_rows import ShownRow
from schemas.lots import Lot

RUN = SimpleNamespace(
    inputs=(SimpleNamespace(name="rows.jsonl", uri="/in/rows.jsonl"),),
    cards={},
    identity=SimpleNamespace(columns={"text": "text"}),
    span_floor=0.05,
)
"""The parts of a manifest that a row needs."""

REASON = TraitFinding(
    trait="emu",
    signal="combined",
    score=0.5,
    threshold=0.4,
    action="mask",
    field_path="text",
    start=0,
    end=3,
    text="an emu",
    question=None,
    signals={"lexicon": 0.5},
    neighbours=[],
)
ROW = ShownRow("rows.jsonl", 1, "id", Lot("plain"), "mask", (REASON,), (), (), {"text": "an emu"})


def print_row(row: ShownRow, width: int = 10_000, manifest: Any = RUN) -> str:
    """Return one row's output."""
    stream = io.StringIO()
    Console(file=stream, color_system=None, width=width).print(render_row(row, 1, 1, manifest))
    return stream.getvalue()
