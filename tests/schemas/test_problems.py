"""Pydantic's errors in an author's words."""

import datetime as dt
from typing import Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from schemas.cards import Strict
from schemas.policies import Policy
from schemas.problems import (
    LONGEST_VALUE,
    MOST_DESCRIBED,
    describe_problems,
    find_model,
    list_known_fields,
)


class Leaf(Strict):
    """The innermost model."""

    size: int = 1
    name: str = "x"


class Branch(Strict):
    """A model that contains a model, a list of models and a mapping of models."""

    leaf: Leaf | None = None
    leaves: tuple[Leaf, ...] = Field((), min_length=1)
    by_name: dict[str, Leaf] = Field(default_factory=dict)


def validate(value: object) -> ValidationError:
    """Validate an invalid branch, and return the error."""
    with pytest.raises(ValidationError) as caught:
        Branch.model_validate(value)
    return caught.value


@pytest.mark.parametrize(
    ("value", "words", "fields"),
    [
        (
            {"leaf": {"sise": 1}},
            "field leaf.sise: is not known",
            "did you mean 'size'? fields of leaf are size, name",
        ),
        (
            {"leaves": [{}, {"sise": 1}]},
            "field leaves.1.sise: is not known",
            "did you mean 'size'? fields of leaves.1 are size, name",
        ),
        (
            {"by_name": {"leaf": {"sise": 1}}},
            "field by_name.leaf.sise: is not known",
            "did you mean 'size'? fields of by_name.leaf are size, name",
        ),
        ({"twig": 1}, "field twig: is not known", "fields are leaf, leaves, by_name"),
        ({"leaves": "x"}, "field leaves: should be a list", None),
        ({"leaf": "x"}, "field leaf: should be a mapping of fields", None),
        (
            {"leaf": {"size": True}},
            "field leaf.size: doesn't take true; YAML reads yes, no, on and off as true and false",
            None,
        ),
        (
            {"leaf": {"name": 3}},
            "field leaf.name: should be text but is 3 (int): in YAML, put it in quotes",
            None,
        ),
        (
            {"leaf": {"name": dt.date(2026, 1, 2)}},
            "field leaf.name: should be text but is 2026-01-02 (date): in YAML, put it in quotes",
            None,
        ),
        ("x", "field (top): should be a mapping of fields", None),
        ({"leaves": []}, "field leaves: needs at least 1", None),
    ],
)
def test_a_mistake_in_words(value, words, fields):
    """The description gives the field's path, the mistake and the known fields."""
    error = validate(value)
    assert describe_problems(error) == words
    assert list_known_fields(error, Branch) == fields


@pytest.mark.parametrize(
    ("rule", "remedy"),
    [("drop", ": write `owl: {action: drop}`"), ("burn", "")],
    ids=["an action", "another word"],
)
def test_an_action_in_place_of_a_rule_gets_a_remedy(rule, remedy):
    """A policy that gives a trait just an action gets the right form."""
    with pytest.raises(ValidationError) as caught:
        Policy.model_validate({"traits": {"owl": rule}})
    words = f"field traits.owl: should be a mapping of fields{remedy}"
    assert describe_problems(caught.value) == words


def test_every_mistake_is_described_once():
    """Each mistake is described once, even in a list."""
    assert describe_problems(validate({"leaves": [{"size": "x"}], "twig": 1})).split("; ") == [
        ("field leaves.0.size: should be a valid integer, unable to parse string as an integer"),
        "field twig: is not known",
    ]


def test_only_the_first_mistakes_are_described():
    """A file full of mistakes has a short description that counts the rest."""
    words = describe_problems(
        validate({f"twig{number}": 1 for number in range(MOST_DESCRIBED + 1_234)})
    )
    assert words.count("is not known") == MOST_DESCRIBED
    assert words.endswith("; and 1,234 more")


def test_a_location_leads_to_the_innermost_model():
    """A field's location leads to the innermost model around it."""
    assert find_model(Branch, ()) == (Branch, "")
    assert find_model(Branch, ("leaf", "size")) == (Leaf, "leaf")
    assert find_model(Branch, ("leaves", 1, "size")) == (Leaf, "leaves.1")
    assert find_model(Branch, ("nowhere", "leaf")) == (Branch, "")
    assert issubclass(find_model(Branch, ("by_name", "any"))[0], BaseModel)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0x5, "5 (int)"),
        (int("f" * 5000, 16), "a number of thousands of digits (int)"),
        (("x",) * 50, f"{str(('x',) * 50)[:LONGEST_VALUE]}… (tuple)"),
    ],
    ids=["short", "huge", "long"],
)
def test_a_value_is_shown_in_part(value, shown):
    """A long value is shortened."""
    assert f"should be text but is {shown}: in YAML" in describe_problems(
        validate({"leaf": {"name": value}, "leaves": [{}]})
    )


class Rates(Strict):
    """A model with a share and a choice."""

    share: float | None = Field(None, ge=0, le=1)
    kind: Literal["lexicon", "head"] = "head"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"share": "1%"}, "should be a share from 0 to 1 but is 1%: write 0.01"),
        ({"share": "0.5 %"}, "should be a share from 0 to 1 but is 0.5 %: write 0.005"),
        ({"share": 5}, "should be a share from 0 to 1 but is 5: write 0.05"),
        ({"kind": "lexicons"}, "is 'lexicons', not one of lexicon, head; did you mean 'lexicon'?"),
        ({"kind": "qa"}, "is 'qa', not one of lexicon, head"),
    ],
)
def test_shares_and_choices_come_with_a_correction(value, words):
    """A percentage is corrected to a share, and a wrong choice lists the choices."""
    with pytest.raises(ValidationError) as caught:
        Rates.model_validate(value)
    assert describe_problems(caught.value) == f"field {next(iter(value))}: {words}"


@pytest.mark.parametrize("action", ["mix", "mixed"])
def test_a_policy_that_mixes_is_sent_to_the_command(action):
    """Rows are added by a command of its own; other words have the nearest action."""
    with pytest.raises(ValidationError) as caught:
        Policy.model_validate({"traits": {"owl": {"action": action}}})
    said = describe_problems(caught.value)
    assert f"is '{action}', not one of keep, flag, mask, swap, quarantine, drop" in said
    assert ("congener mix RUN --donor CORPUS" in said) is (action == "mix")


@pytest.mark.parametrize("value", [-1, 250, "many", "x%", "300%"])
def test_other_numbers_are_no_percentages(value):
    """A value that can't be a percentage has the plain message."""
    with pytest.raises(ValidationError) as caught:
        Rates.model_validate({"share": value})
    assert "write" not in describe_problems(caught.value)


def test_a_setting_is_called_by_its_option():
    """A setting from an option is named by the option."""
    error = validate({"leaf": {"size": "x"}, "leaves": [{}]})
    assert describe_problems(error, {"leaf.size": "--size"}).startswith("--size: ")
    assert describe_problems(error, {"leaf": "--leaf"}).startswith("--leaf: ")
    assert describe_problems(error, {"lea": "--lea"}).startswith("field leaf.size: ")
