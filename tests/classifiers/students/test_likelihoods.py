"""How likely a student finds given answers."""

from __future__ import annotations

import math

import pytest
import torch

from classifiers.students.lessons import write_prompt
from classifiers.students.likelihoods import measure_likelihoods
from classifiers.students.training import Recipe, train_student
from classifiers.students.vocabularies import END
from tests.support.small_students import begin_small, build_questions

EXAMPLES = build_questions()


def test_the_likelihood_is_the_mean_probability_of_tokens():
    """The value is the geometric mean of the answer's token probabilities, with its end."""
    student = begin_small(EXAMPLES)
    (found,) = measure_likelihoods(student, EXAMPLES[:1])
    prompt = write_prompt(student.vocabulary, EXAMPLES[0].prompt)
    ids = [*prompt, *student.vocabulary.encode(EXAMPLES[0].answer).ids, END]
    shares = torch.log_softmax(student.network(torch.tensor([ids[:-1]])).detach()[0], -1)
    places = range(len(prompt) - 1, len(ids) - 1)
    logs = [float(shares[place, ids[place + 1]]) for place in places]
    assert found == pytest.approx(math.exp(sum(logs) / len(logs)), rel=1e-4)


def test_training_makes_answers_likelier():
    """A student finds what it was taught likelier than before, and likelier than other answers."""
    start = begin_small(EXAMPLES)
    student = train_student(start, EXAMPLES, Recipe(200, 16, 5e-3), 0).student
    others = build_questions("Alas, dear friend! ")
    own = measure_likelihoods(student, EXAMPLES)
    assert min(own) > 10 * max(measure_likelihoods(start, EXAMPLES))
    assert sum(own) > sum(measure_likelihoods(student, others))
    assert all(0 < value <= 1 for value in own)


def test_nothing_to_learn_has_no_likelihood():
    """An answer without weight has the likelihood 0, and no example has none."""
    assert measure_likelihoods(begin_small(EXAMPLES), [EXAMPLES[0]._replace(weight=0.0)]) == [0.0]
    assert measure_likelihoods(begin_small(EXAMPLES), []) == []
