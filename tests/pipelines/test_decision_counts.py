"""Counts of what a policy would decide: those of the run that it would give."""

import json

import pytest

from pipelines.decide import DecideConfig, run_decide
from pipelines.decision_counts import count_decisions
from pipelines.runs.finished import scan_folder
from pipelines.runs.manifest_file import load_manifest
from schemas.errors import CardError, RunError
from schemas.policies import Policy


@pytest.mark.parametrize(
    "policy",
    [
        {"traits": {"heron": {"action": "flag"}}},
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
    assert found.unmatched == []


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
