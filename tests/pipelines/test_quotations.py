"""Quotations: the verdict, the text around the evidence, and remarks."""

import pytest

from pipelines.quotations import cut_text, describe_changes, describe_verdict, lead_to, quote_row
from pipelines.runs.shown_findings import TraitFinding
from pipelines.runs.shown_rows import MaskedSpan, ShownRow
from schemas.lots import Lot
from schemas.policies import Policy
from transforms.exception_effects import ChangedRow
from transforms.records.questions import SpokenText

OWL = TraitFinding(
    *("owl", "combined", 0.9, 0.5, "quarantine", "text", 3, 6, "an owl", None, {}, [])
)
FOX = OWL._replace(trait="fox", action="mask", score=0.95)
ROW = ShownRow(
    *("a.jsonl", 1, "id", Lot("plain"), "quarantine", (FOX, OWL), (), (), {"text": "an owl"})
)


def join(pieces) -> str:
    """Return the pieces' text."""
    return "".join(piece.text for piece in pieces)


@pytest.mark.parametrize(
    ("action", "decision"), [("swap", "quarantine"), ("drop", "drop"), (None, None)]
)
def test_an_action_leads_to_a_decision(action, decision):
    """Only a row that waits for a swap has another decision than its action."""
    assert lead_to(OWL._replace(action=action)) == decision


def test_the_finding_that_decided_is_quoted():
    """The quoted finding is that of the deciding trait, even if another one scored higher."""
    found = quote_row(ROW, Policy())
    assert found.finding == OWL
    assert found.verdict == "quarantine"
    kept = ROW._replace(decision="keep", reasons=(), near=(FOX,))
    assert quote_row(kept, Policy()).finding == FOX
    assert quote_row(kept._replace(near=()), Policy()).finding is None


def test_the_verdict_names_another_trait():
    """A finding whose trait didn't decide names the one that did."""
    assert describe_verdict(ROW, FOX) == "quarantine, decided by owl"
    assert describe_verdict(ROW, OWL._replace(action="swap")) == "swap"
    assert describe_verdict(ROW._replace(decision="duplicate"), FOX) == "duplicate"
    assert describe_verdict(ROW, None) == "quarantine"


def test_the_text_is_cut_around_the_evidence():
    """The context and the evidence have bounds, and masks are kept."""
    long = OWL._replace(text="word " * 100 + "o" * 900 + " word" * 100, start=500, end=1400)
    short = join(cut_text(ROW, long, 20, 60))
    assert len(short) < 150
    assert len(join(cut_text(ROW, long))) > 640
    assert "characters left out" in short
    masked = ROW._replace(masks=(MaskedSpan("text", 3, 6),))
    assert [piece.text for piece in cut_text(masked, OWL) if piece.masked] == ["owl"]


def test_a_row_without_text_says_what_it_lacks():
    """Without evidence there is the answer, the error, or the reason why there is no text."""
    bare = ROW._replace(reasons=())
    assert join(cut_text(bare, None)) == "(the field isn't in the row)"
    said = SpokenText("assistant", "an answer")
    assert join(cut_text(bare._replace(answer=said), None)) == "an answer"
    gone = bare._replace(record=None)
    assert "doesn't contain the text" in join(cut_text(gone, None))
    assert join(cut_text(gone._replace(error="not JSON", raw=b"\xff{"), None)).startswith(
        "not JSON"
    )


def test_exceptions_are_named_with_their_reasons():
    """An exception says what it changed, or that it kept the row, and why."""
    item = {"trait": "owl", "lot": {}, "action": "keep", "reason": "wanted"}
    policy = Policy.model_validate({"exceptions": [item]})
    kept = ROW._replace(decision="keep", exceptions=(ChangedRow(1, "quarantine", "keep"),))
    assert list(describe_changes(kept, policy)) == ["kept by exception 1: wanted"]
    changed = ROW._replace(exceptions=(ChangedRow(1, "drop", "quarantine"),))
    said = "exception 1 changed drop to quarantine: wanted"
    assert list(describe_changes(changed, policy)) == [said]
