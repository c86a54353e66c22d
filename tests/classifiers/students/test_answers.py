"""Answers of a student: greedy and sampled, in any order of prompts, and with limits."""

from __future__ import annotations

import pytest
import torch

from classifiers.students.answers import Decoding, answer_prompts, draw_tokens
from classifiers.students.lessons import write_prompt
from classifiers.students.training import Recipe, train_student
from classifiers.students.vocabularies import ANSWERED, ASKED
from schemas.errors import TrialError
from tests.support.small_students import begin_small, build_questions

EXAMPLES = build_questions()
PROMPTS = [item.prompt for item in EXAMPLES]


@pytest.fixture(scope="module")
def student():
    """Train a student for a few steps, so that its answers are varied."""
    return train_student(begin_small(EXAMPLES), EXAMPLES, Recipe(steps=40, batch=8), 0).student


def test_greedy_answers_take_the_likeliest_token(student):
    """A greedy answer is what a loop without a cache or batches gives."""
    prompt = PROMPTS[7]
    (answer,) = answer_prompts(student, [prompt], Decoding(0, 6), 0)
    ids = write_prompt(student.vocabulary, prompt)
    begin = len(ids)
    for _ in range(6):
        logits = student.network(torch.tensor([ids]))[0, -1]
        logits[[ASKED, ANSWERED]] = -torch.inf
        ids.append(int(logits.argmax()))
        if ids[-1] == 0:
            break
    assert answer == student.vocabulary.decode(ids[begin:])


def test_greedy_answers_do_not_depend_on_seed_or_order(student):
    """Prompts in another order, and another seed, give the same greedy answers."""
    answers = answer_prompts(student, PROMPTS, Decoding(0), 0)
    turned = answer_prompts(student, PROMPTS[::-1], Decoding(0), 9)
    assert turned[::-1] == answers
    assert answer_prompts(student, [], Decoding(0), 0) == []


def test_sampled_answers_depend_on_the_seed_alone(student):
    """The same seed gives the same sampled answers, and another seed gives others."""
    one = answer_prompts(student, PROMPTS, Decoding(1.0), 1)
    assert answer_prompts(student, PROMPTS, Decoding(1.0), 1) == one
    assert answer_prompts(student, PROMPTS, Decoding(1.0), 2) != one


def test_answers_have_limits(student):
    """No answer is longer than the limit of tokens, or than the context leaves."""
    for answer in answer_prompts(student, PROMPTS, Decoding(1.0, tokens=3), 0):
        assert len(answer) <= 3 * 12  # no word of the vocabulary is longer
    untrained = begin_small(EXAMPLES)
    long = answer_prompts(untrained, ["x" * 200], Decoding(1.0, tokens=500), 0)
    assert 0 < len(long[0]) <= 24 * 12


def test_tokens_are_drawn_with_their_shares():
    """Sampling follows the softmax of the logits; marks of turns are never drawn."""
    logits = torch.log(torch.tensor([0.1, 5.0, 5.0, 0.6, 0.3])).repeat(20_000, 1)
    drawn = draw_tokens(logits, 1.0, torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn[:, 0], minlength=5) / 20_000
    torch.testing.assert_close(shares, torch.tensor([0.1, 0, 0, 0.6, 0.3]), atol=0.02, rtol=0)
    assert set(draw_tokens(logits, 0, torch.Generator())[:, 0].tolist()) == {3}
    cold = draw_tokens(logits, 0.2, torch.Generator().manual_seed(0))
    assert float((cold == 3).float().mean()) > 0.95


def test_a_student_of_another_template_is_refused(student):
    """A student whose template differs from the one that asks is an error."""
    with pytest.raises(TrialError, match="template"):
        answer_prompts(student._replace(template="0" * 64), PROMPTS, Decoding(), 0)
