"""The record of a swap: its counts, its donors' names, and its place in a manifest."""

import pytest
from pydantic import ValidationError

from schemas.swaps import (
    DECISION_OF_OUTCOME,
    MASKED,
    OUTCOMES,
    REPLACED,
    SENTENCES,
    BatchRequests,
    Donor,
    EarlierSwap,
    SwapCounts,
    SwapRecord,
    count_done,
    describe_options,
    find_off_shares,
)

COUNTS = SwapCounts(
    outcomes={REPLACED: 5, "no donor": 2, "same answer": 1},
    by_donor={"cedar": 5},
    by_trait={"heron": {REPLACED: 5, "no donor": 2, "same answer": 1}},
)


def build_donor(name: str) -> Donor:
    """Return a donor with this name."""
    return Donor(name=name, run_id="r", ledger_root="0" * 64, rows=30, usable=29)


def test_replaced_and_waiting_rows_are_all_rows():
    """Every row that was to be replaced is either replaced or still waits."""
    assert (COUNTS.replaced, COUNTS.waiting) == (5, 3)
    assert COUNTS.replaced + COUNTS.waiting == sum(COUNTS.outcomes.values())
    assert (SwapCounts().replaced, SwapCounts().waiting) == (0, 0)


def test_the_outcomes_begin_with_the_replacement():
    """The outcomes differ, and only the first ones end the waiting."""
    assert OUTCOMES[0] == REPLACED
    assert OUTCOMES[:3] == tuple(DECISION_OF_OUTCOME)
    assert len(set(OUTCOMES)) == len(OUTCOMES)


def test_masked_rows_dont_wait():
    """A row of which sentences are masked is in the corpus, but nothing was replaced."""
    counts = SwapCounts(outcomes={REPLACED: 1, SENTENCES: 2, MASKED: 4, "no donor": 8})
    assert (counts.replaced, counts.masked, counts.waiting) == (3, 4, 8)
    assert count_done(counts.outcomes) == 7
    assert count_done(counts.outcomes, MASKED) == 4
    assert count_done({}) == 0


@pytest.mark.parametrize("name", ["cedar", "gpt-4.1", "0_a", "a" * 61])
def test_a_donors_name_can_be_a_folders_name(name):
    """Letters, digits, dots, dashes and underscores are allowed."""
    assert build_donor(name).name == name


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "A", "a b", "a" * 62, "-a", "é"])
def test_other_names_are_refused(name):
    """A name can't lead out of the folder of donors."""
    with pytest.raises(ValidationError):
        build_donor(name)


def test_a_record_survives_json():
    """A record that is read back equals the one that was written."""
    record = SwapRecord(
        parent="p",
        parent_digest="1" * 64,
        parent_root="2" * 64,
        donors=(build_donor("cedar"), build_donor("oak")),
        replace=("swap", "quarantine"),
        near=0.25,
        counts=COUNTS,
    )
    assert SwapRecord.model_validate_json(record.model_dump_json()) == record


def test_only_held_rows_can_be_replaced():
    """A record names no action whose text a run doesn't keep."""
    with pytest.raises(ValidationError):
        SwapRecord(parent="p", parent_digest="", parent_root="", donors=(), replace=("drop",))


@pytest.mark.parametrize("wrong", [{"model": ""}, {"reply_tokens": 0}, {"temperature": 1}])
def test_requests_need_a_model_and_tokens(wrong):
    """A model has a name, an answer at least one token, and there are no other settings."""
    with pytest.raises(ValidationError):
        BatchRequests.model_validate({"model": "elm", "reply_tokens": 7, **wrong})


def test_settings_have_only_the_options_that_were_used():
    """The settings of a plain swap don't change with options that it doesn't use."""
    asked = BatchRequests(model="elm", reply_tokens=7)
    assert describe_options(False, None, {}) == {}
    assert describe_options(True, None, {}) == {"spans": True}
    assert describe_options(False, asked, {}) == {"requests": {"model": "elm", "reply_tokens": 7}}
    assert describe_options(False, None, {"a": 1.0}) == {"shares": {"a": 1.0}}


@pytest.mark.parametrize(
    ("used", "off"),
    [
        ({"a": 70, "b": 30}, []),
        ({"a": 58, "b": 42}, []),
        ({"a": 50, "b": 50}, [("a", 50, 70), ("b", 50, 30)]),
        ({"a": 100}, [("a", 100, 70), ("b", 0, 30)]),
        ({"a": 1}, []),
        ({}, []),
    ],
)
def test_donors_off_their_shares_are_found(used, off):
    """A difference that chance explains isn't reported, nor one in a few answers."""
    assert list(find_off_shares({"a": 0.7, "b": 0.3}, used)) == off


def test_an_earlier_swap_reads_back_from_its_json():
    """A record with earlier swaps and shares survives a manifest."""
    earlier = EarlierSwap(run_id="r", parent="q", donors=(build_donor("cedar"),), counts=COUNTS)
    record = SwapRecord(
        parent="p",
        parent_digest="",
        parent_root="",
        donors=(build_donor("oak"),),
        shares={"oak": 1.0},
        earlier=(earlier,),
    )
    assert SwapRecord.model_validate_json(record.model_dump_json()) == record
    assert record.earlier[0].counts.by_donor == {"cedar": 5}
    with pytest.raises(ValidationError):
        EarlierSwap.model_validate({**earlier.model_dump(), "run": "x"})
