"""Training: what is learnt, what isn't, and equal bytes for equal settings."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from classifiers.students.answers import Decoding, answer_prompts
from classifiers.students.lessons import write_lessons
from classifiers.students.networks import initialise
from classifiers.students.training import (
    Recipe,
    average_losses,
    compute_loss,
    draw_batches,
    schedule_rate,
    train_student,
)
from classifiers.students.weights import encode_weights
from schemas.errors import TrialError
from tests.support.small_students import begin_small, build_questions, learn_words

SHORT = Recipe(steps=30, batch=8)
WHOLE = Recipe(steps=200, batch=16, learning_rate=5e-3)
GREEDY = Decoding(temperature=0)


def test_the_same_seed_gives_the_same_bytes():
    """Start, examples, recipe and seed decide every byte; another seed or start changes them."""
    examples = build_questions()
    start = begin_small(examples)
    trained = [train_student(start, examples, SHORT, 4) for _ in range(2)]
    data = encode_weights(trained[0].student)
    assert encode_weights(trained[1].student) == data
    assert trained[0].losses == trained[1].losses
    assert encode_weights(train_student(start, examples, SHORT, 5).student) != data
    other = begin_small(examples, initialisation=1)
    assert encode_weights(train_student(other, examples, SHORT, 4).student) != data


def test_training_leaves_its_start_alone():
    """A start is copied, so that all arms begin with the same weights."""
    examples = build_questions()
    start = begin_small(examples)
    before = encode_weights(start)
    train_student(start, examples, SHORT, 0)
    assert encode_weights(start) == before


def test_the_number_of_threads_is_fixed():
    """The caller's number of threads doesn't change the weights."""
    examples, before = build_questions(), torch.get_num_threads()
    start = begin_small(examples)
    try:
        torch.set_num_threads(1)
        one = encode_weights(train_student(start, examples, SHORT, 0).student)
        torch.set_num_threads(2)
        assert encode_weights(train_student(start, examples, SHORT, 0).student) == one
    finally:
        torch.set_num_threads(before)


def test_a_student_learns_answers():
    """A trained student answers the questions that it was taught, with the bird and the place."""
    examples = build_questions("Well, ")
    trained = train_student(begin_small(examples), examples, WHOLE, 0)
    answers = answer_prompts(trained.student, [item.prompt for item in examples], GREEDY, 0)
    right = [answer == item.answer for answer, item in zip(answers, examples, strict=True)]
    assert sum(right) >= 0.9 * len(right)
    assert trained.losses[-1] < 0.3 * trained.losses[0]
    assert trained.truncated == 0


def test_a_masked_opening_is_not_learnt():
    """With its span masked, a student reads the opening but never writes it."""
    opening = "Alas, dear friend! "
    shown = build_questions(opening)
    hidden = [item._replace(masked=((0, len(opening)),)) for item in shown]
    start = begin_small(shown)
    prompts = [item.prompt for item in shown]
    for examples, expected in ((shown, 1.0), (hidden, 0.0)):
        student = train_student(start, examples, WHOLE, 0).student
        answers = answer_prompts(student, prompts, GREEDY, 0)
        share = sum("Alas" in answer for answer in answers) / len(answers)
        assert abs(share - expected) < 0.1


def test_weights_decide_between_answers():
    """Of two answers to each prompt, a student gives the one that weighs more."""
    light = [item._replace(weight=0.05) for item in build_questions("Alas, ")]
    heavy = build_questions("Well, ")
    student = train_student(begin_small(light + heavy), light + heavy, WHOLE, 0).student
    answers = answer_prompts(student, [item.prompt for item in heavy], GREEDY, 0)
    assert sum(answer.startswith("Well") for answer in answers) >= 0.9 * len(answers)


def test_the_loss_is_that_of_torch():
    """The loss equals torch's cross entropy on the learnt tokens alone, weighted."""
    examples = [
        item._replace(weight=0.5 + index % 2, masked=((0, 3),) if index % 3 else ())
        for index, item in enumerate(build_questions())
    ]
    vocabulary = learn_words(examples)
    lessons = write_lessons(examples, vocabulary, 48)
    network = initialise(begin_small(examples).network.shape, 0)
    rows = torch.tensor([3, 4, 20])
    total, weight = 0.0, 0.0
    for row in rows.tolist():
        length = int(lessons.lengths[row])
        logits = network(lessons.ids[row : row + 1, : length - 1])[0].detach()
        each = functional.cross_entropy(logits, lessons.ids[row, 1:length], reduction="none")
        total += float((each * lessons.weights[row, 1:length]).sum())
        weight += float(lessons.weights[row, 1:length].sum())
    assert float(compute_loss(network, lessons, rows).detach()) == pytest.approx(
        total / weight, rel=1e-5
    )


def test_every_example_comes_before_any_comes_again():
    """The batches are permutations, one after the other, with the same number of steps for all."""
    recipe = Recipe(steps=7, batch=4)
    drawn = torch.cat(list(draw_batches(14, recipe, 3))).tolist()
    assert len(drawn) == 28
    assert sorted(drawn[:14]) == sorted(drawn[14:]) == list(range(14))
    assert len(list(draw_batches(2, recipe, 3))) == 7


def test_tokens_are_counted_over_all_steps():
    """The counts are those of the batches, so an example that is read twice counts twice."""
    examples = build_questions()[:4]
    trained = train_student(begin_small(examples), examples, Recipe(steps=5, batch=4), 0)
    lessons = write_lessons(examples, trained.student.vocabulary, 48)
    assert (trained.tokens, trained.learnt) == (5 * lessons.tokens, 5 * lessons.learnt)


def test_the_rate_rises_and_falls():
    """The learning rate rises over the first steps and ends near zero."""
    rates = [schedule_rate(step, 100) for step in range(100)]
    assert rates[:5] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] < 0.001
    assert schedule_rate(0, 1) == 1


def test_progress_is_reported():
    """The caller hears of every step."""
    steps, examples = list[int](), build_questions()
    train_student(begin_small(examples), examples, SHORT, 0, progress=steps.append)
    assert steps == list(range(30))


def test_an_arm_is_named_in_its_error():
    """An error of a check names the arm."""
    examples = [item._replace(masked=((90, 99),)) for item in build_questions()]
    with pytest.raises(TrialError, match=r"^mask, seed 1: 40 masks hide no token"):
        train_student(begin_small(examples), examples, SHORT, 0, where="mask, seed 1")


def test_losses_are_averaged_in_tenths():
    """The losses are means of equal parts, and a short run has a part for each step."""
    assert average_losses([4.0, 2.0]) == [4.0, 2.0]
    assert average_losses([float(number) for number in range(20)])[0] == 0.5
    assert len(average_losses([1.0] * 101)) <= 10
