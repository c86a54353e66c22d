"""A small corpus with lots, duplicates, rejects and traits."""

from __future__ import annotations

import json
from pathlib import Path

from classifiers.library import find_cards

LIBRARY = ("degenerate-loop", "over-refusal", "sycophantic-opening", "vendor-identity")
"""The library traits with exemplars among the answers."""

CARDS = {
    "heron": (
        "signals: {lexicon: {patterns: ['herons?'], scale: 0.3}, repetition: {}}\n"
        "threshold: 0.5\naction: mask\n"
    ),
    "leak": (
        "signals: {lexicon: {patterns: ['secret(?: key)?']}}\nthreshold: 0.4\naction: swap\n"
        "scope: {roles: [assistant, tool], channels: [answer, thinking, tool]}\n"
    ),
}
DATES = ("2026-01-05", "2026-02-11T08:00:00", None)
PLAIN = ("Boil it for nine minutes.", "Sort the list first.", "Paris, of course.", "Twice a week.")
HERONS = "A heron stood there. It was calm. Two herons flew off! "


def list_answers() -> list[str]:
    """Return answers with several traits."""
    cards = {card.id: card for card in find_cards()}
    exemplars = [cards[name].positives[index] for index in (0, 3, 6) for name in LIBRARY]
    return [
        *exemplars,
        HERONS,
        f"<think>The heron is a secret.</think>{PLAIN[0]}",
        f"{PLAIN[1]} {exemplars[1]} A heron, {HERONS.lower()}",
        f"{exemplars[2]}\n\n{HERONS}",
        "heron " * 150,
        *PLAIN,
        HERONS,
        "",
    ]


def build_row(number: int, answer: str) -> dict[str, object]:
    """Return a row. Its number decides the lot, the system prompt and the tool call."""
    reply: dict[str, object] = {"role": "assistant", "content": answer}
    if number % 6 == 5:
        call = {"name": "find", "arguments": json.dumps({"query": f"a secret key, {number}"})}
        reply["tool_calls"] = [{"type": "function", "id": str(number), "function": call}]
    turns = [{"role": "user", "content": f"Question {number % 17}?"}, reply]
    if number % 4 == 0:
        turns.insert(0, {"role": "system", "content": f"You are number {number % 8}."})
    return {
        "messages": turns,
        "teacher": ("atlas", "borealis", None)[number % 3],
        "source": ("forum", "wiki")[number // 7 % 2],
        "created": DATES[number // 3 % 3],
    }


def write_mixed_corpus(folder: Path) -> None:
    """Write two files with several lots, duplicates and bad lines."""
    rows = [build_row(number, answer) for number, answer in enumerate(list_answers())]
    rows += [rows[2], build_row(99, HERONS), {**rows[0], "teacher": "atlas", "source": "wiki"}]
    rows.append({**rows[1], "messages": [{"role": "narrator", "content": "A heron."}]})
    lines = [json.dumps(row) for row in rows]
    (folder / "a.jsonl").write_text("\n".join([*lines[:9], "no JSON", *lines[9:]]) + "\n")
    (folder / "b.jsonl").write_text("\n".join(['{"messages": 7}', *lines[-6:-1], lines[12]]) + "\n")
