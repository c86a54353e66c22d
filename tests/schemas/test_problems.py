"""What pydantic finds wrong comes out in words for whoever wrote the file."""

import datetime as dt

import pytest
from pydantic import BaseModel, Field, ValidationError

from schemas.cards import Strict
from schemas.problems import known_fields, model_at, problems


class Leaf(Strict):
    """The innermost model."""

    size: int = 1
    name: str = "x"


class Branch(Strict):
    """A model that holds others, bare, in a list and by key."""

    leaf: Leaf | None = None
    leaves: tuple[Leaf, ...] = Field((), min_length=1)
    by_name: dict[str, Leaf] = Field(default_factory=dict)


def refused(value: object) -> ValidationError:
    """Return the error that a value for a branch gives."""
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
            "field leaf.size: true is no value for it; YAML reads yes, no, on and off as true and false",
            None,
        ),
        (
            {"leaf": {"name": 3}},
            "field leaf.name: should be text and is 3 (int): in YAML, put it in quotes",
            None,
        ),
        (
            {"leaf": {"name": dt.date(2026, 1, 2)}},
            "field leaf.name: should be text and is 2026-01-02 (date): in YAML, put it in quotes",
            None,
        ),
        ("x", "field (top): should be a mapping of fields", None),
        ({"leaves": []}, "field leaves: needs at least 1", None),
    ],
)
def test_each_mistake_in_words(value, words, fields):
    """The field is named with its path, what is wrong in plain words, and the fields that there are at that place."""
    error = refused(value)
    assert problems(error) == words
    assert known_fields(error, Branch) == fields


def test_all_mistakes_are_told_and_none_twice():
    """Several mistakes stand side by side; a list isn't called too short for the item in it that is wrong."""
    assert problems(refused({"leaves": [{"size": "x"}], "twig": 1})).split("; ") == [
        "field leaves.0.size: Input should be a valid integer, unable to parse string as an integer",
        "field twig: is not known",
    ]


def test_a_place_is_followed_as_far_as_models_go():
    """A place in a plain field, or one that isn't there, ends at the model around it."""
    assert model_at(Branch, ()) == (Branch, "")
    assert model_at(Branch, ("leaf", "size")) == (Leaf, "leaf")
    assert model_at(Branch, ("nowhere", "leaf")) == (Branch, "")
    assert issubclass(model_at(Branch, ("by_name", "any"))[0], BaseModel)
