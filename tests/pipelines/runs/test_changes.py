"""The differences between two descriptions of a run."""

import pytest

from pipelines.runs.changes import (
    LONGEST_VALUE,
    MOST_SHOWN,
    RULE_DEFAULTS,
    list_all_changes,
    list_changes,
    list_setting_changes,
)

A, B = "a" * 64, "b" * 64


def describe(identity=None, **settings):
    """Return a run's description with some fields changed."""
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
        "settings": {
            "config": {"shards": {"rows": 7}},
            "policy": {},
            "traits": {"heron": "1"},
        }
        | settings,
    }


def test_an_action_on_both_sides_is_called_by_its_trait():
    """Two actions of one trait are shown without the path of the setting."""
    begun, now = (
        describe({"policy_digest": digest}, policy={"traits": {"heron": {"action": action}}})
        for digest, action in ((A, "flag"), (B, "drop"))
    )
    assert list_changes(begun, now) == ["heron: flag → drop"]


def test_the_rule_of_every_other_trait_has_a_name():
    """The action of `*` is shown in words."""
    begun, now = (
        describe({"policy_digest": digest}, policy={"traits": {"*": {"action": action}}})
        for digest, action in ((A, "flag"), (B, "drop"))
    )
    assert list_changes(begun, now) == ["every other trait: flag → drop"]


def test_a_run_equals_itself():
    """Equal descriptions have no differences."""
    assert list_changes(describe(), describe()) == []


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (describe({"code_version": "0.2"}), ["code_version: was 0.1, is 0.2"]),
        (
            describe({"packages": {"numpy": "2.2", "torch": "2.6"}}),
            ["packages.numpy: was 2.1, is 2.2"],
        ),
        (
            describe({"config_digest": B}, config={"shards": {"rows": 9}}),
            ["config.shards.rows: was 7, is 9"],
        ),
        (
            describe({"policy_digest": B}, policy={"removal_budget": 0.1}),
            ["policy.removal_budget: was absent, is 0.1"],
        ),
        (
            describe(
                {"policy_digest": B},
                policy={"traits": {"heron": RULE_DEFAULTS | {"action": "flag"}}},
            ),
            ["policy.traits.heron.action: was absent, is flag"],
        ),
        (
            describe(
                {"policy_digest": B},
                policy={"exceptions": [{"trait": "owl", "threshold": None, "reason": "asked"}]},
            ),
            ["exception added: owl (reason asked)"],
        ),
        (
            describe({"policy_digest": B}, policy={"untrained_roles": ["user", "tool"]}),
            ["policy.untrained_roles: was absent, is ['user', 'tool']"],
        ),
        (
            describe({"bank_digest": B}, traits={"heron": "2", "owl": "3"}),
            ["traits.heron: was 1, is 2", "traits.owl: was absent, is 3"],
        ),
        (
            describe({"bank_digest": B}),
            [f"bank_digest: was {A[: LONGEST_VALUE - 1]}…, is {B[: LONGEST_VALUE - 1]}…"],
        ),
        (
            describe({"inputs": [["a.jsonl", 21, B], ["c.jsonl", 1, A]]}),
            [
                (
                    "input a.jsonl: was 20 rows with SHA-256 aaaaaaaaaaaa, "
                    "is 21 rows with bbbbbbbbbbbb"
                ),
                "input b.jsonl: was removed",
                "input c.jsonl: is new",
            ],
        ),
        (
            describe({"inputs": [["b.jsonl", 5, A], ["a.jsonl", 20, A]]}),
            ["inputs: the files are in a different order"],
        ),
    ],
    ids=[
        "code",
        "package",
        "config",
        "policy",
        "rule",
        "exception",
        "list",
        "traits",
        "bank",
        "inputs",
        "order",
    ],
)
def test_a_difference_names_both_values(now, expected):
    """Each difference names its file, package, trait or setting, and both values."""
    assert list_changes(describe(), now) == expected


def test_many_differences_are_counted():
    """Of many differences, some are listed and the rest counted."""
    now = describe({"inputs": [[f"{number}.jsonl", 1, A] for number in range(30)]})
    lines = list_changes(describe(), now)
    assert len(lines) == MOST_SHOWN + 1
    assert lines[-1] == f"and {30 + 2 - MOST_SHOWN} more"


def test_settings_explain_a_digest_that_differs():
    """A differing digest's settings are listed instead of the digest."""
    now = describe({"config_digest": B}, config={"shards": {"rows": 9}, "span_floor": 0.05})
    assert list_changes(describe(), now) == [
        "config.shards.rows: was 7, is 9",
        "config.span_floor: was absent, is 0.05",
    ]


def test_the_place_of_an_id_is_no_difference():
    """An exception that names a row by an id is the same with and without the row's place."""
    row = {"column": "id", "value": "a", "source": None, "row": None}
    placed = {**row, "source": "a.jsonl", "row": 3}
    given = describe(policy={"exceptions": [{"row": placed, "action": "keep"}]})
    same = describe(policy={"exceptions": [{"row": row, "action": "keep"}]})
    other = describe(policy={"exceptions": [{"row": {**row, "value": "b"}, "action": "keep"}]})
    settings = [item["settings"] for item in (given, same, other)]
    assert list_setting_changes(settings[0], settings[1]) == []
    assert list_setting_changes(*settings[::2]) == [
        "exception removed: every trait (column id, value a, source a.jsonl, row 3, action keep)",
        "exception added: every trait (column id, value b, action keep)",
    ]


def test_exceptions_are_compared_whatever_their_places():
    """One that is gone and one that is new are named whole, and the others aren't mentioned."""
    flag, other = (
        {"trait": trait, "lot": {"teacher": "atlas", "date": None}, "side": "trained"}
        | {"action": "flag", "threshold": None, "reason": "x" * 90}
        for trait in ("owl", "heron")
    )
    row = {"trait": "*", "row": {"source": "a.jsonl", "row": 3}, "action": "keep", "reason": "read"}
    settings = [{"policy": {"exceptions": item}} for item in ([other, flag], [row, other])]
    reason = "x" * (LONGEST_VALUE - 1) + "…"
    assert list_setting_changes(*settings) == [
        f"exception removed: owl (teacher atlas, action flag, reason {reason})",
        "exception added: every trait (source a.jsonl, row 3, action keep, reason read)",
    ]
    turned = {"policy": {"exceptions": [flag, other]}}
    assert list_setting_changes(settings[0], turned) == ["exceptions: the order differs"]
    twice = {"policy": {"exceptions": [other, flag, flag]}}
    (added,) = list_setting_changes(settings[0], twice)
    assert added.startswith("exception added: owl")


def test_all_changes_have_no_limit():
    """A comparison of finished runs names every difference; a refusal names the first ones."""
    packages = {f"p{number}": "1" for number in range(MOST_SHOWN + 5)}
    begun, now = (
        describe({"packages": packages}),
        describe({"packages": dict.fromkeys(packages, "2")}),
    )
    assert len(list_all_changes(begun, now)) == MOST_SHOWN + 5
    assert list_changes(begun, now)[-1] == "and 5 more"
    assert list_changes(begun, now)[:-1] == list_all_changes(begun, now)[:MOST_SHOWN]
