"""Excerpts mark the span, hide nothing, and contain no control or invisible character."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.display.excerpts import (
    CONTEXT,
    HIDDEN,
    LONGEST_NAME,
    LONGEST_SPAN,
    LONGEST_WORD,
    build_excerpt,
    build_whole,
    escape_name,
    escape_text,
    shorten_text,
)

CHARACTERS = (
    ("\n", "↵"),
    ("\t", "⇥"),
    ("\x1b", "<U+001B>"),
    ("\x9b", "<U+009B>"),
    ("\u202e", "<U+202E>"),
    ("\u200d", "<U+200D>"),
    ("\u2028", "<U+2028>"),
    ("\u2029", "<U+2029>"),
    ("\U000e0041", "<U+E0041>"),
    ("\ud800", "<U+D800>"),
    ("é", "é"),
    ("<", "<"),
    ("[", "["),
)


def find_hidden(text: str) -> list[str]:
    """Return a text's control and invisible characters."""
    return [char for char in text if unicodedata.category(char) in HIDDEN]


def join_pieces(pieces) -> str:
    """Return the joined text of some pieces."""
    return "".join(piece.text for piece in pieces)


@given(st.text(), st.integers(-5, 90), st.integers(-5, 90))
def test_an_excerpt_marks_the_span(text, start, end):
    """Any excerpt marks the span and has no control character."""
    pieces = build_excerpt(text, start, end)
    assert not find_hidden(join_pieces(pieces))
    first = min(max(start, 0), len(text))
    span = text[first : max(first, end)]
    marked = [piece for piece in pieces if piece.marked]
    assert join_pieces(marked) == join_pieces(escape_text(span))


@given(st.text())
def test_a_short_text_is_shown_whole(text):
    """A text shorter than the context is shown whole."""
    short = text[:CONTEXT]
    assert join_pieces(build_excerpt(short, 0, 0)) == join_pieces(escape_text(short))


@pytest.mark.parametrize(("char", "shown"), CHARACTERS)
def test_characters_that_act_are_written_as_codes(char, shown):
    """Control, bidirectional, zero-width, separator and tag characters become visible."""
    assert escape_name(char) == shown


def test_escapes_are_distinguished_from_text_that_looks_like_them():
    """Text that looks like an escape isn't marked as inserted."""
    assert [piece.added for piece in escape_text("<U+202E>\u202e")] == [False, True]


def test_long_texts_are_cut_between_words():
    """Text far from the span is cut at white space, and an ellipsis replaces it."""
    text = "before " * 200 + "SPAN" + " after" * 200
    start = text.index("SPAN")
    pieces = build_excerpt(text, start, start + 4)
    shown = join_pieces(pieces)
    assert shown.startswith("… before ")
    assert shown.endswith(" after …")
    assert [piece.text for piece in pieces if piece.marked] == ["SPAN"]
    assert 2 * (CONTEXT - LONGEST_WORD) <= len(shown) <= 2 * CONTEXT + 10


def test_text_without_spaces_is_cut_inside_a_word():
    """Without white space nearby, a text is cut inside a word."""
    shown = join_pieces(build_excerpt("x" * 1000, 500, 501))
    assert shown == f"… {'x' * (2 * CONTEXT + 1)} …"


def test_a_long_span_shows_its_ends():
    """A long span shows both ends, and the number of characters between them."""
    shown = join_pieces(build_excerpt("a" * 2000 + "b" * 2000, 0, 4000))
    half = LONGEST_SPAN // 2
    omitted = f" … {4000 - LONGEST_SPAN:,} characters left out … "
    assert shown == f"{'a' * half}{omitted}{'b' * half}"


def test_a_middle_no_longer_than_its_note_is_shown():
    """A span is shown whole if the note would be longer than what it replaces."""
    for length in (LONGEST_SPAN + 1, LONGEST_SPAN + 10, LONGEST_SPAN + 28):
        assert join_pieces(build_excerpt("a" * length, 0, length)) == "a" * length


def test_the_middle_of_a_span_is_cut_between_words():
    """Both cuts in a long span are at white space, and the note counts what is missing."""
    text = "entertainment " * 100
    shown = join_pieces(build_excerpt(text, 0, len(text)))
    head, tail = re.split(r" … [\d,]+ characters left out … ", shown)
    assert set(head.split()) == set(tail.split()) == {"entertainment"}
    assert f"{len(text) - len(head) - len(tail):,} characters" in shown


def test_names_are_cut():
    """A long name becomes one line that ends with an ellipsis."""
    assert escape_name("n" * LONGEST_NAME) == "n" * LONGEST_NAME
    assert escape_name("n" * (LONGEST_NAME + 1)) == "n" * LONGEST_NAME + "…"
    assert escape_name("one\ntwo", 4) == "one…"
    assert escape_name("one two three", 10) == "one two…"
    assert escape_name("one two three", 7) == "one two…"
    assert escape_name("one two", 7) == "one two"


@given(st.text(), st.lists(st.tuples(st.integers(-9, 99), st.integers(-9, 99)), max_size=4))
def test_a_whole_text_loses_nothing(text, bounds):
    """A whole text keeps its lines and tabs; only other hidden characters are spelled out."""
    shown = "".join(piece.text for piece in build_whole(text, bounds, bounds[:1]))
    assert set(find_hidden(shown)) <= {"\n", "\t"}
    assert shown.count("\n") == text.count("\n")


def test_a_whole_text_is_divided_at_marks_and_masks():
    """Each piece is marked or masked as its characters are."""
    pieces = build_whole("ab cd", [(1, 4)], [(3, 9)])
    found = [(piece.text, piece.marked, piece.masked) for piece in pieces]
    assert found == [
        ("a", False, False),
        ("b ", True, False),
        ("c", True, True),
        ("d", False, True),
    ]


@given(st.text(min_size=1), st.integers(2, 900))
def test_the_longest_span_can_be_chosen(text, longest):
    """A smaller bound shows no more of a span, and one as long as the span shows all of it."""
    whole = join_pieces(build_excerpt(text, 0, len(text), longest=len(text)))
    short = join_pieces(build_excerpt(text, 0, len(text), longest=longest))
    assert len(short) <= len(whole)
    if "characters left out" not in text:
        assert "characters left out" not in whole


@given(st.text(), st.integers(1, 40), st.booleans())
def test_a_shortened_text_is_one_line_of_its_beginning_or_end(text, longest, from_end):
    """A text keeps so many characters of the side that is asked for, and an ellipsis at the cut."""
    line, shown = " ".join(text.split()), shorten_text(text, longest, from_end=from_end)
    if len(line) <= longest:
        assert shown == line
    else:
        assert shown == (f"…{line[-longest:]}" if from_end else f"{line[:longest]}…")


def test_a_mask_that_is_cut_goes_on_in_the_ellipsis():
    """An ellipsis is masked if the mask goes on beyond the excerpt, and only then."""
    text = "word " * 200
    for masks, first, last in (
        ([(0, 1000)], True, True),
        ([(440, 460)], False, False),
        ([(440, 1000)], False, True),
        ([(0, 460)], True, False),
    ):
        pieces = build_excerpt(text, 450, 455, masks, context=20)
        dots = [piece for piece in pieces if piece.added and "…" in piece.text]
        assert [piece.masked for piece in dots] == [first, last]
