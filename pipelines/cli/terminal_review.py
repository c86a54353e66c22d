"""`congener review --terminal`: rows on a terminal, labelled with single keys."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from pipelines.display.terminal import open_console

if TYPE_CHECKING:
    from pipelines.review.judgements import Verdict
    from pipelines.review.queries import RowSelection
    from pipelines.review.session import ReviewSession

VERDICTS: dict[str, Verdict] = {"t": "yes", "f": "no", "u": "unsure"}

KEYS = "[t]rue [f]alse [u]nsure, [j] next [k] back, [z] undo, [q]uit: "

INTERRUPT = ("", "q", "\x03", "\x04")
"""The keys that end the review; the empty one is the end of the input."""


def review_in_terminal(session: ReviewSession, selection: RowSelection) -> None:
    """Show the selected rows one after the other, and keep a label for each verdict key.

    Raises: CongenerError: a row can't be read, or a label can't be kept.
    """
    console = open_console()
    rows = session.select(selection).tolist()
    at, is_new = 0, True
    while at < len(rows):
        trait = selection.trait or find_trait(session, rows[at])
        if is_new:
            console.print(Group(*render_reviewed(session, rows[at], at, len(rows))))
        console.print(Group(*render_meaning(session, rows[at], trait)))
        console.print(Text(f"Does it show {trait}? {KEYS}"), end="")
        key = read_key()
        console.print(Text(key if key.isprintable() else ""))
        if key in INTERRUPT:
            return
        if key in VERDICTS:
            session.add_label({"index": rows[at], "trait": trait, "label": VERDICTS[key]})
        if key == "z" and len(session.book):
            undone = session.undo()["index"]
            at = rows.index(undone) if undone in rows else at
        has_more = selection.trait is None and bool(session.list_questions(rows[at]))
        is_new = not (key in VERDICTS and has_more)
        step = {"j": 1, "k": -1, **dict.fromkeys(VERDICTS, int(is_new))}.get(key, 0)
        at = max(0, at + step)


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
