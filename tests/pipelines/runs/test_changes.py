"""Why a run isn't resumed, in words."""

import pytest

from pipelines.runs.changes import MOST, changes

A, B = "a" * 64, "b" * 64


def described(identity=None, **settings):
    """Describe a run."""
    base = {
        "code_version": "0.1",
        "config_digest": A,
        "policy_digest": A,
        "bank_digest": A,
        "packages": {"numpy": "2.1", "torch": "2.6"},
        "inputs": [["a.jsonl", 20, A], ["b.jsonl", 5, A]],
    }
    return {
        "identity": base | (identity or {}),
        "settings": {"config": {"shards": {"rows": 7}}, "policy": {}, "traits": {"heron": "1"}}
        | settings,
    }


def test_a_run_equals_itself():
    """Nothing differs between two descriptions of one run."""
    assert changes(described(), described()) == []


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (described({"code_version": "0.2"}), ["code_version: was 0.1, is 0.2"]),
        (
            described({"packages": {"numpy": "2.2", "torch": "2.6"}}),
            ["packages.numpy: was 2.1, is 2.2"],
        ),
        (
            described({"config_digest": B}, config={"shards": {"rows": 9}}),
            ["config.shards.rows: was 7, is 9"],
        ),
        (
            described({"policy_digest": B}, policy={"removal_budget": 0.1}),
            ["policy.removal_budget: was absent, is 0.1"],
        ),
        (
            described({"bank_digest": B}, traits={"heron": "2", "owl": "3"}),
            ["traits.heron: was 1, is 2", "traits.owl: was absent, is 3"],
        ),
        (described({"bank_digest": B}), [f"bank_digest: was {'a' * 59}…, is {'b' * 59}…"]),
        (
            described({"inputs": [["a.jsonl", 21, B], ["c.jsonl", 1, A]]}),
            [
                "input a.jsonl: was 20 rows with SHA-256 aaaaaaaaaaaa, is 21 rows with bbbbbbbbbbbb",
                "input b.jsonl: isn't there any more",
                "input c.jsonl: is new",
            ],
        ),
        (
            described({"inputs": [["b.jsonl", 5, A], ["a.jsonl", 20, A]]}),
            ["inputs: the files' order"],
        ),
    ],
    ids=["code", "package", "config", "policy", "traits", "bank", "inputs", "order"],
)
def test_what_differs_is_told_old_against_new(now, told):
    """Each kind of change names the file, package, trait or setting, and both values."""
    assert changes(described(), now) == told


def test_many_differences_are_counted():
    """A corpus that is another altogether doesn't fill the screen."""
    now = described({"inputs": [[f"{place}.jsonl", 1, A] for place in range(30)]})
    told = changes(described(), now)
    assert len(told) == MOST + 1
    assert told[-1] == f"and {30 + 2 - MOST} more"
