"""Pydantic's errors, worded for the author of a file."""

import datetime as dt

import pytest
from pydantic import BaseModel, Field, ValidationError

from schemas.cards import Strict
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
    """A model that contains other models: a single model, a list of models, and a mapping."""

    leaf: Leaf | None = None
    leaves: tuple[Leaf, ...] = Field((), min_length=1)
    by_name: dict[str, Leaf] = Field(default_factory=dict)


def validate(value: object) -> ValidationError:
    """Validate an invalid value as a branch, and return the error."""
    with pytest.raises(ValidationError) as caught:
        Branch.model_validate(value)
    return caught.value


@pytest.mark.parametrize(
    ("value", "words", "fields"),
    [
        ({"leaf": {"sise": 1}}, "field leaf.sise: is not known", "fields of leaf are size, name"),
        (
            {"leaves": [{}, {"sise": 1}]},
            "field leaves.1.sise: is not known",
            "fields of leaves.1 are size, name",
        ),
        (
            {"by_name": {"leaf": {"sise": 1}}},
            "field by_name.leaf.sise: is not known",
            "fields of by_name.leaf are size, name",
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
    """The description gives the field's path and the mistake, and known fields are listed."""
    error = validate(value)
    assert describe_problems(error) == words
    assert list_known_fields(error, Branch) == fields


def test_every_mistake_is_described_once():
    """Each mistake is described once; a list with an invalid item isn't also called too short."""
    assert describe_problems(validate({"leaves": [{"size": "x"}], "twig": 1})).split("; ") == [
        (
            "field leaves.0.size: Input should be a valid integer, unable to parse string as an "
            "integer"
        ),
        "field twig: is not known",
    ]


def test_only_the_first_mistakes_are_described():
    """A file full of mistakes gives a short message that counts the mistakes left out."""
    words = describe_problems(
        validate({f"twig{number}": 1 for number in range(MOST_DESCRIBED + 1_234)})
    )
    assert words.count("is not known") == MOST_DESCRIBED
    assert words.endswith("; and 1,234 more")


def test_a_location_leads_to_the_innermost_model():
    """The location of a field, even an unknown field, leads to the model that encloses it."""
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
    """A value of any size gives a short message."""
    assert f"should be text but is {shown}: in YAML" in describe_problems(
        validate({"leaf": {"name": value}, "leaves": [{}]})
    )
