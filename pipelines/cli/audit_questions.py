"""The questions of `congener certify --ask`."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.text import Text

from pipelines.certifying.masked_passages import list_stretches, read_masked
from pipelines.display.excerpts import build_whole
from pipelines.display.highlights import join_pieces
from pipelines.display.terminal import Verbatim, open_console
from schemas.errors import CardError
from schemas.notices import choose_form, format_count

if TYPE_CHECKING:
    from rich.console import Console

    from schemas.certificates import AuditSample

SHOWN_CHARACTERS = 6_000
"""How many characters of an answer are shown. What is left out is in the file."""

SHOWN_PROMPT = 1_000


class Asked(NamedTuple):
    """How many items were answered, and how many are left. Ctrl-C is an interruption."""

    answered: int
    left: int
    is_interrupted: bool = False


class AskedResult(NamedTuple):
    """Answers that were saved before all items of a label file were labelled."""

    run: str
    path: str
    asked: Asked

    def render(self) -> Iterator[str | Verbatim]:
        """Say that nothing was stated, and how to go on or state what was read."""
        saved, left = self.asked.answered, self.asked.left
        again = f"congener certify {shlex.quote(self.run)} --labels {shlex.quote(self.path)}"
        yield (
            f"{format_count(saved, 'answer')} saved in {self.path}; "
            f"{format_count(left, 'item')} without a label {choose_form(left, 'is', 'are')} left, "
            "so nothing was stated"
        )
        yield Verbatim(f"to go on: {again} --ask\nto state what was read so far: {again}")

    def to_json(self) -> dict[str, Any]:
        """Return the counts, and that nothing was stated."""
        answered, left = self.asked.answered, self.asked.left
        return {"stated": False, "labels": self.path, "answered": answered, "left": left}


def ask_about_items(path: Path, sample: AuditSample) -> Asked:
    """Ask about the unlabelled items of a label file, and save each answer at once.

    `q`, the end of the input and Ctrl-C end the questions.

    Raises: CardError: the file is a table, or isn't JSON Lines.
    """
    from pipelines.label_files import is_table, read_entries
    from transforms.files.storage import write_bytes

    if is_table(path):
        raise CardError(
            "is a table, to which answers can't be added",
            where=str(path),
            remedy="fill its labels in, and leave --ask out; or name a file of JSON Lines",
        )
    console = open_console(stderr=True, soft_wrap=True)
    lines = [dict(entry.fields) for entry in read_entries(path)]
    left = [line for line in lines if line.get("label") is None]
    for number, line in enumerate(left):
        _show(console, line, f"{number + 1} of {len(left)}")
        try:
            answer = read_answer(console, sample.traits)
        except KeyboardInterrupt:
            console.print()
            return Asked(number, len(left) - number, is_interrupted=True)
        if answer is None:
            return Asked(number, len(left) - number)
        line["label"] = answer
        data = "".join(f"{json.dumps(item, ensure_ascii=False)}\n" for item in lines)
        write_bytes(str(path), data.encode())
    return Asked(len(left), 0)


def _show(console: Console, line: dict[str, Any], place: str) -> None:
    masked = read_masked(line, f"item {line.get('id')}")
    console.print(f"\n{place}: item {line.get('id')}", markup=False)
    if prompt := str(line.get("prompt") or ""):
        text = _cut(prompt, SHOWN_PROMPT, list_stretches(masked, "prompt"))
        text.stylize_before("dim")
        console.print(text)
        console.print()
    answer = str(line.get("answer") or "")
    console.print(_cut(answer, SHOWN_CHARACTERS, list_stretches(masked, "answer")))
    if masked:
        console.print("What is between ⟦ and ⟧ is masked and counts as removed: label the rest.")


def _cut(text: str, most: int, masked: Sequence[tuple[int, int]]) -> Text:
    """Return the beginning of a long text with its masks, and say how much is left out."""
    shown = join_pieces(build_whole(text[:most], (), masked))
    if len(text) > most:
        shown.append(f"\n[… {len(text) - most:,} characters are left out; the file has them]")
    return shown


def read_answer(console: Console, traits: Sequence[str]) -> list[str] | str | None:
    """Read the traits that an item shows, `unsure`, or None to quit, as at the input's end."""
    if len(traits) == 1:
        question = f"Does it show {traits[0]}? [t]rue, [f]alse, [u]nsure, [q]uit: "
    else:
        listed = ", ".join(f"{number} {trait}" for number, trait in enumerate(traits, 1))
        question = f"Which does it show: {listed}? Numbers, [n]one, [u]nsure, [q]uit: "
    while True:
        console.print(question, markup=False, end="")
        line = sys.stdin.readline()
        if not line:
            return None
        answer = parse_answer(line, traits)
        if answer is not None:
            return None if answer == "quit" else answer


def parse_answer(line: str, traits: Sequence[str]) -> list[str] | str | None:
    """Return the traits that a line names by number, `unsure` or `quit`, or None for neither."""
    word = line.strip().lower()
    if word in ("q", "quit"):
        return "quit"
    if word in ("u", "unsure"):
        return "unsure"
    if word in ("n", "no", "none", "0") or (word in ("f", "false") and len(traits) == 1):
        return []
    if word in ("t", "true", "y", "yes") and len(traits) == 1:
        return [traits[0]]
    numbers = word.replace(",", " ").split()
    if not numbers or not all(
        item.isdecimal() and 0 < int(item) <= len(traits) for item in numbers
    ):
        return None
    chosen = {int(item) for item in numbers}
    return [trait for number, trait in enumerate(traits, 1) if number in chosen]
