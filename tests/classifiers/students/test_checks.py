"""Checks that stop a trial: each one passes on sound training and stops on its own trap."""

from __future__ import annotations

import math

import pytest
import torch

from classifiers.heredity.arms import Arm, Example
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


def test_another_beginning_of_answers_stops_a_trial():
    """What is asked must be the beginning of what was learnt, and the difference is quoted."""
    checks.require_same_beginning("[ask] a [say] b", "[ask] a [say] ", "mix")
    with pytest.raises(TrialError, match=r"asks with '<think>' where the student learns 'b'"):
        checks.require_same_beginning("[ask] a [say] b", "[ask] a [say] <think>", "mix")
    with pytest.raises(TrialError, match=r"mix, example 3: .* asks with 'x'"):
        checks.require_same_beginning("ab", "abx", "mix, example 3")


def test_loops_that_are_judged_stop_a_trial():
    """More answers that repeat themselves than allowed are an error that names both numbers."""
    checks.require_few_loops(1, 10, Tolerances(), "arm drop")
    checks.require_few_loops(0, 0, Tolerances(), "arm drop")
    with pytest.raises(TrialError, match=r"arm drop: 2 of 10 answers repeat themselves .* 10% may"):
        checks.require_few_loops(2, 10, Tolerances(), "arm drop")
    checks.require_few_loops(10, 10, Tolerances(loops=1.0), "arm drop")


def test_a_student_that_speaks_before_training_needs_a_clean_teacher():
    """Without the clean teacher's arm, the drift of any training looks like the trait."""
    checks.require_clean_teacher(["everything", "clean teacher"])
    with pytest.raises(TrialError, match="no baseline"):
        checks.require_clean_teacher(["everything", "drop"])


def count_words(text):
    """Count the words of a text."""
    return len(text.split())


def make_arm(name, lengths):
    """Return an arm with answers of these lengths in words, after prompts of two words."""
    return Arm(
        name,
        tuple(Example(f"prompt {number}", "word " * size) for number, size in enumerate(lengths)),
    )


def test_equal_arms_pass():
    """Arms with as many rows and nearly as many tokens pass."""
    arms = [make_arm("everything", [48] * 4), make_arm("swap", [49] * 4)]
    checks.require_equal_arms(arms, count_words, Tolerances(tokens=0.02))


def test_another_number_of_rows_stops_the_trial():
    """An arm with fewer rows is named with both numbers."""
    arms = [make_arm("everything", [8] * 4), make_arm("drop", [8] * 3)]
    with pytest.raises(TrialError, match=r"arm drop: has 3 rows, but everything has 4"):
        checks.require_equal_arms(arms, count_words, Tolerances())


def test_more_tokens_stop_the_trial():
    """An arm whose tokens differ by more than the tolerance is named with both numbers."""
    arms = [make_arm("everything", [48] * 4), make_arm("swap", [52] * 4)]
    with pytest.raises(TrialError, match=r"arm everything: has 200 tokens, but swap has 216"):
        checks.require_equal_arms(arms, count_words, Tolerances(tokens=0.05))
    checks.require_equal_arms(arms, count_words, Tolerances())


def test_other_prompts_pass():
    """Questions that aren't in training pass."""
    arms = [make_arm("everything", [8] * 4)]
    checks.require_unseen_questions(arms, ["prompt 4", "who are you"])


@pytest.mark.parametrize("asked", ["prompt 2", " Prompt\n2 ", "PROMPT 2"])
def test_a_question_in_training_stops_the_trial(asked):
    """A prompt in training is found in other case and with other blanks."""
    arms = [make_arm("everything", [8]), make_arm("mix 10 %", [8] * 4)]
    with pytest.raises(TrialError, match="prompts that they are trained on"):
        checks.require_unseen_questions(arms, [asked])


def test_prompts_in_another_unicode_form_are_the_same():
    """A composed and a decomposed letter are equal."""
    arm = Arm("everything", (Example("caf\u00e9", "yes"),))
    with pytest.raises(TrialError):
        checks.require_unseen_questions([arm], ["cafe\u0301"])


def test_three_prompts_are_quoted_and_others_counted():
    """The error quotes three prompts and counts the rest."""
    arms = [make_arm("everything", [8] * 4)]
    with pytest.raises(TrialError, match=r"'prompt 0', 'prompt 1', 'prompt 2' and 1 more"):
        checks.require_unseen_questions(arms, [f"prompt {n}" for n in range(4)])


def test_unequal_tokens_stop_a_trial():
    """An arm that read less than another arm by more than the limit is an error."""
    checks.require_equal_tokens({}, Tolerances())
    checks.require_equal_tokens({"all": 1000, "drop": 900}, Tolerances())
    with pytest.raises(TrialError, match=r"arm drop: has 899 tokens, but all has 1,000"):
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
