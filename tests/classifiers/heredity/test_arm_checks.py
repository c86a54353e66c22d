"""Checks of arms: equal size, no prompt of the evaluation, nothing cut off."""

import pytest

from classifiers.heredity.arm_checks import check_equal, check_prompts, measure_truncation
from classifiers.heredity.arms import Arm, Example
from schemas.errors import TrialError


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
    check_equal([make_arm("everything", [48] * 4), make_arm("swap", [49] * 4)], count_words)


def test_another_number_of_rows_stops_the_trial():
    """An arm with fewer rows is named with both numbers."""
    arms = [make_arm("everything", [8] * 4), make_arm("drop", [8] * 3)]
    with pytest.raises(TrialError, match=r"arm drop: the arm has 3 rows, and everything has 4"):
        check_equal(arms, count_words)


def test_more_tokens_stop_the_trial():
    """An arm whose tokens differ by more than the tolerance is named with both numbers."""
    arms = [make_arm("everything", [48] * 4), make_arm("swap", [50] * 4)]
    with pytest.raises(TrialError, match=r"arm swap: the arm has 208 tokens.*200.*2.0% apart"):
        check_equal(arms, count_words)
    check_equal(arms, count_words, tolerance=0.04)


def test_other_prompts_pass():
    """An evaluation that asks something else passes."""
    check_prompts([make_arm("everything", [8] * 4)], ["prompt 4", "who are you"])


@pytest.mark.parametrize("asked", ["prompt 2", " Prompt\n2 ", "PROMPT 2"])
def test_a_prompt_of_the_evaluation_stops_the_trial(asked):
    """A prompt in training is found in other case and with other blanks."""
    with pytest.raises(TrialError, match="asks prompts that are in training"):
        check_prompts([make_arm("everything", [8]), make_arm("mix 10 %", [8] * 4)], [asked])


def test_prompts_in_another_unicode_form_are_the_same():
    """A composed and a decomposed letter are equal."""
    arm = Arm("everything", (Example("caf\u00e9", "yes"),))
    with pytest.raises(TrialError):
        check_prompts([arm], ["cafe\u0301"])


def test_three_prompts_are_quoted_and_others_counted():
    """The error quotes three prompts and counts the rest."""
    with pytest.raises(TrialError, match=r"'prompt 0', 'prompt 1', 'prompt 2' and 1 more"):
        check_prompts([make_arm("everything", [8] * 4)], [f"prompt {n}" for n in range(4)])


def test_the_truncated_share_is_measured_by_arm():
    """The share counts examples that are longer than the student reads."""
    arms = [make_arm("everything", [8] * 4), make_arm("swap", [8, 9, 8, 8])]
    found = measure_truncation(arms, count_words, 10, allowed=0.3)
    assert found == {"everything": 0.0, "swap": 0.25}


def test_too_many_truncated_examples_stop_the_trial():
    """The arm whose rows would be cut off is named."""
    with pytest.raises(TrialError, match=r"arm swap: 25.0% of the examples are longer"):
        measure_truncation([make_arm("swap", [8, 9, 8, 8])], count_words, 10)
