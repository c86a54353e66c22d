"""What a ledger says about a swap, for a person."""

import pytest

from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.shown_rows import read_shown_rows
from pipelines.runs.shown_swaps import WAITING, ShownSwap, read_swap
from schemas.swaps import DECISION_OF_OUTCOME, OUTCOMES, REPLACED
from tests.support.runs import read_ledger

ROW = {
    "decision": "swap",
    "swap": REPLACED,
    "swap_traits": "heron,owl",
    "donor": "cedar",
    "donor_source": "cedar.jsonl",
    "donor_row": 3,
    "distance": 0.123456,
    "donor_traits": None,
}


def test_a_replaced_row_names_its_donor():
    """The donor, its file and row, and the distance are in one sentence."""
    found = read_swap(ROW)
    assert found == ShownSwap(REPLACED, ("heron", "owl"), "cedar", "cedar.jsonl", 3, 0.1235)
    assert found.explain() == (
        "replaced because of heron, owl: the new answer is cedar's, from cedar.jsonl row 3, to a "
        "prompt 0.1235 away"
    )
    assert read_swap(ROW | {"distance": 0.0}).explain().endswith("row 3, to the same prompt")


@pytest.mark.parametrize("outcome", [name for name in OUTCOMES if name not in DECISION_OF_OUTCOME])
def test_every_waiting_row_says_why(outcome):
    """Each outcome without a replacement has its own reason, with the donors' traits."""
    none = dict.fromkeys(("donor", "donor_source", "donor_row", "distance"))
    row = ROW | none | {"decision": "quarantine", "swap": outcome, "donor_traits": "elk"}
    said = read_swap(row).explain()
    assert said == f"waits for another answer because of heron, owl: {WAITING[outcome]} (elk)"
    bare = read_swap(row | {"donor_traits": None}).explain()
    assert bare == said.removesuffix(" (elk)")


def test_the_reasons_are_those_of_the_outcomes():
    """No outcome lacks a reason, and no reason an outcome."""
    assert {*WAITING, *DECISION_OF_OUTCOME} == set(OUTCOMES)
    assert len(set(WAITING.values())) == len(WAITING)


def test_other_rows_have_no_swap():
    """A row that wasn't to be replaced has none; one of an earlier swap points to its run."""
    none = dict.fromkeys(ROW)
    assert read_swap(none | {"decision": "keep"}) is None
    assert read_swap({"decision": "keep"}) is None
    earlier = read_swap(none | {"decision": "swap"})
    assert earlier == ShownSwap(None)
    assert "see the parent run" in earlier.explain()


def test_an_earlier_swaps_row_names_its_donor_and_that_swap():
    """The sentence is the one of its own swap, with the run that the swap made."""
    found = read_swap(ROW | {"swap_run": "r-1"})
    assert found == read_swap(ROW)._replace(earlier="r-1")
    said = read_swap(ROW).explain()
    assert found.explain() == f"{said} (by the swap that made run r-1)"


def test_shown_rows_have_their_swaps(swapped):
    """Every row of a swapped run is shown with what its ledger says."""
    run = str(swapped)
    ledger = read_ledger(run)
    rows = read_shown_rows(run, load_manifest(run), range(len(ledger)))
    for shown, row in zip(rows, ledger, strict=True):
        assert (shown.swap.outcome if shown.swap else None) == row["swap"]
        if row["swap"] == REPLACED:
            own = (shown.swap.donor, shown.swap.source, shown.swap.row)
            assert own == (row["donor"], row["donor_source"], row["donor_row"])
            assert shown.answer.text.startswith(row["donor"])


def test_sentences_are_explained():
    """Replaced and masked sentences differ, and a donor is named if there is one."""
    row = {
        "decision": "swap",
        "swap": "sentences replaced",
        "swap_traits": "owl",
        "donor": "cedar",
        "donor_source": "a.jsonl",
        "donor_row": 3,
        "distance": 0.0,
        "donor_traits": None,
    }
    assert read_swap(row).explain() == (
        "sentences replaced because of owl, with sentences of cedar's, from a.jsonl row 3, to the "
        "same prompt"
    )
    masked = {**row, "decision": "mask", "swap": "sentences masked"}
    assert "other sentences were replaced with sentences of cedar's" in read_swap(masked).explain()
    none = {**masked, "donor": None, "donor_source": None, "donor_row": None, "distance": None}
    assert read_swap(none).explain() == "sentences masked because of owl"
