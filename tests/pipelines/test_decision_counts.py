"""Counts of what a policy would decide: those of the run that it would give."""

import json

import polars as pl
import pytest

from pipelines.config import read_policy
from pipelines.decide import DecideConfig, run_decide
from pipelines.decision_counts import count_decisions
from pipelines.runs.finished import scan_folder
from pipelines.runs.manifest_file import load_manifest
from schemas.errors import CardError, InputError, RunError
from schemas.policies import Policy

FLAGGED = {"traits": {"heron": {"action": "flag"}}}


@pytest.mark.parametrize(
    "policy",
    [
        FLAGGED,
        {"traits": {"heron": {"threshold": 1}}},
        {
            "exceptions": [
                {"row": "0.jsonl:1", "trait": "heron", "action": "keep", "reason": "read"}
            ]
        },
    ],
)
def test_the_counts_are_those_of_the_decided_run(run, config, tmp_path, policy):
    """A dry run counts what a run with the same policy has."""
    folder, path = str(run[0]), tmp_path / "policy.json"
    path.write_text(json.dumps(policy))
    found = count_decisions(folder, Policy.model_validate(policy))
    settings = config.model_copy(update={"output": str(tmp_path / "again"), "policy": str(path)})
    written = run_decide(DecideConfig(run=folder, filter=settings))
    assert found.now == dict(written.conservation.by_decision)
    assert found.before == dict(load_manifest(folder).conservation.by_decision)
    assert (found.unmatched, found.unknown) == ([], {})
    assert tuple(found.effects) == written.exceptions
    for name, count in found.now.items():
        gone = sum(rows for (before, _), rows in found.moved.items() if before == name)
        come = sum(rows for (_, after), rows in found.moved.items() if after == name)
        assert count == found.before.get(name, 0) - gone + come


def test_the_rows_that_move_are_counted(run):
    """Rows are counted by their decisions before and after, and rows that stay aren't."""
    found = count_decisions(str(run[0]), Policy.model_validate(FLAGGED))
    assert list(found.moved) == [("quarantine", "flag")]
    assert found.moved["quarantine", "flag"] == found.before["quarantine"]
    assert count_decisions(str(run[0]), Policy()).moved == {}


def test_names_of_no_row_are_listed(run):
    """Exceptions whose rows don't exist are named by number; ids and places that exist aren't."""
    folder = str(run[0])
    ledger = scan_folder(folder, load_manifest(folder), "ledger").collect()
    named = ["0.jsonl:1", "0.jsonl:999", ledger["record_id"][3], "f" * 32]
    exceptions = [{"row": name, "action": "keep", "reason": "x"} for name in named]
    found = count_decisions(folder, Policy.model_validate({"exceptions": exceptions}))
    assert found.unmatched == [(2, "row 0.jsonl:999"), (4, f"row {'f' * 32}")]


def test_patterns_of_no_lot_are_listed(run):
    """Exceptions for lots are named if no row is in such a lot, also beside a row's name."""
    lots = [{"teacher": "atl*"}, {"teacher": "atlantis"}, {"date": "2026-*"}, {"date": "-"}]
    exceptions = [{"trait": "heron", "lot": lot, "action": "keep", "reason": "x"} for lot in lots]
    named = {"row": "0.jsonl:1", "trait": "*", "lot": lots[1], "action": "keep", "reason": "x"}
    policy = Policy.model_validate({"exceptions": [*exceptions, named]})
    found = count_decisions(str(run[0]), policy)
    assert found.unmatched == [
        (2, "teacher: atlantis"),
        (3, "date: 2026-*"),
        (5, "row 0.jsonl:1, teacher: atlantis"),
    ]


def test_a_policy_that_does_not_fit_is_refused(run, tmp_path):
    """An unknown trait is an error, as it is for the run, and so is a folder without a run."""
    with pytest.raises(CardError):
        count_decisions(str(run[0]), Policy.model_validate({"traits": {"stork": {}}}))
    with pytest.raises(RunError):
        count_decisions(str(tmp_path), Policy())


def test_rows_are_named_by_a_column_of_the_corpus(run, config, corpus, tmp_path, policy):
    """A dry run reads the input for ids, as the run does, and names those that no row has."""
    folder, rows = str(run[0]), [{"id": "row-1"}, {"id": "row-none"}]
    given = [{"row": row, "trait": "heron", "action": "keep", "reason": "read"} for row in rows]
    path = policy(json.dumps({"exceptions": given}))
    found = count_decisions(folder, read_policy(path))
    assert found.unmatched == [(2, "row id: row-none")]
    assert [effect.rows for effect in found.effects] == [1, 0]
    settings = config.model_copy(update={"output": str(tmp_path / "again"), "policy": path})
    written = run_decide(DecideConfig(run=folder, filter=settings))
    assert found.now == dict(written.conservation.by_decision)
    corpus.rename(tmp_path / "moved")
    with pytest.raises(InputError, match="can't be opened"):
        count_decisions(folder, read_policy(path))
    assert count_decisions(folder, read_policy(path), str(tmp_path / "moved")) == found


def test_exceptions_for_another_trait_are_listed(run):
    """An exception whose trait didn't fire on its row is named, with the traits that did."""
    folder = str(run[0])
    ledger = scan_folder(folder, load_manifest(folder), "ledger").collect()
    (held,) = ledger.filter(pl.col("decision") == "quarantine").head(1).to_dicts()
    named = f"{held['source']}:{held['row']}"
    exceptions = [
        {"row": row, "action": "keep", "reason": "x"} | more
        for row, more in (
            (named, {"trait": "heron"}),
            (named, {"trait": "heron", "side": "rejected"}),
            (held["record_id"], {}),
        )
    ]
    found = count_decisions(folder, Policy.model_validate({"exceptions": exceptions}))
    assert [number for number, _ in found.idle] == [2]
    assert found.idle[0][1].endswith("heron@rejected didn't fire on that row, but heron did")
