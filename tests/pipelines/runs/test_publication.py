"""Publication: conservation and budgets come before the manifest."""

import pytest

from pipelines.runs.publication import (
    check_budgets,
    circumstances,
    conservation,
    in_order,
    totals,
    withdraw,
)
from schemas.digests import compute_merkle_root
from schemas.errors import BudgetError, RunError
from schemas.manifests import Conservation
from schemas.policies import Policy
from transforms.files.sources import Corpus, Cut, ShardPlan, Source, SourcePiece
from transforms.write import OutputFile, Receipt


def receipt(name: str = "part-0", rows: int = 10, **decisions: int) -> Receipt:
    """Return a receipt with the given decisions."""
    outputs = (OutputFile(f"ledger/{name}.parquet", rows, 5, "ab"),)
    return Receipt(
        name, rows, outputs, decisions or {"keep": rows}, {"heron": 2}, "00" * 32, 80, 100
    )


def corpus(rows: int) -> Corpus:
    """Return a survey of one file."""
    return Corpus(
        (Source("a", "a", "jsonl", "none", 1, "ff", rows, (Cut(0, 0, 0), Cut(rows, 1, 0))),),
        None,
        (),
    )


def test_conservation_adds_up():
    """Decisions over all shards sum to the rows read."""
    result = conservation(corpus(20), [receipt("a", keep=7, reject=3), receipt("b", keep=10)])
    assert result.by_decision == {"keep": 17, "reject": 3}


def test_a_lost_row_stops_the_run():
    """One row less than was read is an error, never a manifest."""
    with pytest.raises(RunError, match="20 rows were read, 19"):
        conservation(corpus(20), [receipt("a", keep=9), receipt("b", keep=10)])


@pytest.mark.parametrize(
    ("budget", "fits"), [(None, True), (0.3, True), (0.29, False), (0.0, False)]
)
def test_removal_budget_counts_all_that_leaves(budget, fits):
    """Quarantined, dropped and duplicate rows are removals; flagged ones and rejects aren't."""
    result = Conservation(
        rows_in=10,
        by_decision={"keep": 4, "flag": 1, "quarantine": 1, "drop": 1, "duplicate": 1, "reject": 2},
    )
    policy = Policy(removal_budget=budget)
    if fits:
        check_budgets(result, policy)
    else:
        with pytest.raises(BudgetError, match="nothing was published"):
            check_budgets(result, policy)


def test_reject_budget():
    """Rejects have a budget of their own."""
    with pytest.raises(BudgetError, match="reject_budget"):
        check_budgets(
            Conservation(rows_in=4, by_decision={"keep": 2, "reject": 2}),
            Policy(reject_budget=0.25),
        )


def test_withdrawn_runs_leave_no_corpus(tmp_path):
    """What a stopped run wrote is taken back."""
    for name in ("clean", "quarantine", "ledger", ".work"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("text")
    withdraw(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_order_and_missing_receipts():
    """Receipts follow the corpus; a missing one is named."""
    piece = SourcePiece("a", "a", "ff", "jsonl", "none", Cut(0, 0, 0), Cut(1, 1, 0))
    plans = [ShardPlan("part-1", (piece,)), ShardPlan("part-0", (piece,))]
    both = {"part-0": receipt("part-0"), "part-1": receipt("part-1")}
    assert [item.shard for item in in_order(plans, both)] == ["part-1", "part-0"]
    with pytest.raises(RunError, match="part-0"):
        in_order(plans, {"part-1": both["part-1"]})


def test_totals_and_circumstances():
    """Files, firings and tokens add up; the root is Merkle's over the shards."""
    found = totals([receipt("a"), receipt("b")])
    assert found["fired"] == {"heron": 4}
    assert found["ledger_root"] == compute_merkle_root([bytes(32), bytes(32)]).hex()
    facts = circumstances(2.0, [receipt("a"), receipt("b")], "cpu", ("congener",))
    assert (facts["rows_per_second"], facts["tokens_per_second"], facts["padding_waste"]) == (
        10.0,
        80.0,
        0.2,
    )
