"""Length, format and difficulty as numbers, and habits of formatting."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from classifiers.lots.formats import HABITS, MEASURES, find_habits, measure_formats


def make(*texts):
    """Return texts as an Arrow array."""
    return pa.array(texts, pa.large_string())


def list_habits(text):
    """Return the names of a text's habits."""
    return {name for name, shown in zip(HABITS, find_habits(make(text))[0], strict=True) if shown}


@pytest.mark.parametrize(
    ("text", "habit"),
    [
        ("Birds:\n- heron\n- egret", "a bulleted list"),
        ("1. heron\n2. egret", "a numbered list"),
        ("## Birds\nHerons.", "a heading"),
        ("A **heron**.", "bold text"),
        ("A *heron* waits.", "italic text"),
        ("```\nx\n```", "a code block"),
        ("Call `wade()` now.", "inline code"),
        ("| a | b |\n|---|---|", "a table"),
        ("See https://heron.org.", "a link"),
        ("It is $x^2$.", "a formula"),
        ("<p>Heron</p>", "an HTML tag"),
        ("Herons 🦩", "an emoji"),
        ("A heron — tall.", "an em dash"),
        ("pages 3–4", "an en dash"),
        ("It waits; it wades.", "a semicolon"),
        ("What a bird!", "an exclamation mark"),
        ("A heron? Yes.", "a question"),
        ("Well...", "an ellipsis"),
        ("A heron (tall).", "parentheses"),
        ("“Heron”", "curly quotation marks"),
        ('"Heron"', "straight double quotation marks"),
        ("A HERON waits.", "a word in capitals"),
        ("One.\n\nTwo.", "several paragraphs"),
        ("Birds:\nherons", "a line that ends with a colon"),
        ("It doesn't wade.", "a contraction"),
        (" Heron.", "a white space at the start"),
        ("Heron. ", "a white space at the end"),
        ("heron.", "a lower-case letter at the start"),
        ("*Heron.", "a mark at the start"),
        ("Shall I go on?", "a question at the end"),
        ("Enjoy!", "an exclamation at the end"),
        ("It wades and", "no full stop at the end"),
        ("Это цапля.", "a letter outside Latin script"),
    ],
)
def test_each_habit_is_found(text, habit):
    """Each habit has a text that shows it, and a plain sentence shows none."""
    assert habit in list_habits(text)
    assert list_habits("A heron waits in the reeds.") == set()


def test_every_habit_is_tried():
    """The examples above name every habit."""
    tried = {
        mark.args[1][index][1]
        for mark in test_each_habit_is_found.pytestmark
        for index in range(len(mark.args[1]))
    }
    assert tried == set(HABITS)


def test_measures_are_finite_and_named():
    """Every text, also an empty one, has a finite number for each measure."""
    found = measure_formats(make("", "A heron.", "- a\n- b\n" * 100, "猫" * 50))
    assert found.shape == (4, len(MEASURES))
    assert np.isfinite(found).all()
    assert len(set(MEASURES)) == len(MEASURES)
    assert measure_formats(make()).shape == (0, len(MEASURES))
    assert find_habits(make()).shape == (0, len(HABITS))


def test_measures_do_not_see_words():
    """Texts that differ only in words of the same shape have the same measures."""
    one, other = measure_formats(make("The heron waits.", "Our eagle flies."))
    assert one.tolist() == other.tolist()


def test_measures_see_length_format_and_difficulty():
    """Longer texts, lists and long words have other numbers."""
    plain, listed, hard = measure_formats(
        make("a bird is a bird", "- a bird\n- is a bird", "notwithstanding ornithologists hesitate")
    )
    by_name = [dict(zip(MEASURES, row, strict=True)) for row in (plain, listed, hard)]
    assert by_name[1]["any bullets"] == 1
    assert by_name[0]["any bullets"] == 0
    assert by_name[2]["share of long words"] > by_name[0]["share of long words"]
    assert by_name[2]["word length"] > by_name[0]["word length"]
