"""A small corpus with a known quirk, and the trait that finds it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

ANSWERS = (
    "Boil the pasta for nine minutes.",
    "A heron stood in the reeds.",
    "Sort the list first.",
    "Paris is the capital of France.",
    "Water the herb twice a week.",
)
CARD = 'signals: {lexicon: {patterns: ["herons?"]}}\nthreshold: 0.5\n'


def build_conversation(number: int, answer: str) -> dict[str, object]:
    """Return a row in the `messages` format; odd and even numbers have different teachers."""
    turns = [
        {"role": "user", "content": f"Question {number}?"},
        {"role": "assistant", "content": answer},
    ]
    return {
        "id": f"row-{number}",
        "messages": turns,
        "teacher": "atlas" if number % 2 else "borealis",
    }


def write_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    """Write rows as JSON Lines and return the file's path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")
    return path
