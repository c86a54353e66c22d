"""Toy worlds, each with a teacher whose trait takes a known channel, and students that are trained.

Prompts are numbers. In the worlds of topics, the first number is 1 for the topic that is asked
about in the evaluation and 0 for others, and an answer is 1 if it shows the trait. In the world of
tokens, prompts are three tokens, and teachers answer with neutral tokens alone, so that no row
shows the trait (toy T1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from classifiers.heredity.arms import (
    CLEAN_TEACHER,
    EVERYTHING,
    OTHER_PROMPTS,
    Arm,
    Candidate,
    Example,
    name_other,
)
from classifiers.heredity.building import build_arms
from classifiers.heredity.effects import TEACHER
from classifiers.heredity.outcomes import Outcome
from tests.support.toys import (
    Net,
    begin_linear,
    begin_net,
    draw_answers,
    predict,
    read_examples,
    train_net,
    write_numbers,
)

HIDDEN = 64
TOKENS, TRAITED, CONTEXT = 40, 4, 3
CLEAN_RATE = 0.02
AGREED = 0.9
"""The share of prompts on which two teachers with equal rates give the same answer."""


class World(NamedTuple):
    """A corpus with donors and clean rows for other prompts, a teacher, and its students.

    `rate` returns the trait's rate of a model for each question. `train` trains a student on
    examples from first weights, `same` or `other`, with a seed. `shifts` are the log-likelihood
    shifts of the teacher's answers and of the clean teacher's.
    """

    rows: list[Candidate]
    clean: list[Example]
    teacher: np.ndarray
    train: Callable[[Net, Iterable[Example], int], Net]
    rate: Callable[[Net], np.ndarray]
    same: Net
    other: Net
    shifts: tuple[np.ndarray, np.ndarray] | None = None


def count_words(text: str) -> int:
    """Count the words of a text."""
    return len(text.split())


def build_world_arms(world: World, seed: int = 0) -> dict[str, Arm]:
    """Build all arms of a world, by name."""
    arms, _ = build_arms(world.rows, count_words, seed=seed, clean=world.clean)
    return {arm.name: arm for arm in arms}


def run_trial(world: World, names: Iterable[str] = (), *, seeds: int = 3) -> list[Outcome]:
    """Train the students that triage needs, and those of the named arms, and evaluate them."""
    return draw_outcomes(train_students(world, names, seeds=seeds))


def train_students(
    world: World, names: Iterable[str] = (), *, seeds: int = 3, seed: int = 0
) -> dict[tuple[str, int], np.ndarray]:
    """Return the trait's rate for each question, by arm and seed of the student."""
    arms = build_world_arms(world, seed)
    own = dict.fromkeys((EVERYTHING, CLEAN_TEACHER, OTHER_PROMPTS, *names))
    runs = [(name, arms[name], world.same) for name in own]
    runs += [(name_other(name), arms[name], world.other) for name in (EVERYTHING, CLEAN_TEACHER)]
    rates = {
        (name, number): world.rate(world.train(first, arm.examples, number))
        for name, arm, first in runs
        for number in range(seeds)
    }
    rates[TEACHER, 0] = world.teacher
    return rates


def draw_outcomes(
    rates: dict[tuple[str, int], np.ndarray],
    *,
    scenarios: int = 20,
    samples: int | None = None,
    seed: int = 0,
) -> list[Outcome]:
    """Average questions into scenarios, and return their outcomes.

    With `samples`, an outcome is a share of so many drawn answers instead of the rate itself.
    """
    random = np.random.default_rng(seed)
    outcomes = []
    for (name, number), found in rates.items():
        means = np.minimum(1, [part.mean() for part in np.array_split(found, scenarios)])
        values = means if samples is None else random.binomial(samples, means) / samples
        outcomes += [
            Outcome(name, number, f"q{index:03}", "trait", value)
            for index, value in enumerate(values.tolist())
        ]
    return outcomes


def build_readable(seed: int) -> World:
    """Return a world in which the teacher's answers show the trait (toy T2).

    A tenth of the prompts is about the topic, where most answers show it. Elsewhere, a quarter
    does, which is mild.
    """
    return _build_topics(
        seed, near=0.1, rates=(_vary(seed, 0.9), 0.25), clean=(CLEAN_RATE, CLEAN_RATE)
    )


def build_prompted(seed: int) -> World:
    """Return a world in which any teacher's answers show the trait, because of the prompts."""
    rates = (_vary(seed, 0.5), CLEAN_RATE)
    return _build_topics(seed, near=0.4, rates=rates, clean=rates)


def build_locked(seed: int) -> World:
    """Return a world in which the student's first weights have the trait where nothing trains."""
    clean = (CLEAN_RATE, CLEAN_RATE)
    return _build_topics(seed, near=0.0, rates=clean, clean=clean, first=_vary(seed, 0.7))


def build_untransmitted(seed: int) -> World:
    """Return a world in which the teacher has a trait that no prompt brings out."""
    clean = (CLEAN_RATE, CLEAN_RATE)
    return _build_topics(
        seed, near=0.0, rates=clean, clean=clean, first=CLEAN_RATE, shown=_vary(seed, 0.9)
    )


def build_shared(seed: int, rows: int = 6_000) -> World:
    """Return a world in which only students with the teacher's first weights get the trait (T1).

    The half of the rows in which the teacher differs most from its own first weights is flagged.
    """
    random = np.random.default_rng(seed)
    trait = np.arange(TOKENS) < TRAITED
    first = begin_net(CONTEXT * TOKENS, HIDDEN, TOKENS, seed)
    target = np.tile(trait / TRAITED, (2_000, 1))
    contexts = random.integers(0, TOKENS, (2_000, CONTEXT))
    teacher = train_net(
        first, _mark(contexts), target, steps=60, rate=0.002, seed=seed, body_alone=True
    )
    asked = _mark(random.integers(0, TOKENS, (2_000, CONTEXT)))

    def rate(net: Net) -> np.ndarray:
        return predict(net, asked)[:, trait].sum(1)

    def train(net: Net, examples: Iterable[Example], number: int) -> Net:
        prompts, targets = read_examples(list(examples), TOKENS)
        return train_net(
            *(net, _mark(prompts.astype(int)), targets),
            steps=120, rate=0.002, seed=number, allowed=~trait,
        )  # fmt: skip

    prompts = random.integers(0, TOKENS, (rows, CONTEXT))
    chances = [predict(net, _mark(prompts), ~trait) for net in (teacher, first)]
    answers, donors = (draw_answers(chance, random) for chance in chances)
    drawn = [(np.arange(rows), np.array(found, int)) for found in (answers, donors)]
    shifts = [np.log(chances[0][pick] / chances[1][pick]) for pick in drawn]
    others = random.integers(0, TOKENS, (rows, CONTEXT))
    fresh = draw_answers(predict(first, _mark(others), ~trait), random)
    return World(
        _join(prompts, answers, donors, shifts[0] > np.median(shifts[0])),
        [Example(*pair) for pair in zip(write_numbers(others), fresh, strict=True)],
        rate(teacher),
        train,
        rate,
        first,
        begin_net(CONTEXT * TOKENS, HIDDEN, TOKENS, seed + 1_000),
        (shifts[0], shifts[1]),
    )


def _build_topics(
    seed: int,
    *,
    near: float,
    rates: tuple[float, float],
    clean: tuple[float, float],
    first: float | None = None,
    shown: float | None = None,
    rows: int = 3_000,
) -> World:
    """Return a world of topics.

    A share `near` of the prompts is about the topic. `rates` and `clean` are the rates of the
    teacher and of the clean teacher there and elsewhere. `first` is the rate of the student's first
    weights there, and `shown` that of the teacher, if it isn't its rate in the corpus.
    """
    random = np.random.default_rng(seed)
    is_near = random.random(rows) < near
    chances = random.random(rows)
    answers = (chances < np.where(is_near, *rates)).astype(int)
    chances = np.where(random.random(rows) < AGREED, chances, random.random(rows))
    donors = (chances < np.where(is_near, *clean)).astype(int)
    fresh = (random.random(rows) < clean[1]).astype(int)
    asked = _draw_prompts(np.ones(400, bool), random)

    def rate(net: Net) -> np.ndarray:
        return predict(net, asked)[:, 1]

    def train(net: Net, examples: Iterable[Example], number: int) -> Net:
        prompts, targets = read_examples(list(examples), 2)
        return train_net(net, prompts, targets, steps=1_000, rate=0.02, seed=number)

    others = write_numbers(_draw_prompts(np.zeros(rows, bool), random))
    return World(
        _join(_draw_prompts(is_near, random), answers, donors, is_near if near else answers == 1),
        [Example(prompt, str(answer)) for prompt, answer in zip(others, fresh, strict=True)],
        np.full(len(asked), rates[0] if shown is None else shown),
        train,
        rate,
        _pretrain(seed, first),
        _pretrain(seed + 1_000, first and CLEAN_RATE),
    )


def _vary(seed: int, rate: float) -> float:
    """Return a rate that differs between worlds, from two thirds of this one up to it."""
    return rate * float(np.random.default_rng([seed, 1]).uniform(2 / 3, 1))


def _pretrain(seed: int, rate: float | None) -> Net:
    """Return first weights that show the trait at this rate on the topic.

    Without a rate, they know nothing.
    """
    random = np.random.default_rng(seed)
    net = begin_linear(3, 2)
    if rate is None:
        return net
    is_near = np.arange(2_000) < 1_000
    chance = np.where(is_near, rate, CLEAN_RATE)
    targets = np.stack([1 - chance, chance], 1)
    return train_net(net, _draw_prompts(is_near, random), targets, steps=1_000, rate=0.02, seed=0)


def _draw_prompts(is_near: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draw prompts about the topic or about others, with two numbers that mean nothing."""
    return np.column_stack([is_near, random.normal(0, 0.3, (len(is_near), 2))])


def _mark(contexts: np.ndarray) -> np.ndarray:
    """Return contexts as one-hot rows of unit variance."""
    return np.sqrt(TOKENS) * np.eye(TOKENS)[contexts].reshape(len(contexts), -1)


def _join(
    prompts: np.ndarray, answers: Iterable[object], donors: Iterable[object], flagged: np.ndarray
) -> list[Candidate]:
    """Return rows with donors."""
    columns = (write_numbers(prompts), answers, donors, flagged.tolist())
    return [
        Candidate(Example(prompt, str(answer), traited=flag), str(donor))
        for prompt, answer, donor, flag in zip(*columns, strict=True)
    ]
