"""Texts that are ruled out have no loop, and few texts without a loop are searched for one."""

from __future__ import annotations

import json
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from classifiers.library import LIBRARY
from classifiers.signals import repeated_words
from classifiers.signals.repeated_words import find_repetitive, score_loops
from classifiers.signals.repetition import find_loop
from schemas.cards import RepetitionOptions

OPTIONS = RepetitionOptions()

PIECES = [
    *("a", "b", "ab", "Ab", "word", "Word", "longer words", "extraordinarily", "extraordinarity"),
    *("step_2", "x1y", "x_1_y", "1", "22", "3.4", "1.", "- 2)", "_", "é", "É", "σ", "ς", "Σ", "İ"),
    *("雨", "雨が降る", "😀", "𐐀", "𐐨", "x" * 41, "x" * 40, "ab_1" * 11, "²"),
    *("\n", "\n\n", "\r", " = ", "|", "{", '":', ";", "```", "- ", ". ", ", ", "https://"),
]
"""Words, numbers, names, marks and line breaks that a loop treats in different ways."""

PROSE = (
    "The harbour wakes early, and the first boats leave before the lamps go out along the quay.\n"
    "Nets dry on the wall, gulls quarrel over scraps, and an old man sells bread from a cart.\n"
)


def score_each(texts):
    """Return the loop of every text, searched one by one."""
    return [tuple(find_loop(text, OPTIONS)) for text in texts]


def score_all(texts):
    """Return the same, searched as a column."""
    scores, spans = score_loops(pa.array(texts, pa.large_string()), OPTIONS)
    return [(score, *span) for score, span in zip(scores.tolist(), spans.tolist(), strict=True)]


def find_among(texts):
    """Return the indexes of the texts that may have a loop."""
    return find_repetitive(pa.array(texts, pa.large_string())).tolist()


def read_clean_answers():
    """Return the last turns of the library's long clean conversations."""
    lines = (LIBRARY / "background-long.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["messages"][-1]["content"] for line in lines]


def require_equal(texts):
    """Require the same loops from the column as from each text."""
    for found, (score, *span) in zip(score_all(texts), score_each(texts), strict=True):
        assert found == (np.float32(score), *span)


@st.composite
def write_text(draw):
    """Write a text that repeats a unit, with other pieces before, between and after copies."""
    unit = draw(st.lists(st.sampled_from(PIECES), min_size=1, max_size=14))
    between = draw(st.lists(st.sampled_from(PIECES), max_size=3))
    glue = draw(st.sampled_from([" ", "\n", ""]))
    start = draw(st.lists(st.sampled_from(PIECES), max_size=6))
    parts = list(start)
    for _ in range(draw(st.integers(1, 9))):
        parts += [*unit, *between[: draw(st.integers(0, 3))]]
    return glue.join([*parts, *draw(st.lists(st.sampled_from(PIECES), max_size=6))])


@settings(max_examples=80, deadline=None)
@given(st.lists(write_text(), min_size=1, max_size=6))
def test_no_text_with_a_loop_is_ruled_out(texts):
    """The loops of a column are those that a search of every text finds."""
    require_equal(texts)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=120), max_size=5), st.integers(1, 6))
@example([], 1)
@example([""], 1)
@example(["\x00\n", "\u2028"], 3)
def test_any_texts_have_the_loops_that_a_search_finds(texts, copies):
    """This holds for any characters, for no text at all and for empty ones."""
    require_equal([text * copies for text in texts])


@pytest.mark.parametrize("width", [1, 2, 3, 5, 8, 13, 40, 80])
@pytest.mark.parametrize("extra", [0, 1])
def test_the_shortest_loop_of_each_period_is_searched(width, extra):
    """A text with exactly as many words as the shortest loop may have isn't ruled out."""
    words = [f"w{'abcdefghij'[number % 10]}{'klmnopqr'[number // 10]}" for number in range(width)]
    count = max(12, 3 * width) + extra
    text = " ".join((words * count)[:count])
    assert find_loop(text, OPTIONS).score > 0
    assert find_among([PROSE, text]) == [1]


def test_words_that_differ_late_are_told_apart_by_the_search():
    """Words that are equal in their first letters and length only cost a needless search."""
    words = [f"internationali{a}{b}" for a in "bcdfg" for b in "hjklmn"]
    assert find_among([" ".join(words)]) == [0]
    assert score_all([" ".join(words)]) == [(0.0, 0, 0)]


def test_a_refrain_is_ruled_out():
    """A refrain isn't searched with verses between its copies, but it is on its own."""
    name = re.compile(r"[^\W\d_][\d_]")  # a text with such names is searched in any case
    verses = [answer[:600] for answer in read_clean_answers() if not name.search(answer)][:5]
    refrain = "\nOh carry me home\nover the sea\nover the wide sea\n"
    assert find_among([refrain.join(verses), refrain * 5]) == [1]
    assert find_loop(refrain.join(verses), OPTIONS).score == 0


def test_most_clean_text_is_ruled_out():
    """Of the library's clean answers, at most one in ten is searched."""
    texts = read_clean_answers()
    assert len(texts) > 50
    assert len(find_among(texts)) <= len(texts) / 10


def test_texts_do_not_run_together():
    """Copies in neighbouring texts aren't counted together, whatever ends a text."""
    assert find_among([PROSE] * 5) == []
    assert find_among([PROSE.strip()] * 5) == []
    assert find_among(["x" * 30] * 5) == []


@pytest.mark.parametrize("block", [1, 40, 1 << 19])
def test_blocks_do_not_change_the_result(monkeypatch, block):
    """The texts that are searched don't depend on how many are processed at once."""
    monkeypatch.setattr(repeated_words, "AT_ONCE", block)
    loop = "again and over "
    texts = [PROSE, loop * 20, "", PROSE + "é", ("né " + loop) * 20, PROSE]
    assert find_among(texts) == [1, 4]


def test_a_slice_of_a_column_is_scored_as_its_own_texts():
    """Texts before and after a slice don't count."""
    column = pa.array(["again " * 30, PROSE, "over " * 30, "again " * 30], pa.large_string())
    scores, spans = score_loops(column.slice(1, 2), OPTIONS)
    assert scores.tolist() == [0.0, 1.0]
    assert spans.tolist() == [[0, 0], [0, 149]]


def test_rows_of_single_letters_are_searched():
    """A row of single letters counts as one word in a loop, so its text is always searched."""
    rows = "\n".join(["x o x", "xox"] * 8)
    assert find_among([rows]) == [0]
    assert score_all([rows])[0][0] == pytest.approx(find_loop(rows, OPTIONS).score)


@pytest.mark.parametrize("word", ["ab" * 30, "x" + "_" * 45 + "1", "雨が降る" * 12])
def test_very_long_words_are_searched(word):
    """A loop inside one very long word or name is found."""
    assert find_among([PROSE, PROSE + word]) == [1]
    require_equal([PROSE + word])


def test_letters_beyond_the_first_plane_count_as_letters():
    """Deseret letters are words in both cases, and emoji are none."""
    text = "𐐀𐐁 𐐂𐐃 " * 3 + "𐐨𐐩 😀 𐐪𐐫 " * 5
    assert score_each([text])[0][0] == 1.0
    require_equal([text])
