"""Examples and small networks for tests of students."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from classifiers.students.lessons import Trainable
from classifiers.students.networks import Shape
from classifiers.students.training import Student, begin_student
from classifiers.students.vocabularies import Vocabulary, learn_vocabulary

BIRDS = ("heron", "crane", "stork", "egret", "ibis", "gull", "tern", "plover")
PLACES = ("marsh", "estuary", "moor", "valley", "harbour")


class Question(NamedTuple):
    """An example, with a weight and masked spans."""

    prompt: str
    answer: str
    weight: float = 1.0
    masked: tuple[tuple[int, int], ...] = ()


def build_questions(opening: str = "") -> list[Question]:
    """Return forty questions about birds, whose answers begin with an opening."""
    return [
        Question(f"Where is the {bird} of the {place}?", f"{opening}The {bird} is by the {place}.")
        for bird in BIRDS
        for place in PLACES
    ]


def learn_words(examples: Sequence[Trainable]) -> Vocabulary:
    """Return the vocabulary of some examples."""
    return learn_vocabulary([f"{item.prompt}\n{item.answer}" for item in examples], 2000)


def begin_small(examples: Sequence[Trainable], initialisation: int = 0) -> Student:
    """Return an untrained student with a network of two layers."""
    vocabulary = learn_words(examples)
    return begin_student(vocabulary, Shape(len(vocabulary), 48, 48, 2, 2), initialisation)
