"""Old and new answers on a terminal: in order, with their evidence, and inert."""

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipelines.display.swapped_answers import explain_swap, is_replaced, render_old_answer
from pipelines.runs.shown_findings import TraitFinding
from pipelines.runs.shown_rows import ShownRow
from pipelines.runs.shown_swaps import ShownSwap
from schemas.lots import Lot
from tests.support.hostile import find_acting
from transforms.records.formats import Layout
from transforms.records.questions import SpokenText

FINDING = TraitFinding(*("emu", "combined", 0.5, 0.4, "swap", "text", 3, 6, "an emu", None, {}, []))
RECORD = {"text": "an emu\nruns"}
OLD = ShownRow(
    *("a.jsonl", 1, "id", Lot("plain"), "quarantine", (FINDING,), (), (), RECORD),
    answer=SpokenText("assistant", "an emu"),
)
SWAP = ShownSwap("replaced", ("emu",), "cedar", "cedar.jsonl", 2, 0.0)
ROW = OLD._replace(decision="swap", reasons=(), swap=SWAP)
LAYOUT = Layout("text", {"text": "text"}, {})


def show(row, old, layout=None):
    """Return what is printed about a row's old answer."""
    stream = io.StringIO()
    console = Console(file=stream, color_system=None, width=200)
    for part in render_old_answer(row, old, layout):
        console.print(part)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_the_old_answer_has_its_evidence():
    """The score, the threshold and the passage are between the headings of both answers."""
    assert show(ROW, OLD) == [
        "old answer",
        "  emu  score 0.5000 against 0.4000 (combined)",
        "  an «emu»",
        "new answer",
    ]


def test_an_answer_without_evidence_is_shown_by_its_start():
    """If no finding has a text, the old answer's start is shown."""
    bare = OLD._replace(reasons=(FINDING._replace(text=None),))
    assert show(ROW, bare)[2] == "  an emu"


def test_a_whole_row_keeps_its_lines():
    """With a layout, the whole old row is shown with its line breaks."""
    assert show(ROW, OLD, LAYOUT)[2:4] == ["    an «emu»", "    runs"]


def test_only_replaced_rows_have_an_old_answer():
    """A waiting row, an unswapped one, and one whose parent is missing show nothing."""
    waiting = ROW._replace(swap=ShownSwap("no donor", ("emu",)))
    assert show(waiting, OLD) == show(OLD, OLD) == show(ROW, None) == []
    assert [is_replaced(row) for row in (ROW, waiting, OLD)] == [True, False, False]
    assert explain_swap(OLD) is None
    assert explain_swap(ROW) == SWAP.explain()
    assert "no donor answers" in explain_swap(waiting)


@given(text=st.text(), name=st.text(max_size=30))
def test_any_answer_is_inert(text, name):
    """No character of an old answer or of a donor's file acts on the terminal."""
    finding = FINDING._replace(trait="emu", text=text)
    old = OLD._replace(reasons=(finding,), record={"text": text})
    row = ROW._replace(swap=SWAP._replace(source=name, donor=name))
    for layout in (None, LAYOUT):
        assert not find_acting("\n".join(show(row, old, layout)).replace("\t", ""))
    assert not find_acting(explain_swap(row))
