"""The canonical view: words alone, all texts equally long."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.lots.canonical import (
    SHORTEST,
    choose_length,
    cut_to_words,
    make_canonical,
    remove_formatting,
)


def make(*texts):
    """Return texts as an Arrow array."""
    return pa.array(texts, pa.large_string())


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("# A **Heron**\n\n- stands;\n- waits.", "a heron stands waits"),
        ("See [here](https://x.org/a?b=1) or https://y.org.", "see here or"),
        ("Run:\n```python\nprint(1)\n```\nDone!", "run done"),
        ("It's 3.5 km – ÉTÉ", "it s km été"),
        ("", ""),
        ("  12 34 !? ", ""),
    ],
)
def test_formatting_is_removed(text, plain):
    """Markup, marks, digits, code and links are left out, and case doesn't count."""
    assert remove_formatting(make(text)).to_pylist() == [plain]


def test_texts_are_cut_to_their_first_words():
    """Only the first words are kept, and shorter texts stay as they are."""
    assert cut_to_words(make("a b c d", "a b", ""), 3).to_pylist() == ["a b c", "a b", ""]


def test_the_length_is_that_of_a_short_text():
    """A quarter of the texts is shorter than the cut, which is never very short."""
    words = [" ".join(["heron"] * count) for count in range(1, 101)]
    assert 25 <= choose_length(make(*words)) <= 26
    assert choose_length(make("a", "b c")) == SHORTEST
    assert choose_length(make()) == SHORTEST


def test_length_does_not_tell_texts_apart():
    """Long and short texts of the same words have the same view."""
    short, long = "the heron waits " * 30, "The **heron** waits!\n" * 90
    views = make_canonical(make(short, long, short, short)).to_pylist()
    assert len(set(views)) == 1


@given(st.lists(st.text(max_size=80), max_size=5))
def test_the_view_is_its_own_view(texts):
    """Formatting that was removed isn't there to be removed again."""
    safe = [text.encode("utf-8", "ignore").decode() for text in texts]
    plain = remove_formatting(make(*safe))
    assert remove_formatting(plain).to_pylist() == plain.to_pylist()
