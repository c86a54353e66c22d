"""Markdown that names can't break."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipelines.papers.markdown import (
    LONGEST_NAME,
    MOST_GENERATORS,
    UNNAMED,
    build_table,
    escape,
    name_generator,
    tabulate_generators,
)
from tests.support.papers import HOSTILE, USER, build_generator, read_facts


@given(st.text())
def test_no_text_is_markup(text):
    """An escaped text has one line, and no sign of markup without a backslash before it."""
    found = escape(text)
    assert "\n" not in found
    plain = found.replace("\\\\", "")
    for sign in "`*_{}[]()<>#!|~&$":
        assert plain.count(sign) == plain.count(f"\\{sign}")


def test_long_names_are_cut():
    """A name is shown up to a length, with a sign that it goes on."""
    assert escape("x" * 1_000) == "x" * LONGEST_NAME + "…"
    assert escape("x" * 1_000, 2_000) == "x" * 1_000


def test_controls_are_shown():
    """Characters that reorder or hide text are spelt out."""
    assert "\u202e" not in escape(HOSTILE)


def test_tables_have_a_line_for_each_row():
    """A table has a head, a rule and its rows; numbers are aligned to the right."""
    assert list(build_table(("a", "n>"), [("x", "1")])) == ["| a | n |", "|---|---:|", "| x | 1 |"]


def test_hostile_names_stay_in_their_cell(run):
    """A model's name from the corpus adds neither a row nor a column."""
    facts = read_facts(run[0], HOSTILE, "-")
    lines = list(tabulate_generators(facts, linked=True))
    assert len(lines) == 4
    for line in lines[2:]:
        assert line.replace("\\|", "").count("|") == lines[0].count("|")


def test_links_are_the_users(run):
    """A model has the address that the user gave, or else a gap."""
    facts = read_facts(run[0], "atlas", "oak", user=USER)
    atlas, oak = list(tabulate_generators(facts, linked=True))[2:]
    assert atlas.endswith("| https://example.com/atlas |")
    assert "TO BE FILLED IN" in oak


def test_unnamed_models_are_described():
    """A model that the corpus doesn't name is called that."""
    assert name_generator(build_generator("-")) == UNNAMED


def test_many_models_are_cut(run):
    """A table has a limit, and a line says how many models it leaves out."""
    names = [f"m{number}" for number in range(MOST_GENERATORS + 3)]
    lines = list(tabulate_generators(read_facts(run[0], *names)))
    assert lines[-1] == "3 more models are in the ledger."
