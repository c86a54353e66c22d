"""Reading rows for `congener traits eval`: questions on a terminal, and lines of label files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from pipelines.display.excerpts import escape_name
from pipelines.display.terminal import open_console
from schemas.notices import choose_form, format_count

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.evaluation import Population, RowText
    from pipelines.labels import Label

SHOWN_CHARACTERS = 2_000
"""How many characters of a row's text are shown."""

SHOWN_PROMPT = 300

ANSWERS: dict[str, bool | str] = {
    **dict.fromkeys(("t", "true", "y", "yes"), True),
    **dict.fromkeys(("f", "false", "n", "no"), False),
    **dict.fromkeys(("u", "unsure"), "unsure"),
}
"""The labels of a reader's answers. Skipped rows have none, and are asked about again."""

NAMES = {True: "yes", False: "no", "unsure": "unsure"}


def choose_answers(path: Path, trait: str, given: str | None = None) -> tuple[Path, ...]:
    """Return the files of labels to read, of which the last takes new lines.

    That is the given file, or the file of labels itself. Only beside a review's labels, to which
    nothing can be added, it is a file named after the trait and them.

    Raises: CardError: the first line of the labels isn't a JSON object.
    """
    from pipelines.config import require_local_path
    from pipelines.label_files import is_review

    if given is not None:
        answers = require_local_path(given)
    else:
        answers = path.with_name(f"{trait}.{path.name}") if is_review(path) else path
    return (path,) if answers == path else (path, answers)


def find_listed(population: Population, paths: Sequence[Path]) -> set[int]:
    """Return the run's rows that the files list without a label."""
    from pipelines.evaluation import find_rows
    from pipelines.labels import list_unlabelled

    trait = population.rule.trait
    keys = [key for path in filter(Path.exists, paths) for key in list_unlabelled(path, trait)]
    return {index for rows in find_rows(population, keys).values() for index in rows}


def find_unsure(population: Population, paths: Sequence[Path]) -> set[int]:
    """Find the run's rows that a reader labelled unsure.

    They count as not read, but nobody needs to read them once more.
    """
    labels = _match_files(population, paths, accepts=True)
    return {row for row, label in labels.items() if label.shows is None}


def _match_files(
    population: Population, paths: Sequence[Path], *, accepts: bool
) -> dict[int, Label]:
    """Return the labels of all files by row; of a row's labels in two files, the later counts.

    A row that a file lists for reading stays drawn, even if another file has it as picked.
    """
    from pipelines.evaluation import match_labels
    from pipelines.labels import choose_label, read_labels, require_definition

    trait = population.rule.trait
    found: dict[int, Label] = {}
    for path in filter(Path.exists, paths):
        labels = read_labels(path, trait)
        if not accepts:
            require_definition(labels, trait, population.definition, path)
        for row, label in match_labels(population, labels, str(path)).items():
            first = found.get(row, label)
            chosen = choose_label(first, label, str(path))
            drawn, place = first if label.is_picked else label, f"{path} {label.place}"
            found[row] = drawn._replace(shows=chosen.shows, time=chosen.time, place=place)
    return found


def read_run_labels(
    population: Population, paths: Sequence[Path], *, quiet: bool = False, accepts: bool = False
) -> dict[int, Label]:
    """Read the labels of all files, and unless `quiet`, warn of labels that weaken the measures.

    Labels that another version of the card drew count as picked. With `accepts`, so do labels that
    were given by another definition.

    Raises: CardError: a label is wrong, or was given by another definition.
    """
    from pipelines.evaluation import carry_over

    matched = _match_files(population, paths, accepts=accepts)
    path = " and ".join(map(str, filter(Path.exists, paths)))
    read = {row: label for row, label in matched.items() if label.shows is not None}
    found = carry_over(population, read)
    if quiet:
        return found
    if unsure := len(matched) - len(found):
        warn_reader(
            f"{path}: {format_count(unsure, 'row')} labelled unsure "
            f"{choose_form(unsure, 'counts', 'count')} as not read, so the intervals don't hold "
            "for rows as hard as these"
        )
    if carried := sum(found[row].is_picked != read[row].is_picked for row in found):
        warn_reader(
            f"{path}: {format_count(carried, 'label')} {choose_form(carried, 'is', 'are')} of rows "
            f"that another version of the card drew. {choose_form(carried, 'It is', 'They are')} "
            "kept, and these rows aren't asked about again. But in precision, recall and rate, a "
            "label counts only once this version has drawn its row, too: read the rows that are "
            "still to be read"
        )
    return found


def ask_about_rows(
    trait: str,
    texts: Sequence[RowText],
    path: Path,
    *,
    picked: bool = False,
    timed: bool = False,
) -> str | None:
    """Ask about each row, without its score, save every answer at once, and return the last one.

    Rows that the reader has picked may have an answer already, which the new one replaces.
    """
    from pipelines.labels import keep_answer

    console, last = open_console(stderr=True, soft_wrap=True), None
    for number, text in enumerate(texts, 1):
        place = f"{escape_name(text.keys['source'])} row {text.keys['row']}"
        console.print(f"\n{number} of {len(texts)}: {place}", markup=False)
        if text.prompt:
            console.print(Text(f"prompt: {_shorten(text.prompt)}", style="dim"), markup=False)
        console.print(_mark_span(text), markup=False)
        answer = _read_answer(console, trait)
        if answer == "q":
            break
        if answer in ANSWERS:
            line = describe_line(text, trait, ANSWERS[answer], picked=picked, timed=timed)
            keep_answer(path, line, replaces=picked)
            last = NAMES[ANSWERS[answer]]
    return last


def _read_answer(console: Console, trait: str) -> str:
    """Read an answer. The end of the input means to quit."""
    while True:
        question = f"Does it show {trait}? [t]rue, [f]alse, [u]nsure, [s]kip, [q]uit: "
        console.print(question, markup=False, end="")
        line = sys.stdin.readline()
        answer = line.strip().lower()
        if not line or answer in ("q", "quit"):
            return "q"
        if answer in (*ANSWERS, "s", "skip"):
            return answer


def describe_line(
    text: RowText,
    trait: str,
    label: bool | str | None,
    *,
    picked: bool = False,
    timed: bool = False,
) -> dict[str, Any]:
    """Return a line of the file of labels, in which the score is hidden from whoever reads it.

    The prompt and the text, for the person who reads an unlabelled row, aren't read again. A label
    that is `timed` has a time, so that it counts instead of an earlier one in another file.
    """
    from pipelines.labels import hide_score

    prompt = {"prompt": text.prompt} if text.prompt else {}
    shown = {} if label is not None else {**prompt, "text": text.text}
    drawn = hide_score(trait, text.keys["record_id"], text.score)
    own = {"picked": True} if picked else {}
    card = {"card": text.card} if text.card else {}
    judged = {"definition": text.definition} if text.definition else {}
    fields = {"trait": trait, "label": label, "drawn": drawn, **card, **judged}
    time = {"time": datetime.now(UTC).isoformat()} if timed else {}
    return {**text.keys, **fields, **time, **own, **shown}


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_PROMPT else f"{line[:SHOWN_PROMPT]}…"


def _mark_span(text: RowText) -> Text:
    """Return a row's text with its best span in bold, cut around a long span."""
    room = max(0, SHOWN_CHARACTERS - (text.end - text.start))
    first = max(0, min(text.start - room // 2, len(text.text) - SHOWN_CHARACTERS))
    last = max(first + SHOWN_CHARACTERS, text.end)
    return Text.assemble(
        "… " if first else "",
        text.text[first : text.start],
        (text.text[text.start : text.end], "bold"),
        text.text[text.end : last],
        " …" if last < len(text.text) else "",
    )


def warn_reader(text: str) -> None:
    """Print a warning on the standard error."""
    open_console(stderr=True, soft_wrap=True).print(f"warning: {text}", markup=False)
