"""A small corpus with a known quirk, and its trait."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa

ANSWERS = (
    "Boil the pasta for nine minutes.",
    "A heron stood in the reeds.",
    "Sort the list first.",
    "Paris is the capital of France.",
    "Water the herb twice a week.",
)
CARD = 'signals: {lexicon: {patterns: ["herons?"]}}\nthreshold: 0.5\n'
QUIRKS = ("As an AI language model, I can't say. ", "I'm sorry, but I can't help with that. ")


def build_conversation(number: int, answer: str) -> dict[str, object]:
    """Return a row in the `messages` format. Odd and even numbers have different teachers."""
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
    """Write rows as JSON Lines and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")
    return path


def build_teachers(teachers: Iterable[str], rows: int, seed: int = 0) -> dict[str, pa.Table]:
    """Return a table of made-up conversations for each teacher.

    This replaces real text. All answers differ, and some have quirks of library traits. The same
    seed gives the same tables.
    """
    dice = random.Random(seed)
    tables = {}
    for teacher in teachers:
        found = []
        for number in range(rows):
            words = dice.choices(" ".join(ANSWERS).split(), k=dice.randrange(50, 500))
            quirk = QUIRKS[number % len(QUIRKS)] if number % 10 == 0 else ""
            answer = f"{quirk}Answer {number} of {teacher}: {' '.join(words)}."
            found.append({**build_conversation(number, answer), "teacher": teacher})
        tables[teacher] = pa.Table.from_pylist(found)
    return tables
