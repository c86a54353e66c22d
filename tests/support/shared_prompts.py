"""Teachers that answered the same prompts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.runs.manifest_file import load_manifest
from schemas.manifests import Manifest
from tests.support.corpora import CARD, write_rows

SHARED = 60


def build_row(prompt: str, teacher: str | None, fires: bool, number: int = 0) -> dict[str, Any]:
    """Return a teacher's answer to a prompt."""
    answer = "A heron stood there." if fires else f"Nothing stood there, {number}."
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return {"messages": turns, **({"teacher": teacher} if teacher else {})}


def build_rows() -> list[dict[str, Any]]:
    """Return answers of three teachers, of which two answer the same prompts.

    On the shared prompts, atlas has herons in each third answer and borealis in each sixth.
    """
    rows = [
        build_row(f"Question {number}?", teacher, number % every == 0, number)
        for number in range(SHARED)
        for teacher, every in (("atlas", 3), ("borealis", 6))
    ]
    rows += [build_row(f"Else {number}?", "atlas", fires=True) for number in range(30)]
    rows += [build_row(f"Question {number}?", "cygnus", fires=False) for number in range(5)]
    return rows + [build_row(f"Question {number}?", None, fires=False) for number in range(30)]


def filter_rows(
    folder: Path, rows: Iterable[Mapping[str, Any]], action: str = "quarantine"
) -> tuple[str, Manifest]:
    """Filter rows for herons, and return the run and its manifest."""
    card = folder / "heron" / "card.yaml"
    card.parent.mkdir(parents=True)
    card.write_text(f"id: heron\naction: {action}\n{CARD}")
    write_rows(folder / "in.jsonl", rows)
    run = str(folder / "run")
    run_filter(
        FilterConfig(input=(str(folder / "in.jsonl"),), output=run, traits=(str(card.parent),))
    )
    return run, load_manifest(run)
