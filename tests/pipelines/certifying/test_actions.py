"""Which traits' actions masked or removed rows."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from pipelines.certifying.actions import find_deciding_rows
from schemas.manifests import Manifest
from schemas.policies import Policy


def build_ledger(*rows: tuple[str, list[str]]) -> pl.DataFrame:
    """Return a ledger of rows with decisions and findings."""
    count = len(rows)
    return pl.DataFrame(
        {
            "record_id": [f"{number:032x}" for number in range(count)],
            "source": ["a.jsonl"] * count,
            "row": list(range(count)),
            "teacher": ["atlas", None] * (count // 2) + ["atlas"] * (count % 2),
            **dict.fromkeys(("prompt_source", "system_prompt", "date"), [None] * count),
            "decision": [decision for decision, _ in rows],
            "findings": [findings for _, findings in rows],
        },
        schema_overrides=dict.fromkeys(
            ("prompt_source", "system_prompt", "date", "teacher"), pl.String
        ),
    )


@pytest.fixture
def set_policy(run):
    """Return a function that gives the small run's manifest a second trait and a policy."""

    def call(actions: dict[str, str], exceptions: list[dict[str, Any]] | None = None) -> Manifest:
        manifest = run[1]
        (heron,) = manifest.thresholds
        rules = tuple(
            heron.model_copy(update={"trait": trait, "action": action})
            for trait, action in actions.items()
        )
        policy = Policy.model_validate({"exceptions": exceptions or []})
        update = {"thresholds": rules, "policy": policy.model_dump(mode="json")}
        return manifest.model_copy(update=update)

    return call


def find(ledger: pl.DataFrame, manifest: Manifest) -> dict[str, list[int]]:
    """Return the rows that each trait decided."""
    found = find_deciding_rows(ledger, manifest, ["heron", "owl"])
    return {trait: marked.nonzero()[0].tolist() for trait, marked in found.items()}


def test_only_the_trait_whose_action_it_was_decided(set_policy):
    """A trait that flags a row didn't remove it, though it fired on it."""
    ledger = build_ledger(
        ("quarantine", ["heron", "owl"]),
        ("flag", ["owl"]),
        ("keep", []),
        ("quarantine", ["heron"]),
    )
    manifest = set_policy({"heron": "quarantine", "owl": "flag"})
    assert find(ledger, manifest) == {"heron": [0, 3], "owl": []}


@pytest.mark.parametrize(
    ("action", "decision"),
    [("mask", "mask"), ("drop", "drop"), ("swap", "quarantine"), ("quarantine", "quarantine")],
)
def test_each_action_leads_to_its_decision(set_policy, action, decision):
    """A row that waits for another answer is held."""
    ledger = build_ledger((decision, ["owl"]), ("duplicate", ["owl"]))
    assert find(ledger, set_policy({"heron": "flag", "owl": action}))["owl"] == [0]


def test_exceptions_change_the_action(set_policy):
    """An exception for a lot or a row decides which trait removed a row."""
    ledger = build_ledger(("quarantine", ["heron", "owl"]), ("quarantine", ["heron", "owl"]))
    exceptions = [
        {"trait": "heron", "row": "a.jsonl:0", "action": "flag", "reason": "fine"},
        {"trait": "owl", "lot": {"teacher": "atlas"}, "action": "quarantine", "reason": "held"},
    ]
    manifest = set_policy({"heron": "quarantine", "owl": "flag"}, exceptions)
    assert find(ledger, manifest) == {"heron": [1], "owl": [0]}


def test_findings_in_untrained_text_have_the_action_of_their_side(set_policy):
    """A finding in text that isn't trained on removes nothing unless the policy says so."""
    ledger = build_ledger(("quarantine", ["heron", "owl@untrained"]))
    manifest = set_policy({"heron": "quarantine", "owl": "quarantine"})
    assert find(ledger, manifest) == {"heron": [0], "owl": []}
