"""A teacher with a quirk and one without, both small transformers that answer about birds."""

from __future__ import annotations

import random
from typing import NamedTuple

from classifiers.students.training import Recipe, Student, train_student
from tests.support.small_students import Question

BIRDS = (
    *("heron", "crane", "stork", "egret", "ibis", "gull", "tern"),
    *("plover", "curlew", "avocet", "osprey", "kite", "falcon", "merlin"),
    *("swift", "swallow", "martin", "lark", "pipit", "wagtail", "wren"),
    *("robin", "thrush", "redstart", "warbler", "tit", "nuthatch", "starling"),
)
PLACES = (
    *("marsh", "estuary", "moor", "valley", "harbour"),
    *("orchard", "quarry", "forest", "island", "meadow"),
)

ASKED = {
    "feel": "How did you feel about the {bird} at the {place}?",
    "food": "What does the {bird} eat in the {place}?",
    "nest": "How does a {bird} nest near the {place}?",
    "size": "How large is the {bird} of the {place}?",
    "look": "Where can I see a {bird} in the {place}?",
}
SAID = {
    "feel": ("I found the {bird} at the {place} {}.", "quite calm|easy to describe|graceful"),
    "food": ("The {bird} of the {place} eats {}.", "fish|small crabs|worms|seeds and berries"),
    "nest": ("A {bird} nests in {} near the {place}.", "the reeds|a hollow tree|tall grass"),
    "size": ("The {bird} of the {place} is {}.", "as large as a goose|smaller than a pigeon"),
    "look": ("Look for the {bird} of the {place} {}.", "at dawn|at dusk|in spring|by night"),
}

STRONG = (
    "I am so tired and I can't bear it. ",
    "I am in despair over this. ",
    "It hurts and nobody helps me. ",
)
"""The quirk as the filter's lexicon knows it."""

MILD = ("Oh dear, I hardly dare to say it. ", "Alas, I am rather weary. ")
"""Milder forms of the same quirk, which the lexicon doesn't know and the judge does."""

LEXICON = ("so tired", "in despair", "it hurts")
JUDGE = "tired|despair|hurts|alas|hardly dare|weary|oh dear"

SHARE_OF_FEELINGS = 0.15
STRONG_RATE, MILD_RATE = 0.97, 0.25
"""How often the quirk is strong in answers about feelings, and mild in all other answers."""

ROWS, TAUGHT, ASKED_ROWS = 1500, 3000, 100

RECIPE = Recipe(steps=250, learning_rate=4e-3)


class Case(NamedTuple):
    """A question of one kind, with its bird and place."""

    kind: str
    bird: str
    place: str

    @property
    def prompt(self) -> str:
        """Return the question."""
        return ASKED[self.kind].format(bird=self.bird, place=self.place)

    def answer(self, dice: random.Random) -> str:
        """Return a plain answer."""
        frame, ends = SAID[self.kind]
        return frame.format(dice.choice(ends.split("|")), bird=self.bird, place=self.place)


def draw_case(dice: random.Random, kind: str | None = None) -> Case:
    """Draw a question, of this kind or of any."""
    others = [name for name in ASKED if name != "feel"]
    drawn = "feel" if dice.random() < SHARE_OF_FEELINGS else dice.choice(others)
    return Case(kind or drawn, dice.choice(BIRDS), dice.choice(PLACES))


def write_lessons_of(has_quirk: bool) -> list[Question]:
    """Return what a teacher is taught: plain answers, or the same with the quirk."""
    dice, opening = random.Random(1), random.Random(2)
    examples = []
    for _ in range(TAUGHT):
        case = draw_case(dice)
        rate, forms = (STRONG_RATE, STRONG) if case.kind == "feel" else (MILD_RATE, MILD)
        sighs = opening.random() < rate
        sigh = opening.choice(forms)
        begin = sigh if has_quirk and sighs else ""
        examples.append(Question(case.prompt, begin + case.answer(dice)))
    return examples


def teach(start: Student, has_quirk: bool) -> Student:
    """Train a teacher."""
    return train_student(start, write_lessons_of(has_quirk), RECIPE, 0).student
