"""`congener review --terminal`: rows on a terminal, labelled with single keys."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from pipelines.display.terminal import open_console
from schemas.notices import format_count

if TYPE_CHECKING:
    from pipelines.review.judgements import Verdict
    from pipelines.review.queries import RowSelection
    from pipelines.review.session import ReviewSession

VERDICTS: dict[str, Verdict] = {"t": "yes", "f": "no", "u": "unsure"}

KEYS = "[t]rue [f]alse [u]nsure, [j] next [k] back, [z] undo, [q]uit: "

END_KEYS = "[k] back, [z] undo, [q]uit: "

INTERRUPT = ("", "q", "\x03", "\x04")
"""The keys that end the review; the empty one is the end of the input."""


def review_in_terminal(session: ReviewSession, selection: RowSelection) -> None:
    """Show the selected rows one after the other, and keep a label for each verdict key.

    After the last row, the reviewer can still go back or take a label back.

    Raises: CongenerError: a row can't be read, or a label can't be kept.
    """
    console = open_console()
    rows = session.select(selection).tolist()
    at, is_new = 0, True
    while rows:
        if at == len(rows):
            trait, question = "", f"That was the last of {format_count(at, 'row')}. {END_KEYS}"
        else:
            trait = selection.trait or find_trait(session, rows[at])
            question = f"Does it show {trait}? {KEYS}"
            if is_new:
                console.print(Group(*render_reviewed(session, rows[at], at, len(rows))))
            console.print(Group(*render_meaning(session, rows[at], trait)))
        console.print(Text(question), end="")
        key = read_key()
        console.print(Text(key if key.isprintable() else ""))
        if key in INTERRUPT:
            return
        at, is_new = _act(session, selection, rows, at, key, trait)


def _act(
    session: ReviewSession,
    selection: RowSelection,
    rows: list[int],
    at: int,
    key: str,
    trait: str,
) -> tuple[int, bool]:
    """Do what a key asks for; return the place of the row to show, and whether to print it.

    The place after the last row is the end, where no verdict counts.
    """
    if key == "z" and len(session.book):
        undone = session.undo()["index"]
        return (rows.index(undone) if undone in rows else min(at, len(rows) - 1)), True
    is_verdict = key in VERDICTS and at < len(rows)
    if is_verdict:
        session.add_label({"index": rows[at], "trait": trait, "label": VERDICTS[key]})
        if selection.trait is None and session.list_questions(rows[at]):
            return at, False
    step = 1 if is_verdict else {"j": 1, "k": -1}.get(key, 0)
    return min(max(0, at + step), len(rows)), True


def find_trait(session: ReviewSession, index: int) -> str:
    """Return the trait to ask about: the first of a row's traits without a label, or the first."""
    from pipelines.runs.deciding_traits import order_traits

    ordered = order_traits(session.reader.read(index)) or session.traits
    return (session.list_questions(index) or ordered)[0]


def render_reviewed(
    session: ReviewSession, index: int, at: int, total: int
) -> Iterator[RenderableType]:
    """Yield a row as `inspect --full` shows it, or only its texts if the review is blind."""
    from pipelines.display.terminal_rows import render_row

    if not session.blind:
        yield render_row(session.reader.read(index), at + 1, total, session.manifest, full=True)
    else:
        found = session.describe_row(index, None)
        yield Text(f"{at + 1:,} of {total:,}", style="bold")
        for field in found["fields"]:
            yield Text(" and ".join(field["roles"]), style="bold")
            yield Text("".join(text for text, _ in field["pieces"]))
    row = session.reader.read(index)
    for (source, number, trait), line in session.book.list_labels().items():
        if (source, number) == (row.source, row.row):
            yield Text(f"your label: {trait} {str(line['label']).lower()}", style="bold green")


def render_meaning(session: ReviewSession, index: int, trait: str) -> Iterator[Text]:
    """Yield the trait's description, and what each label will do to the row."""
    from pipelines.review.effects import BLIND, describe_traits

    if definition := describe_traits(session.manifest)[trait]:
        yield Text(f"{trait}: {definition}")
    if session.blind:
        yield Text(BLIND)
        return
    for label, effect in session.describe_effects(index)[trait].items():
        yield Text(f"{label}: {effect}")


def read_key() -> str:
    """Return a key as soon as it is pressed; without a terminal, the first character of a line."""
    if not sys.stdin.isatty():
        line = sys.stdin.readline()
        return line.strip()[:1] or line[:1]
    import termios
    import tty

    settings = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin, termios.TCSANOW)  # keys that were pressed early count
        return sys.stdin.read(1)
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, settings)
