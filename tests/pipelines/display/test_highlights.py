"""Whole rows and excerpts on a terminal."""

import io

from classifiers.phrase_weights import WeighedPhrase
from pipelines.display.excerpts import Piece
from pipelines.display.highlights import describe_hits, describe_words, join_pieces, show_whole_row
from pipelines.display.terminal import open_console
from pipelines.runs.shown_findings import FoundPhrase, TraitFinding
from pipelines.runs.shown_rows import MaskedSpan, ShownRow
from schemas.lots import Lot
from transforms.records.formats import Layout

LAYOUT = Layout("messages", {"messages": "messages"}, {})
RECORD = {
    "messages": [
        {"role": "user", "content": "What\nis it?"},
        {
            "role": "assistant",
            "content": "An emu.\n\n\x1b[31mA \u202ebird\tthat\r\nruns. " + "word " * 99,
        },
    ]
}
FINDING = TraitFinding(
    *("emu", "combined", 0.5, 0.4, "mask", "messages[1].content", 3, 6, "An emu.", None, {}, [])
)
MASK = MaskedSpan("messages[1].content", 0, 7)
ROW = ShownRow("rows.jsonl", 1, "id", Lot("plain"), "mask", (FINDING,), (), (MASK,), RECORD)


def print_whole(row: ShownRow, width: int = 40) -> str:
    """Return a whole row's output."""
    stream = io.StringIO()
    console = open_console(file=stream, width=width)
    for part in show_whole_row(row, LAYOUT):
        console.print(part)
    return stream.getvalue()


def test_every_turn_is_shown_with_its_line_breaks():
    """All turns are complete, each below its role and field, in lines of the given width."""
    lines = [line.rstrip() for line in print_whole(ROW).splitlines()]
    assert lines[:4] == [
        "user  messages[0].content",
        "  What",
        "  is it?",
        "assistant  messages[1].content",
    ]
    assert lines[4:6] == ["  ⟦An «emu».⟧", ""]
    assert max(map(len, lines)) <= 40
    assert " ".join(lines).count("word") == 99


def test_control_characters_do_nothing():
    """Control characters and marks of direction are spelled out; tabs and line ends are kept."""
    shown = print_whole(ROW)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "\r" not in shown
    assert "<U+001B>[31mA <U+202E>bird" in shown


def test_a_near_miss_is_lit_and_a_row_without_text_shows_nothing():
    """The best span of a row on which no trait fired is marked; a dropped row has no text."""
    near = ROW._replace(reasons=(), near=(FINDING,), masks=())
    assert "An «emu»." in print_whole(near)
    assert print_whole(ROW._replace(record=None)) == ""


def test_every_phrase_of_a_score_is_listed_and_lit():
    """All phrases are counted, each different one is listed, and all are lit in a whole row."""
    path = "messages[1].content"
    hits = (
        FoundPhrase(path, 3, 6, "emu"),
        FoundPhrase(path, 21, 25, "bird"),
        FoundPhrase(path, 0, 2, "emu"),
    )
    assert describe_hits(hits) == "3 phrases made this score: «emu» ×2, «bird»"
    assert "\x1b" not in describe_hits([FoundPhrase(path, 0, 1, "\x1b")])
    cased = [FoundPhrase(path, 0, 1, text) for text in ("An emu", "an emu", "bird")]
    assert describe_hits(cased) == "3 phrases made this score: «An emu» ×2, «bird»"
    shown = print_whole(ROW._replace(reasons=(FINDING._replace(hits=hits),), masks=()))
    assert "«An» «emu»." in shown
    many = [FoundPhrase(path, 0, 1, str(number)) for number in range(12)]
    assert describe_hits(many).endswith("«9» and 2 more")


def test_the_weightiest_words_are_named_once():
    """Parts of a named phrase, and phrases that contain it, aren't named again."""
    weights = {
        "cannot": 2.7,
        "I cannot": 1.9,
        "canno": 1.0,
        "Sorry": -0.5,
        "sorry,": -0.4,
        "a": 0.0,
    }
    words = [WeighedPhrase(text, weight) for text, weight in weights.items()]
    words.append(WeighedPhrase("As", 0.3, opens=True))
    assert describe_words(words) == (
        "for «cannot» +2.70, «canno» +1.00, «As» (first) +0.30; against «Sorry» -0.50"
    )
    assert describe_words([]) == ""
    many = [WeighedPhrase(f"word{number}", 1.0) for number in range(9)]
    assert describe_words(many).count("«") == 5
    assert "\x1b" not in describe_words([WeighedPhrase("\x1b[2J", 1.0)])


def test_brackets_nest():
    """A span in a masked stretch has its brackets inside those of the mask."""
    pieces = [Piece("a ", masked=True), Piece("b", marked=True, masked=True), Piece(" c")]
    assert join_pieces(pieces).plain == "⟦a «b»⟧ c"
