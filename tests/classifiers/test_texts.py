"""The segments that signals score: scopes, parts, hits and prompts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.texts import (
    Prompts,
    cut_texts,
    find_in_scope,
    shift_hits,
    shift_spans,
    take_texts,
)
from schemas.cards import Scope


@dataclass
class Turns:
    """Segments in the answer channel, as rows, roles and texts."""

    rows: np.ndarray
    roles: list[str]
    text: pa.LargeStringArray

    def find_in_scope(self, roles, channels):
        """Return the segments with these roles, if answers are among the channels."""
        wanted = [role in roles and "answer" in channels for role in self.roles]
        return np.flatnonzero(wanted)


def make_turns(*turns):
    """Return segments from tuples of row, role and text."""
    rows, roles, texts = zip(*turns, strict=True) if turns else ((), (), ())
    return Turns(np.array(rows, np.int64), list(roles), pa.array(texts, pa.large_string()))


TALK = make_turns(
    (0, "system", "Be brief."),
    (0, "user", "Where is the key?"),
    (0, "assistant", "Under the mat."),
    (0, "user", "And the lamp?"),
    (0, "assistant", "On the shelf."),
    (2, "assistant", "A barn."),
    (2, "user", "What is red?"),
    (3, "assistant", "Nobody asked."),
    (4, "user", "Look it up."),
    (4, "tool", "Found: 7."),
    (4, "assistant", "Seven."),
)


@pytest.mark.parametrize(
    ("segment", "prompt"),
    [
        (2, "Be brief.\nWhere is the key?"),
        (4, "Be brief.\nWhere is the key?\nAnd the lamp?"),
        (5, "What is red?"),
        (7, ""),
        (10, "Look it up.\nFound: 7."),
    ],
)
def test_a_prompt_is_what_was_said_before(segment, prompt):
    """A prompt is what came before in the row; if nothing did, it is what comes after."""
    assert Prompts(TALK).read(segment) == prompt


def test_places_lead_to_the_prompts():
    """If some segments are scored, their places lead to what was said before them."""
    prompts = Prompts(TALK, np.array([4, 7, 10]))
    assert [prompts.read(segment) for segment in range(3)] == [
        Prompts(TALK).read(place) for place in (4, 7, 10)
    ]


def test_a_reader_reads_by_index():
    """A reader's index counts in the given segments."""
    read = Prompts(TALK).make_reader(np.array([5, 10]))
    assert (read(0), read(1)) == ("What is red?", "Look it up.\nFound: 7.")


def test_texts_without_rows_have_no_prompts():
    """No segments have no prompts."""
    assert len(Prompts(make_turns())._asked) == 0


def test_the_scope_chooses_segments():
    """Segments in a card's scope are found by role."""
    assert find_in_scope(TALK, Scope(roles=("tool",))).tolist() == [9]


def test_all_texts_are_taken_without_a_copy():
    """All segments are the texts themselves, and some are chosen from them."""
    assert take_texts(TALK, range(len(TALK.text))) is TALK.text
    assert take_texts(TALK, [5, 7]).to_pylist() == ["A barn.", "Nobody asked."]


@given(st.lists(st.text(max_size=30), max_size=5), st.integers(-40, 40))
def test_parts_lie_where_they_begin(texts, part):
    """A part of a text is found again at its start in the whole text."""
    turns = make_turns(*((row, "assistant", text) for row, text in enumerate(texts)))
    cut, starts = cut_texts(turns, range(len(texts)), part)
    for text, piece, start in zip(texts, cut.to_pylist(), starts.tolist(), strict=True):
        assert text[start : start + len(piece)] == piece
        assert len(piece) == (min(abs(part), len(text)) if part else len(text))


def test_spans_are_shifted():
    """Spans of a part become spans of the whole text."""
    assert shift_spans([(0, 2), (5, 9)], 10) == [(10, 12), (15, 19)]
    assert shift_spans(((0, 2),), 0) == [(0, 2)]


def test_hits_are_keyed_by_segment():
    """Hits get the number of their segment and the start of its part."""
    hits = shift_hits({1: [(2, 4)]}, np.array([3, 8]), np.array([0, 100]))
    assert hits == {8: [(102, 104)]}
