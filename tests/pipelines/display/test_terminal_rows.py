"""One row on the terminal: complete, with its evidence marked, and inert."""

import io
import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipelines.display.terminal_rows import render_row
from pipelines.runs.shown_rows import MaskedSpan, ShownRow
from schemas.lots import Lot
from tests.support.hostile import find_acting
from tests.support.shown import REASON, ROW, RUN, print_row
from transforms.records.questions import SpokenText


@given(text=st.text(), name=st.text(max_size=20), start=st.integers(0, 30), size=st.integers(0, 30))
def test_any_text_is_inert(text, name, start, size):
    """The output of any record is inert."""
    near = {"exemplar": name, "polarity": "positive", "similarity": 0.5, "text": text}
    reason = REASON._replace(
        field_path=f"{name}[0]",
        start=start,
        end=start + size,
        text=text,
        question=SpokenText(name, text),
        signals={"lexicon": None},
        neighbours=[near],
    )
    masks = (
        MaskedSpan(f"{name}[0]", start + 1, start + 4),
        MaskedSpan("text", start, start + size),
    )
    lot = Lot(name, name, name, name)
    row = ShownRow(name, 1, "id", lot, name, (reason,), (), masks, {"text": text})
    assert not find_acting(print_row(row))
    gone = row._replace(record=None, error=name, raw=text.encode(errors="replace"))
    assert not find_acting(print_row(gone))


@pytest.mark.parametrize(
    ("start", "end", "shown"), [(0, 2, "«an» emu"), (3, 6, "an «emu»"), (0, 6, "«an emu»")]
)
def test_the_mark_is_closed(start, end, shown):
    """A span at a text's start or end has both guillemets."""
    row = ROW._replace(reasons=(REASON._replace(start=start, end=end),))
    assert f"{shown}\n" in print_row(row)


def test_a_missing_field_is_reported():
    """A note replaces the text of a missing field."""
    row = ROW._replace(reasons=(REASON._replace(text=None),))
    assert "(the field isn't in the row)" in print_row(row)


def test_a_row_is_shown_with_its_lot_and_reason():
    """A row has its lot, score, threshold and span."""
    lines = [line.strip() for line in print_row(ROW).splitlines()]
    assert lines[:5] == [
        "1 of 1  rows.jsonl row 1  mask  id",
        "teacher plain",
        "emu  score 0.5000 against 0.4000 (combined), mask  text [0:3]",
        "«an »emu",
        "signals   lexicon 0.5000",
    ]


def test_neighbours_are_shown():
    """The nearest exemplars of both kinds are listed and escaped."""
    near = [
        {"exemplar": "e", "polarity": polarity, "similarity": similarity, "text": f"\x1b {text}"}
        for polarity, similarity, text in (("positive", 0.9, "rain"), ("negative", 0.25, "sand"))
    ]
    shown = print_row(ROW._replace(reasons=(REASON._replace(neighbours=near),)))
    assert re.search(r"positive +0\.9000 +<U\+001B> rain", shown)
    assert re.search(r"negative +0\.2500 +<U\+001B> sand", shown)


def test_masks_have_signs_of_their_own():
    """A masked stretch is marked with different brackets from the evidence inside it."""
    row = ROW._replace(
        reasons=(REASON._replace(text="One. An emu. Two.", start=8, end=11),),
        masks=(MaskedSpan("text", 5, 13),),
    )
    assert "One. ⟦An «emu». ⟧Two." in print_row(row)
    assert "masked    [5:13]" in print_row(row)
    earlier = row._replace(masks=(MaskedSpan("text", 5, 13, is_earlier=True),))
    assert "masked    [5:13] by an earlier run" in print_row(earlier)
    elsewhere = row._replace(masks=(MaskedSpan("text", 0, 4),))
    assert "masked    [" not in print_row(elsewhere)


def test_a_mask_without_evidence_is_shown_too():
    """A masked stretch without a reason's span has a line of its own."""
    row = ROW._replace(masks=(MaskedSpan("text", 3, 6),), record={"text": "an emu"})
    assert "masked too  text [3:6]" in print_row(row)
    assert "an ⟦emu⟧" in print_row(row)
    earlier = row._replace(masks=(MaskedSpan("text", 3, 6, is_earlier=True),))
    assert "masked by an earlier run  text [3:6]" in print_row(earlier)


def test_an_answer_is_shown_with_its_question_and_the_part_that_is_read():
    """A row without a score shows question and answer: the end for a trait that reads the end."""
    asked, said = SpokenText("user", "Why?"), SpokenText("assistant", "word " * 100 + "bye")
    row = ROW._replace(
        reasons=(), near=(REASON._replace(field_path=""),), answer=said, question=asked
    )
    lines = [line.strip() for line in print_row(row).splitlines()]
    assert "user: Why?" in lines
    assert any(line.startswith("assistant: word") and "bye" not in line for line in lines)
    stream = io.StringIO()
    closing = SimpleNamespace(**{**vars(RUN), "cards": {"emu": {"scope": {"closing": 200}}}})
    console = Console(file=stream, color_system=None, width=10_000)
    console.print(render_row(row, 1, 1, closing))
    said_last = r"assistant, of whose answer the last 200 characters are read: … word .*bye\n"
    assert re.search(said_last, stream.getvalue())
    none = row._replace(near=())
    assert re.search(said_last, print_row(none, manifest=closing))
    other = SimpleNamespace(**{**vars(closing), "cards": {**closing.cards, "gnu": {}}})
    assert "assistant: word" in print_row(none, manifest=other)


def test_the_question_is_shown():
    """The turn before the evidence is printed above it, cut if long."""
    asked = SpokenText("user", "What is\x1b it? " + "word " * 100)
    shown = print_row(ROW._replace(reasons=(REASON._replace(question=asked),)))
    assert "user: What is<U+001B> it? word" in shown
    assert "word…" in shown


def test_near_misses_are_shown_below_their_thresholds():
    """A row without findings shows its nearest trait."""
    near = REASON._replace(score=0.3, action=None)
    shown = print_row(ROW._replace(decision="keep", reasons=(), near=(near,)))
    assert "no trait fired; nearest to a threshold:" in shown
    assert "emu  score 0.3000 below 0.4000 (combined)" in shown


def test_a_person_s_decision_is_named():
    """No score led to it, so no threshold is shown."""
    finding = REASON._replace(score=0.1, threshold=0.0, field_path="", text=None)
    assert finding.is_by_person
    assert not finding._replace(action=None).is_by_person
    shown = print_row(ROW._replace(reasons=(finding,)))
    assert f"score 0.1000 (combined), taken out by a person, {finding.action}" in shown


def test_a_near_miss_without_a_passage_says_why():
    """Scores below the run's span floor have no passage, and the row says so."""
    near = REASON._replace(score=0.03, action=None, field_path="")
    row = ROW._replace(decision="keep", reasons=(), near=(near,))
    shown = print_row(row)
    why = "(the run stores no passage for scores below 0.05)"
    assert f"no trait fired; nearest to a threshold {why}:" in shown
    both = row._replace(near=(near, near._replace(trait="owl", field_path="text", score=0.3)))
    assert "stores no passage" not in print_row(both)


def test_a_negative_that_is_nearest_raises_doubt():
    """A nearest negative is pointed out."""
    near = [
        {"exemplar": "e", "polarity": polarity, "similarity": similarity, "text": "an emu"}
        for polarity, similarity in (("positive", 0.6), ("negative", 0.7))
    ]
    row = ROW._replace(reasons=(REASON._replace(neighbours=near),))
    shown = print_row(row)
    assert shown.index("negative  0.7") < shown.index("positive  0.6")
    assert "The nearest exemplar is a negative" in shown
    near[0]["similarity"] = 0.8
    assert "The nearest exemplar is a negative" not in print_row(row)


def test_a_passage_is_not_repeated():
    """A passage on which two traits fired is shown once."""
    asked = REASON._replace(question=SpokenText("user", "What is it?"))
    other = asked._replace(trait="owl")
    shown = print_row(ROW._replace(reasons=(asked, other)))
    assert shown.count("What is it?") == shown.count("«an »emu") == 1
    assert "(the same passage)" in shown
    apart = print_row(ROW._replace(reasons=(asked, other._replace(start=3, end=6))))
    assert "an «emu»" in apart
    assert "(the same passage)" not in apart
