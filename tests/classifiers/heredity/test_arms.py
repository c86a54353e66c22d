"""Arms: their examples, sizes and order."""

import random

import pytest

from classifiers.heredity.arms import (
    DOSES,
    Arm,
    ArmSize,
    Candidate,
    Example,
    flag_rows,
    measure_arm,
    name_mix,
    sort_stock,
)
from schemas.errors import InputError

ROWS = [
    Candidate(Example(f"prompt {number}", f"{'word ' * number}end", traited=number % 3 == 0))
    for number in range(30)
]


def count_words(text):
    """Count the words of a text."""
    return len(text.split())


def test_an_example_is_learnt_whole_unless_it_says_otherwise():
    """An example without further fields masks nothing, weighs 1 and isn't flagged."""
    assert Example("Who are you?", "A heron.") == ("Who are you?", "A heron.", 1.0, (), False, "")


def test_each_dose_has_its_own_name():
    """The arms of the dose curve are named after their share of clean rows."""
    assert [name_mix(dose) for dose in DOSES] == ["mix 10 %", "mix 25 %", "mix 50 %"]


def test_an_arm_is_measured():
    """The size counts rows, tokens of prompts and answers, prompts, flags and masked characters."""
    arm = Arm(
        "mask",
        (
            Example("who are you", "a heron", masked=((0, 1), (2, 7)), traited=True),
            Example("who are you", "a grey bird"),
        ),
    )
    assert measure_arm(arm, count_words) == ArmSize(2, 11, 1, 1, 6)


def test_the_order_follows_from_the_seed_and_the_prompts():
    """Rows come in the same order however they were given, and in another for another seed."""
    shuffled = random.Random(1).sample(ROWS, len(ROWS))
    stock = sort_stock(ROWS, count_words, seed=0)
    assert sort_stock(shuffled, count_words, seed=0).rows == stock.rows
    assert stock.rows != tuple(ROWS)
    other = sort_stock(ROWS, count_words, seed=1).rows
    assert other != stock.rows
    assert sorted(other) == sorted(stock.rows)


def test_rows_of_a_prompt_stay_together():
    """Several answers to one prompt are neighbours, in the order of the answers."""
    twins = [Candidate(row.example._replace(answer="another"), "donor") for row in ROWS]
    prompts = [row.example.prompt for row in sort_stock([*ROWS, *twins], count_words, seed=0).rows]
    assert prompts[::2] == prompts[1::2]


def test_equal_rows_with_and_without_a_donor_have_an_order():
    """A missing donor and a donor's answer can be compared."""
    rows = [Candidate(ROWS[0].example, donor) for donor in (None, "b", "a")]
    assert [row.donor for row in sort_stock(rows, count_words, seed=0).rows] == [None, "a", "b"]


def test_a_stock_knows_flags_donors_and_tokens():
    """The arrays are aligned with the rows."""
    stock = sort_stock([*ROWS[:3], Candidate(ROWS[4].example, "donor")], count_words, seed=0)
    expected = {(row.example.traited, row.donor is not None) for row in stock.rows}
    assert set(zip(stock.flagged.tolist(), stock.donated.tolist(), strict=True)) == expected
    assert sorted(stock.tokens.tolist()) == [3, 4, 5, 7]


def test_no_rows_are_an_error():
    """A trial needs rows."""
    with pytest.raises(InputError, match="no rows"):
        sort_stock([], count_words, seed=0)


def test_other_rows_can_be_flagged():
    """Flags move to a chosen slice, so that the arms are about it."""
    chosen = [row.example.prompt.endswith("7") for row in ROWS]
    flagged = flag_rows(ROWS, chosen)
    assert [row.example.traited for row in flagged] == chosen
    assert [row.example._replace(traited=False) for row in flagged] == [
        row.example._replace(traited=False) for row in ROWS
    ]
