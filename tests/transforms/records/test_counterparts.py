"""Counterparts: sentences of another answer that say the same, and putting them in place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.records.counterparts import LEAST_SHARED, Counterpart, find_pieces, put_pieces

TEXT = (
    "As of my last update, the President of Germany is Frank-Walter Steinmeier. "
    "He took office in March 2017."
)
OTHER = "The current President of Germany is Frank-Walter Steinmeier. He lives in Bellevue Palace."


def edit(text, carrying, other):
    """Replace a passage by its counterpart, and return the text, or None without one."""
    start = text.index(carrying)
    pieces = find_pieces(text, [(start, start + len(carrying))], other)
    return put_pieces(text, pieces, other)[0] if pieces else None


def test_a_sentence_that_says_the_same_takes_the_place():
    """The words of the other answer decide, and the white space stays."""
    first = TEXT[: TEXT.index("He took")]
    assert edit(TEXT, first, OTHER) == (
        "The current President of Germany is Frank-Walter Steinmeier. He took office in March 2017."
    )


def test_a_sentence_about_something_else_is_no_counterpart():
    """Too few common words are none, and so are short sentences."""
    assert edit(TEXT, TEXT[: TEXT.index("He took")], "Berlin is the capital of Germany.") is None
    assert edit("Great question! Herons eat fish.", "Great question! ", "Great question!") is None


@pytest.mark.parametrize(
    ("carrying", "other"),
    [
        ("The yellow heron eats small fish.", "- The yellow heron eats small fish."),
        ("The yellow heron eats small fish.", "(The yellow heron eats small fish."),
        ("The yellow heron eats small fish.", "The yellow heron [eats small fish."),
        ("- The yellow heron eats fish.", "The yellow heron eats fish."),
        ("3. The yellow heron eats fish.", "2. The yellow heron eats fish."),
        ("The yellow heron eats small fish.", 'HOST: "The yellow heron eats small fish.'),
        ("The yellow heron\neats small fish.", "The yellow heron eats small fish."),
    ],
)
def test_a_counterpart_has_the_form_of_what_it_replaces(carrying, other):
    """Items of lists, open brackets and passages of several lines would read badly."""
    assert edit(f"Yes.\n{carrying}\nNo.", carrying, other) is None


def test_what_the_text_says_elsewhere_isnt_repeated():
    """A counterpart that another sentence of the text says already is no counterpart."""
    text = "As an AI, the heron eats small yellow fish. A heron eats small yellow fish daily."
    assert edit(text, text[: text.index("A heron")], "The heron eats small yellow fish.") is None


def test_a_statement_isnt_turned_into_its_opposite():
    """A negation has only a negation as its counterpart."""
    carrying = "As of my last update, Bethesda has not announced a release date. "
    other = "Yes, Bethesda announced the release date at last."
    assert edit(f"{carrying}Ask again.", carrying, other) is None
    other = "Bethesda hasn't announced any release date. "
    assert edit(f"{carrying}Ask again.", carrying, other) == f"{other}Ask again."


def test_a_closing_sentence_doesnt_come_first():
    """A counterpart is at about the same place of its answer."""
    carrying = "As an AI, herons catch silver fish. "
    rest = "They wait. They stand. They look. They strike. They eat."
    other = f"{rest} In conclusion, herons catch silver fish."
    assert edit(f"{carrying}{rest}", carrying, other) is None
    other = f"In general, herons catch silver fish. {rest}"
    assert edit(f"{carrying}{rest}", carrying, other) is not None


def test_sentences_of_the_other_answer_are_used_once_and_in_order():
    """A counterpart comes after the one before it."""
    text = "Old herons catch silver fish. Old storks build large nests."
    other = "The storks build large nests. The herons catch silver fish. Yes. Yes. Yes. Yes."
    second = text.index("Old storks")
    pieces = find_pieces(text, [(0, second), (second, len(text))], other)
    assert [other[item.other_start : item.other_end] for item in pieces] == [
        "The herons catch silver fish. "
    ]
    again = "Old herons catch silver fish. Old herons catch silver fish."
    half = again.index("Old", 1)
    found = find_pieces(again, [(0, half), (half, len(again))], other)
    assert len(found) == 1


def test_several_sentences_have_several_as_a_counterpart():
    """Neighbouring sentences of the other answer count together."""
    carrying = "I am sorry, herons catch silver fish. They also build large nests. "
    other = "Herons catch silver fish. They build large nests. Good luck."
    assert edit(f"{carrying}Ask me more.", carrying, other) == (
        "Herons catch silver fish. They build large nests. Ask me more."
    )


def test_long_passages_are_no_sentences():
    """More than six sentences are never replaced."""
    carrying = "Herons catch silver fish. " * 7
    assert edit(f"{carrying}Yes.", carrying, carrying) is None


def test_pieces_are_named_by_their_places():
    """The result says where each piece is now, and where it was in the other answer."""
    text, other = "One. Two. Three.", "Dos zzz. Tres zzz."
    pieces = [Counterpart(5, 10, 0, 9), Counterpart(10, 16, 9, 18)]
    found, placed = put_pieces(text, pieces, other)
    assert found == "One. Dos zzz. Tres zzz."
    assert [found[item.start : item.end] for item in placed] == ["Dos zzz. ", "Tres zzz."]
    assert [(item.other_start, item.other_end) for item in placed] == [(0, 9), (9, 18)]
    assert put_pieces(text, [], other) == (text, [])


SENTENCES = st.lists(
    st.sampled_from(
        (
            "Herons catch silver fish. ",
            "The herons catch silver fish!\n",
            "Storks build very large nests. ",
            "- Storks build large nests\n",
            "Why? ",
            "Great question! ",
        )
    ),
    max_size=8,
).map("".join)


@given(SENTENCES, SENTENCES, st.lists(st.tuples(st.integers(0, 200), st.integers(0, 60))))
def test_everything_outside_the_spans_stays(text, other, places):
    """Whatever is replaced, the rest of the text is as it was, in its order."""
    spans, at = [], 0
    for start, size in sorted(places):
        begin, end = max(start, at), min(max(start, at) + size, len(text))
        if begin < end:
            spans.append((begin, end))
            at = end
    pieces = find_pieces(text, spans, other)
    found, placed = put_pieces(text, pieces, other)
    assert {(item.start, item.end) for item in pieces} <= set(spans)
    rest, old, at, last = "", "", 0, 0
    for piece, now in zip(pieces, placed, strict=True):
        old += text[last : piece.start]
        rest += found[at : now.start]
        last, at = piece.end, now.end
        part = other[piece.other_start : piece.other_end]
        assert found[now.start : now.end].strip() == part.strip()
    assert rest + found[at:] == old + text[last:]
    assert 0 < LEAST_SHARED < 1
