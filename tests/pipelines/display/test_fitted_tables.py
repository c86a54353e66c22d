"""Tables that fit a terminal: no word is broken, and nothing is lost."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from pipelines.display.fitted_tables import PIECE, Widths, break_lines, fit_widths
from pipelines.display.terminal import build_table

ROWS = (
    ("quarantine", "evaluation-awareness", "Meta-Llama-3-8B-Instruct", "1,500", "0.07%"),
    ("mask", "sycophantic-opening", "mistral-large-2402/2/train-00000-of-00001", "76", "18.25%"),
)


def print_table(table, width: int) -> list[str]:
    """Return the lines of a table on a terminal of a given width, without blanks at their ends."""
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def build_counts(**options):
    """Return a table of counts as `inspect` prints it."""
    table = build_table("decision", "trait", "teacher", "rows>", "share>", **options)
    for row in ROWS:
        table.add_row(*row)
    return table


def test_a_table_with_room_has_a_line_for_each_row():
    """Wide terminals show every name on one line."""
    lines = print_table(build_counts(), 120)
    assert [line.split() for line in lines if "," in line or "76" in line] == list(map(list, ROWS))


def test_names_break_after_their_marks():
    """On 80 columns, a long name continues after a slash or a hyphen; other words stay whole."""
    lines = print_table(build_counts(), 80)
    assert max(map(len, lines)) <= 80
    words = {word for line in lines for word in line.split()}
    assert {"decision", "quarantine", "evaluation-awareness", "sycophantic-opening"} <= words
    assert {"Meta-Llama-3-8B-", "Instruct", "1,500", "18.25%"} <= words
    assert {"mistral-large-2402/2/", "train-00000-of-00001"} <= words


def test_a_narrow_terminal_gets_a_block_for_each_row():
    """If even pieces of names don't fit, each cell has a line of its own with its heading."""
    lines = print_table(build_counts(title="counts"), 34)
    assert lines[:7] == [
        "counts",
        "decision: quarantine",
        "  trait: evaluation-awareness",
        "  teacher:",
        "  Meta-Llama-3-8B-Instruct",
        "  rows: 1,500",
        "  share: 0.07%",
    ]
    assert print_table(build_counts(), 20)[11:15] == [
        "teacher:",
        "mistral-large-2402/",
        "2/train-00000-of-",
        "00001",
    ]


def test_numbers_give_way_last():
    """With `wrap_first`, a name is broken at its marks before a number wraps between its words."""
    table = build_table("lot", "rows>", "share>", wrap_first=True)
    table.add_row("mistral-large-2402/train-00000-of-00001", "58 of 700", "8.29%")
    lines = print_table(table, 44)
    assert any("58 of 700" in line for line in lines)
    assert any(line.strip() == "train-00000-of-00001" for line in lines)


def test_styles_and_captions_stay():
    """A fitted table keeps the styles of its cells, its title and its caption."""
    table = build_table("row", "because", title="rows")
    table.caption = "why"
    table.add_row(Text("a-long-name/of-a-file", "red"), "word " * 12)
    console = Console(file=io.StringIO(), width=30, force_terminal=True, color_system="standard")
    console.print(table)
    shown = console.file.getvalue()
    assert "\x1b[31m" in shown
    assert "rows" in shown
    assert "why" in shown


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (60, [20, 30, 9]),
        (40, [20, 11, 9]),
        (30, [13, 8, 9]),
        (22, [6, 7, 9]),
        (14, [6, 5, 3]),
        (13, None),
    ],
)
def test_widths_give_way_in_order(room, expected):
    """Texts give way first, then names, then pieces of names, and numbers last."""
    columns = [Widths(20, 13, 6), Widths(30, 8, 5), Widths(9, 3, 3)]
    assert fit_widths(columns, room, (True, False, True), (True, True, False)) == expected


def test_lines_are_broken_between_words_first():
    """A name that fits on a line of its own isn't broken; a longer one is."""
    text = Text("a row of sycophantic-opening")
    assert break_lines(text, 20).plain == "a row of\nsycophantic-opening"
    assert break_lines(text, 12).plain == "a row of\nsycophantic-\nopening"
    assert break_lines(text, 12, is_name=False).plain == "a row of\nsycophantic-opening"
    assert break_lines(Text("one\n\ntwo"), 9).plain == "one\n\ntwo"
    assert break_lines(Text(""), 9).plain == ""


names = st.text("abc-/_", min_size=1, max_size=30)
words = st.one_of(names, st.sampled_from(["quarantine", "1,002,407", "19.90%", "→", "漢字"]))
cells = st.lists(words, max_size=4).map(" ".join)


@given(
    st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=3),
    st.integers(12, 100),
    st.booleans(),
)
def test_no_word_is_broken(rows, width, wraps_first):
    """A word that the terminal holds is whole, or broken after a mark in a column of names."""
    table = build_table("decision", "before now", "rows>", wrap_first=wraps_first)
    for row in rows:
        table.add_row(*map(Text, row))
    lines = print_table(table, width)
    assert max(map(cell_len, lines)) <= width
    shown = {word for line in lines for word in line.split()}
    assert {word.rstrip(":") for word in shown} >= {"decision", "rows"}
    for row in rows:
        for index, word in (
            (index, word) for index, cell in enumerate(row) for word in cell.split()
        ):
            if cell_len(word) <= width and word not in shown:
                assert index < 2
                assert can_be_joined(word, PIECE.findall(word), shown)


def can_be_joined(word: str, pieces: list[str], shown: set[str]) -> bool:
    """Return whether a name's parts are shown whole, each of one or more pieces."""
    ends = {0}
    for start in range(len(pieces)):
        if start in ends:
            ends |= {
                end
                for end in range(start + 1, len(pieces) + 1)
                if "".join(pieces[start:end]) in shown
            }
    return len(pieces) in ends
