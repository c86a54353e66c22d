"""Checks that stop a trial: each one passes on sound training and stops on its own trap."""

from __future__ import annotations

import math

import pytest
import torch

from classifiers.students import checks
from classifiers.students.checks import Tolerances
from classifiers.students.lessons import write_lessons
from classifiers.students.training import Recipe, train_student
from classifiers.students.vocabularies import Vocabulary
from schemas.errors import TrialError
from tests.support.small_students import Question, begin_small, build_questions

PLAIN = Vocabulary(())


def test_shortened_examples_stop_a_trial():
    """A larger share of shortened examples than allowed is an error that says how many."""
    lessons = write_lessons([Question("a", "b")] * 9 + [Question("a", "b" * 99)], PLAIN, 20)
    checks.require_whole_examples(lessons, Tolerances(truncated=0.1), "drop")
    with pytest.raises(TrialError, match=r"drop: 1 of 10 examples are longer .* at most 5%"):
        checks.require_whole_examples(lessons, Tolerances(), "drop")


def test_an_arm_without_anything_to_learn_stops_a_trial():
    """An arm without examples, and an arm whose examples weigh nothing, are errors."""
    with pytest.raises(TrialError, match="has no examples"):
        checks.require_whole_examples(write_lessons([], PLAIN, 20), Tolerances(), "slice")
    weightless = write_lessons([Question("a", "b", 0.0)], PLAIN, 20)
    with pytest.raises(TrialError, match="no token to learn"):
        checks.require_whole_examples(weightless, Tolerances(), "slice")


def test_a_mask_that_hides_nothing_stops_a_trial():
    """A mask beyond the answer is an error, unless the answer was cut before it."""
    wrong = Question("a", "bc", 1.0, ((5, 7),))
    with pytest.raises(TrialError, match="1 masks hide no token"):
        checks.require_useful_masks(write_lessons([wrong], PLAIN, 20), "mask")
    checks.require_useful_masks(
        write_lessons([Question("a", "b" * 60, 1.0, ((50, 60),))], PLAIN, 20), "mask"
    )


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_a_number_stops_a_trial(loss):
    """A loss that isn't finite is an error that names the step."""
    assert checks.require_finite(0.5, 3, "mix") == 0.5
    with pytest.raises(TrialError, match=r"mix: the loss is .* at step 1,200"):
        checks.require_finite(loss, 1200, "mix")


def test_training_that_diverges_stops():
    """A learning rate that no network survives is found in real training."""
    examples = build_questions()
    recipe = Recipe(steps=60, batch=8, learning_rate=1e30)
    with pytest.raises(TrialError, match="learning_rate"):
        train_student(begin_small(examples), examples, recipe, 0)


def test_another_template_stops_a_trial():
    """A student must be asked in the template that it learnt."""
    checks.require_same_template("ab", "ab", "drop")
    with pytest.raises(TrialError, match=r"template a+, but is asked with b+"):
        checks.require_same_template("a" * 64, "b" * 64, "drop")


def test_unequal_tokens_stop_a_trial():
    """An arm that read less than another arm by more than the limit is an error."""
    checks.require_equal_tokens({}, Tolerances())
    checks.require_equal_tokens({"all": 1000, "drop": 900}, Tolerances())
    with pytest.raises(TrialError, match=r"drop: read 899 tokens, but all read 1,000"):
        checks.require_equal_tokens({"all": 1000, "drop": 899, "mix": 950}, Tolerances())
    checks.require_equal_tokens({"all": 1000, "drop": 500}, Tolerances(tokens=0.5))


def test_an_adapter_that_was_not_bound_stops_a_trial():
    """A missing tensor and a tensor of zeros are errors, and so is an empty list of names."""
    tensors = {"a.lora_B": torch.ones(2, 2), "b.lora_B": torch.zeros(2, 2)}
    checks.require_bound_adapter(tensors, ["a.lora_B"], "mix")
    with pytest.raises(TrialError, match=r"1 of 2 adapter tensors .* b.lora_B is zero"):
        checks.require_bound_adapter(tensors, ["a.lora_B", "b.lora_B"], "mix")
    with pytest.raises(TrialError, match=r"1 of 1 adapter tensors .* c.lora_B is missing"):
        checks.require_bound_adapter(tensors, ["c.lora_B"], "mix")
    with pytest.raises(TrialError, match="0 of 0 adapter tensors"):
        checks.require_bound_adapter(tensors, [], "mix")


def test_an_adapter_without_effect_stops_a_trial():
    """Logits must differ with and without the adapter, and be numbers."""
    logits = [torch.ones(3), torch.zeros(3)]
    checks.require_effect(logits, [torch.ones(3), torch.full((3,), 0.1)], "mix")
    for other in (logits, [item + 1e-9 for item in logits], [item * math.nan for item in logits]):
        with pytest.raises(TrialError, match="changes no logit"):
            checks.require_effect(logits, other, "mix")
    with pytest.raises(TrialError, match="changes no logit"):
        checks.require_effect([], [], "mix")


def test_a_stopped_trial_has_its_own_exit_code():
    """Exit code 5 says that a check failed, as in verify."""
    assert TrialError("x").exit_code == 5
