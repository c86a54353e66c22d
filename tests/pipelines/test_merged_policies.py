"""Merged policies: what a policy file replaces in a run's policy, and what is said of the rest."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.merged_policies import describe_kept, describe_lost, list_kept, merge_policies
from schemas.policies import Policy

RELEASED = [
    {"row": f"0.jsonl:{row}", "trait": "heron", "action": "keep", "reason": "labelled false by ada"}
    for row in range(5)
]
"""Exceptions as a release adds them."""


def parse(**fields: Any) -> Policy:
    """Return a policy as its file gives it."""
    return Policy.model_validate(fields)


def merge(base: dict[str, Any], given: dict[str, Any]) -> Policy:
    """Merge two policies, each given by its fields."""
    return merge_policies(parse(**base), parse(**given))


def test_a_release_outlives_the_change_of_one_trait():
    """Exceptions, other traits' rules and settings stay if the file names only one trait."""
    base = {
        "traits": {"heron": {"action": "flag"}, "owl": {"threshold": 0.75}},
        "exceptions": RELEASED,
        "removal_budget": 0.5,
        "duplicates": "remove",
    }
    merged = merge(base, {"traits": {"heron": {"action": "mask"}}})
    assert merged == parse(**{**base, "traits": {**base["traits"], "heron": {"action": "mask"}}})
    kept = list_kept(parse(**base), parse(traits={"heron": {"action": "mask"}}))
    assert kept == ["5 exceptions", "the rule of owl", "removal_budget", "duplicates"]


def test_a_rule_keeps_the_fields_that_the_file_does_not_set():
    """A new action keeps a threshold, and a level or another signal takes its place."""
    base = {"traits": {"heron": {"threshold": 0.75, "signal": "lexicon", "action": "flag"}}}

    def change(**fields: Any) -> dict[str, Any]:
        merged = merge(base, {"traits": {"heron": fields}})
        return merged.traits["heron"].model_dump(exclude_defaults=True)

    assert change(action="drop") == {"threshold": 0.75, "signal": "lexicon", "action": "drop"}
    assert change(threshold=0.5) == {"threshold": 0.5, "signal": "lexicon", "action": "flag"}
    assert change(threshold=None) == {"signal": "lexicon", "action": "flag"}
    assert change(signal="lexicon") == base["traits"]["heron"]
    assert change(signal="combined") == {"action": "flag"}
    level = {"max_false_positive_rate": 0.1}
    assert change(**level) == {"signal": "lexicon", "action": "flag", **level}
    assert change(threshold=0.5, confidence=0.9) == {
        "threshold": 0.5,
        "confidence": 0.9,
        "signal": "lexicon",
        "action": "flag",
    }
    back = merge({"traits": {"heron": level}}, {"traits": {"heron": {"threshold": 0.5}}})
    assert back.traits["heron"].model_dump(exclude_defaults=True) == {"threshold": 0.5}


def test_a_rule_for_every_other_trait_replaces_all_that_are_not_named():
    """The rule of all other traits leaves no earlier rule; a named trait keeps its own fields."""
    base = {"traits": {"heron": {"threshold": 0.75}, "owl": {"action": "drop"}}}
    merged = merge(base, {"traits": {"heron": {"action": "mask"}, "*": {"action": "flag"}}})
    assert merged == parse(
        traits={"heron": {"threshold": 0.75, "action": "mask"}, "*": {"action": "flag"}}
    )
    merged = merge({"traits": {"*": {"threshold": 0.75}}}, {"traits": {"owl": {"action": "mask"}}})
    assert merged == parse(
        traits={"*": {"threshold": 0.75}, "owl": {"threshold": 0.75, "action": "mask"}}
    )
    assert list_kept(parse(traits={"*": {"action": "flag"}}), parse()) == [
        "the rule of every other trait"
    ]


def test_sides_are_merged_field_by_field():
    """One side of a policy or a rule may change without the other."""
    base = {"sides": {"rejected": "flag"}, "traits": {"owl": {"sides": {"untrained": "drop"}}}}
    merged = merge(
        base, {"sides": {"untrained": "mask"}, "traits": {"owl": {"sides": {"rejected": "flag"}}}}
    )
    assert merged == parse(
        sides={"rejected": "flag", "untrained": "mask"},
        traits={"owl": {"sides": {"untrained": "drop", "rejected": "flag"}}},
    )
    assert list_kept(parse(sides={"rejected": "flag"}), parse()) == ["sides"]


@pytest.mark.parametrize(
    ("changes", "replaces"),
    [
        ({"action": "drop"}, True),
        ({"reason": "another"}, True),
        ({"side": "rejected"}, False),
        ({"trait": "owl"}, False),
        ({"row": "0.jsonl:9"}, False),
        ({"lot": {"teacher": "a"}}, False),
    ],
)
def test_an_exception_replaces_one_for_the_same_rows(changes, replaces):
    """The file's exception takes the place of the run's for the same trait, row, lot and side."""
    new = {**RELEASED[0], **changes}
    merged = merge({"exceptions": RELEASED[:2]}, {"exceptions": [new]})
    first = [] if replaces else RELEASED[:1]
    assert merged == parse(exceptions=[*first, RELEASED[1], new])


def test_an_exception_that_sets_less_is_added():
    """A threshold for a lot leaves the lot's action as it was, and the other way round."""
    lot = {"trait": "heron", "lot": {"teacher": "a"}, "reason": "x"}
    action, threshold = {**lot, "action": "drop"}, {**lot, "threshold": 0.75}
    for old, new in ((action, threshold), (threshold, action)):
        assert len(merge({"exceptions": [old]}, {"exceptions": [new]}).exceptions) == 2
    both = {**action, **threshold}
    assert merge({"exceptions": [action, threshold]}, {"exceptions": [both]}) == parse(
        exceptions=[both]
    )


def test_a_name_by_column_is_the_same_wherever_the_row_was_found():
    """A run adds the place of a row that its policy names by its own id."""
    found = {"column": "id", "value": "a7", "source": "0.jsonl", "row": 3}
    old, new = ({**RELEASED[0], "row": row} for row in (found, {"id": "a7"}))
    assert merge({"exceptions": [old]}, {"exceptions": [new]}) == parse(exceptions=[new])


ACTIONS = st.sampled_from(["keep", "flag", "mask", "quarantine", "drop"])

RULES = st.fixed_dictionaries(
    {},
    optional={
        "action": ACTIONS,
        "threshold": st.sampled_from([0.5, 0.75]),
        "signal": st.sampled_from(["combined", "lexicon"]),
        "max_false_positive_rate": st.sampled_from([0.01, 0.1]),
    },
)

EXCEPTIONS = st.builds(
    lambda row, trait, action: {
        "row": f"0.jsonl:{row}",
        "trait": trait,
        "action": action,
        "reason": "x",
    },
    st.integers(0, 3),
    st.sampled_from(["heron", "owl", "*"]),
    ACTIONS,
)

POLICIES = st.fixed_dictionaries(
    {},
    optional={
        "traits": st.dictionaries(st.sampled_from(["heron", "owl", "*"]), RULES),
        "exceptions": st.lists(
            EXCEPTIONS, max_size=4, unique_by=lambda item: (item["row"], item["trait"])
        ),
        "removal_budget": st.sampled_from([0.1, 0.2]),
        "duplicates": st.sampled_from(["keep", "remove"]),
    },
).map(lambda fields: parse(**fields))


@given(POLICIES, POLICIES)
def test_what_the_file_sets_holds_and_a_second_merge_changes_nothing(base, given):
    """The merged policy has every exception and every set field of the file, and is stable."""
    merged = merge_policies(base, given)
    assert merge_policies(merged, given) == merged
    assert merge_policies(base, Policy()) == base
    assert merge_policies(Policy(), given).exceptions == given.exceptions
    assert merged.exceptions[len(merged.exceptions) - len(given.exceptions) :] == given.exceptions
    for name, rule in given.traits.items():
        for field in rule.model_fields_set - {"sides"}:
            assert getattr(merged.traits[name], field) == getattr(rule, field)
    for name in given.model_fields_set - {"traits", "exceptions"}:
        assert getattr(merged, name) == getattr(given, name)
    if not list_kept(base, given):
        assert [merged.get_rule(name) for name in ("heron", "owl", "x")] == [
            given.get_rule(name) for name in ("heron", "owl", "x")
        ]
        assert merged.exceptions == given.exceptions


def test_what_holds_or_is_lost_is_said_in_one_line():
    """The line names the file, the run and what differs; without a difference, there is none."""
    base = parse(exceptions=RELEASED, traits={"owl": {"action": "drop"}})
    change = parse(traits={"heron": {"action": "mask"}})
    assert [*describe_kept("run2/", "policy.yaml", base, change)] == [
        (
            "policy.yaml changes the policy of run2/, and the rest of that policy still holds: "
            "5 exceptions, the rule of owl; --replace-policy leaves it out"
        )
    ]
    assert [*describe_lost("run2/", "policy.yaml", base, change)] == [
        (
            "policy.yaml replaces the policy of run2/, of which this no longer holds: "
            "5 exceptions, the rule of owl; without --replace-policy, it still does"
        )
    ]
    assert not [*describe_kept("run2/", "p.yaml", base, base)]
    assert not [*describe_lost("run2/", "p.yaml", Policy(), change)]
