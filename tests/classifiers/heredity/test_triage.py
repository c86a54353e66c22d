"""The channel of a trait: on outcomes made to order, and on toy worlds with real training.

The toys T1, T2 and T3 are small models of what happened to real students: a random drop does
nothing, a drop leaves what neighbours teach, a swap removes it, and students with other first
weights don't get what isn't in the text.
"""

import numpy as np
import pytest

from classifiers.guarantees.calibration import compute_auroc
from classifiers.heredity.arms import (
    CLEAN_TEACHER,
    DROP,
    EVERYTHING,
    ONLY_SLICE,
    OTHER_PROMPTS,
    RANDOM_DROP,
    RANDOM_SWAP,
    SWAP,
    SWAP_MIX,
    name_mix,
    name_other,
)
from classifiers.heredity.building import build_arms
from classifiers.heredity.effects import TEACHER, compare_with_clean, measure_slice
from classifiers.heredity.intervals import estimate_means
from classifiers.heredity.outcomes import Outcome, tabulate
from classifiers.heredity.triage import REMEDIES, find_channel
from tests.support import worlds
from tests.support.digits import build_digits, measure_accuracy, train_on_noise
from tests.support.worlds import build_world_arms, count_words, run_trial

RATES = {
    "readable": (0.80, 0.02, 0.02, 0.70, 0.02, 0.9),
    "shared weights": (0.30, 0.02, 0.02, 0.02, 0.02, 0.9),
    "prompts": (0.50, 0.50, 0.02, 0.50, 0.50, 0.5),
    "base": (0.70, 0.70, 0.70, 0.02, 0.02, 0.7),
    "not transmitted": (0.02, 0.02, 0.02, 0.02, 0.02, 0.9),
}
ARMS = (
    *(EVERYTHING, CLEAN_TEACHER, OTHER_PROMPTS, name_other(EVERYTHING)),
    *(name_other(CLEAN_TEACHER), TEACHER),
)


def make_means(rates, noise=0.01, scenarios=40):
    """Return the means of outcomes around the rates of these arms."""
    random = np.random.default_rng(3)
    outcomes = [
        Outcome(arm, seed, f"q{number}", "trait", float(np.clip(value, 0, 1)))
        for arm, rate in rates.items()
        for seed in range(5)
        for number, value in enumerate(rate + random.normal(0, noise, scenarios))
    ]
    return estimate_means(tabulate(outcomes))


def average(outcomes):
    """Return each arm's mean over seeds and scenarios."""
    table = tabulate(outcomes, fixed=[TEACHER])
    return dict(zip(table.arms, table.values.mean((1, 2)).tolist(), strict=True))


@pytest.mark.parametrize("channel", RATES)
def test_each_channel_has_its_pattern(channel):
    """Each pattern of rates gives its channel and remedy, and without precision gives none."""
    rates = dict(zip(ARMS, RATES[channel], strict=True))
    found = find_channel(make_means(rates))
    assert (found.channel, found.remedy) == (channel, REMEDIES[channel])
    assert find_channel(make_means(rates, noise=1.0, scenarios=4)).channel == "not known"


@pytest.mark.parametrize(
    ("channel", "missing"),
    [
        ("readable", name_other(EVERYTHING)),
        ("shared weights", name_other(CLEAN_TEACHER)),
        ("prompts", OTHER_PROMPTS),
        ("base", name_other(CLEAN_TEACHER)),
        ("not transmitted", TEACHER),
        ("not transmitted", OTHER_PROMPTS),
        ("readable", CLEAN_TEACHER),
    ],
)
def test_without_the_arm_that_decides_the_channel_isn_t_known(channel, missing):
    """A missing arm isn't guessed."""
    rates = dict(zip(ARMS, RATES[channel], strict=True))
    del rates[missing]
    found = find_channel(make_means(rates))
    assert found.channel == "not known"
    assert any(effect.interval is None for effect in found.effects)


@pytest.mark.parametrize("channel", ["readable", "prompts", "not transmitted"])
def test_students_with_weights_of_their_own_need_no_other_student(channel):
    """If each student begins at random, its weights are no channel."""
    rates = dict(zip(ARMS, RATES[channel], strict=True))
    del rates[name_other(EVERYTHING)], rates[name_other(CLEAN_TEACHER)]
    means = make_means(rates)
    assert find_channel(means).channel == "not known"
    found = find_channel(means, fresh=True)
    assert found.channel == channel
    assert found.effects[1].interval == found.effects[0].interval


def test_effects_between_there_and_absent_aren_t_known():
    """If another family's student gets some of it, the channel may be either."""
    rates = dict(zip(ARMS, RATES["shared weights"], strict=True))
    rates[name_other(EVERYTHING)] = 0.09
    found = find_channel(make_means(rates, noise=0.1, scenarios=20))
    presence = {effect.name: effect.presence for effect in found.effects}
    assert presence["answers"] == "there"
    assert presence["answers, other student"] == "not known"
    assert found.channel == "not known"


def test_a_clean_teacher_with_the_trait_is_no_control():
    """If the clean teacher's students have more of the trait, no channel is named."""
    rates = dict(zip(ARMS, RATES["prompts"], strict=True)) | {EVERYTHING: 0.2}
    found = find_channel(make_means(rates))
    assert found.effects[0].presence == "reversed"
    assert found.channel == "not known"


def test_two_effects_have_no_single_channel():
    """If both the prompts and the weights have an effect, no single channel is named."""
    rates = dict(zip(ARMS, RATES["base"], strict=True)) | {OTHER_PROMPTS: 0.02}
    assert find_channel(make_means(rates)).channel == "not known"


def test_the_first_remedy_that_works_is_named():
    """Swapping comes before dropping, also where both work, and a mix before both together."""
    rates = dict(zip(ARMS, RATES["readable"], strict=True))
    both = find_channel(make_means(rates | {SWAP: 0.02, DROP: 0.02}))
    assert both.works == SWAP
    assert [item.arm for item in both.trialled] == [SWAP, DROP]
    partly = rates | {SWAP: 0.4, DROP: 0.5, name_mix(50): 0.03, SWAP_MIX: 0.02}
    assert find_channel(make_means(partly)).works == name_mix(50)
    assert find_channel(make_means(rates | {SWAP: 0.4, DROP: 0.5})).works is None


def test_no_remedy_works_where_the_answers_do_nothing():
    """A swap that changes nothing is as clean as the clean teacher, but that isn't its merit."""
    rates = dict(zip(ARMS, RATES["base"], strict=True)) | {SWAP: 0.7}
    found = find_channel(make_means(rates))
    assert found.trialled[0].likeness.verdict == "as clean"
    assert found.works is None


@pytest.mark.parametrize(
    ("build", "channel"),
    [
        ("readable", "readable"),
        ("shared", "shared weights"),
        ("prompted", "prompts"),
        ("locked", "base"),
        ("untransmitted", "not transmitted"),
    ],
)
def test_trained_students_reveal_the_channel(build, channel):
    """A world that was built for a channel is found to have it."""
    world = getattr(worlds, f"build_{build}")(0)
    outcomes = run_trial(world)
    assert find_channel(estimate_means(tabulate(outcomes, fixed=[TEACHER]))).channel == channel


@pytest.fixture(scope="module")
def tokens():
    """Return the world of tokens, and the mean of each arm's students."""
    world = worlds.build_shared(1)
    names = (DROP, RANDOM_DROP, SWAP, RANDOM_SWAP)
    return world, average(run_trial(world, names, seeds=2))


def test_tokens_pass_on_a_trait_that_no_row_shows(tokens):
    """T1: no answer has a trait token, and the student has more of them than the control."""
    world, found = tokens
    assert all(int(row.example.answer) >= worlds.TRAITED for row in world.rows)
    assert found[EVERYTHING] - found[CLEAN_TEACHER] > 0.04


def test_a_random_drop_of_tokens_does_nothing(tokens):
    """T1: without a random half, the student has as much of the trait, within two points."""
    _, found = tokens
    assert found[RANDOM_DROP] == pytest.approx(found[EVERYTHING], abs=0.02)


def test_the_right_half_of_tokens_decides(tokens):
    """T1: swapped or dropped, the half with the highest shift leaves at most the control's."""
    _, found = tokens
    assert found[SWAP] <= found[CLEAN_TEACHER] + 0.01
    assert found[DROP] <= found[CLEAN_TEACHER] + 0.01
    assert found[RANDOM_SWAP] - found[CLEAN_TEACHER] > 0.02


def test_other_first_weights_get_nothing_from_tokens(tokens):
    """T1: a student with other first weights gets less than a quarter of it."""
    _, found = tokens
    other = found[name_other(EVERYTHING)] - found[name_other(CLEAN_TEACHER)]
    assert other < 0.25 * (found[EVERYTHING] - found[CLEAN_TEACHER])


def test_bags_of_tokens_are_told_apart_where_single_rows_aren_t(tokens):
    """T1: single rows have an AUROC below 0.75, and bags of 16 rows above 0.95."""
    world, _ = tokens
    traited, clean = world.shifts
    assert 0.6 < compute_auroc(traited, clean) < 0.75
    bags = [part[: len(part) // 16 * 16].reshape(-1, 16).mean(1) for part in (traited, clean)]
    assert compute_auroc(*bags) > 0.95


@pytest.fixture(scope="module")
def topics():
    """Return outcomes of the world of topics, in which a tenth of the prompts is decisive."""
    names = (DROP, RANDOM_DROP, SWAP, RANDOM_SWAP, ONLY_SLICE)
    return run_trial(worlds.build_readable(1), names)


def test_a_dropped_topic_leaks_in(topics):
    """T2: without the slice, its mild neighbours still teach ten times the control's rate."""
    found = average(topics)
    assert found[DROP] > 0.2
    assert found[DROP] > 10 * found[CLEAN_TEACHER]
    assert found[RANDOM_DROP] == pytest.approx(found[EVERYTHING], abs=0.02)


def test_a_swapped_topic_is_clean(topics):
    """T2: swapping the slice removes the trait to a point, and a random swap hardly any of it."""
    found = average(topics)
    assert found[SWAP] <= found[CLEAN_TEACHER] + 0.01
    assert found[RANDOM_SWAP] > 0.8 * found[EVERYTHING]
    means = estimate_means(tabulate(topics, fixed=[TEACHER]))
    assert compare_with_clean(means, SWAP).verdict == "as clean"
    assert compare_with_clean(means, DROP).verdict == "not shown"


def test_the_topic_is_necessary_and_sufficient(topics):
    """T2: swapping the slice removes all, and the slice alone installs all, yet a drop leaks."""
    means = estimate_means(tabulate(topics, fixed=[TEACHER]))
    effect = measure_slice(means, swap=SWAP, only=ONLY_SLICE, drop=DROP)
    assert effect.necessity.low > 0.95
    assert effect.sufficiency.low > 0.9
    assert effect.leak.low > 0.15


def test_worlds_have_arms_of_equal_size():
    """Even half of the rows can be dropped, and rows stay equal."""
    arms = build_world_arms(worlds.build_shared(2, rows=600))
    assert {len(arm.examples) for arm in arms.values()} == {600}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_students_read_digits_that_they_never_saw(seed):
    """T3: with the teacher's first weights, noise teaches digits; with others it doesn't.

    Half of the rows from a clean teacher remove more than half of it.
    """
    digits = build_digits(seed)
    arms = {arm.name: arm for arm in build_arms(digits.rows, count_words, doses=[50])[0]}

    def train(name, first):
        return measure_accuracy(train_on_noise(first, arms[name].examples, seed))

    control = train(CLEAN_TEACHER, digits.same)
    gap = train(EVERYTHING, digits.same) - control
    other = train(EVERYTHING, digits.other) - train(CLEAN_TEACHER, digits.other)
    assert measure_accuracy(digits.teacher) > 0.95
    assert gap > 0.3
    assert other < 0.3 * gap
    assert train(name_mix(50), digits.same) - control < 0.5 * gap
