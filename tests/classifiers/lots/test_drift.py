"""Changes over generations: what is found, what isn't, and what it is called."""

import numpy as np
import pytest

from classifiers.lots.drift import ALWAYS_TESTED, Drift, find_drifts, merge_drifts
from classifiers.lots.inventories import take_inventory
from classifiers.lots.trends import Slope
from tests.support.generations import count_generation
from tests.support.lots import build_sample, write_answers

LEVEL = 0.05


def find_named(inventories, word):
    """Return the changes whose text has a word."""
    return [item for item in find_drifts(inventories, LEVEL).changes if word in item.text]


@pytest.fixture(scope="module")
def rising():
    """Count four generations in which a habit doubles, once."""
    return [count_generation(number, every) for number, every in enumerate((80, 40, 20, 10))]


def test_a_rising_habit_is_flagged_by_the_third_generation(rising):
    """A habit that doubles from 1.25 % is found, and a steeper one by the third."""
    found = find_named(rising, "gap")
    assert found[0].change == "accumulated"
    assert found[0].q_value <= LEVEL
    assert found[0].slope.low > 0
    assert len(found[0].counts) == 4
    steep = [count_generation(number, every) for number, every in enumerate((40, 16, 6))]
    assert find_named(steep, "gap")[0].change == "accumulated"


def test_a_new_habit_appeared():
    """A habit that no earlier generation has appeared, also beside a single one."""
    earlier = [count_generation(number) for number in range(3)]
    newest = count_generation(9, 8)
    for inventories in ([earlier[0], newest], [*earlier, newest]):
        found = find_named(inventories, "gap")
        assert found[0].change == "appeared"
        assert found[0].counts[0] <= 0
    assert find_named([earlier[0], newest], "gap")[0].slope is None


def test_a_lost_habit_faded():
    """A habit that the newest generation lacks faded, and its text is still known."""
    inventories = [count_generation(0, 8), count_generation(1, 8), count_generation(2)]
    found = find_named(inventories, "gap")
    assert found[0].change == "faded"
    assert found[0].counts[-1] <= 0
    assert found[0].slope.high < 0


def test_a_larger_rate_rose():
    """With two generations, a habit that was there before rose."""
    found = find_named([count_generation(0, 20), count_generation(1, 4)], "gap")
    assert found[0].change == "rose"


def test_equal_generations_do_not_differ():
    """Between generations of the same kind nothing changed, and candidates were tested."""
    found = find_drifts([count_generation(number) for number in range(4)], LEVEL)
    assert found.changes == []
    assert 0 < found.candidates <= 2 * ALWAYS_TESTED
    assert sum(found.totals) > 600


def test_false_alarms_are_rare():
    """Of twenty series of three random parts, at most three have a change."""
    alarms = 0
    for seed in range(20):
        answers = write_answers(360, 1_000 + seed)
        parts = [take_inventory(build_sample(answers[part::3], [])) for part in range(3)]
        alarms += bool(find_drifts(parts, LEVEL).changes)
    assert alarms <= 3


def test_the_order_is_that_of_the_log_odds(rising):
    """The most telling change comes first, and all keep the level."""
    found = find_drifts(rising, LEVEL).changes
    ranks = [item.rank for item in found]
    assert ranks == sorted(ranks, reverse=True)
    assert all(item.p_value <= item.q_value <= LEVEL for item in found)


def test_forms_of_a_habit_are_one_change(rising):
    """Parts and edges of a phrase are its variants."""
    found = find_named(rising, "gap")
    assert len(found) == 1
    assert any("Mind the gap" in text for text in (found[0].text, *found[0].variants))


def build_drift(text, change="rose", counts=(1, 9), kind="phrase"):
    """Return a change."""
    return Drift(kind, text, change, counts, 0.01, 0.02, Slope(0.1, 0.0, 0.2), 1.0)


@pytest.mark.parametrize(
    ("other", "number"),
    [
        (build_drift("the gap"), 1),
        (build_drift("the gap", kind="closing"), 1),
        (build_drift("the gap", change="appeared"), 1),
        (build_drift("the gap", change="faded"), 2),
        (build_drift("the gap", counts=(1, 40)), 2),
        (build_drift("a heron stands"), 2),
        (build_drift("the gap", kind="format"), 2),
    ],
)
def test_only_like_changes_are_merged(other, number):
    """Direction, words and frequency must be alike, and formats stay as they are."""
    found = merge_drifts([build_drift("Mind the gap"), other])
    assert len(found) == number
    assert found[0].variants == (("the gap",) if number == 1 else ())


def test_the_result_is_the_same_each_time(rising):
    """Two comparisons of the same inventories are equal."""
    assert find_drifts(rising, LEVEL) == find_drifts(rising, LEVEL)


def test_only_the_newest_generations_count():
    """Of many generations, the last twelve are compared."""
    found = find_drifts([count_generation(number % 3) for number in range(14)], LEVEL)
    assert len(found.totals) == 12
    assert np.all(np.array(found.totals) > 0)


def test_the_detectable_rate_is_found_as_often_as_promised():
    """A new habit well above the rate is found, and a larger corpus finds a smaller one."""
    earlier, newest = count_generation(0), count_generation(9, 4)
    found = find_drifts([earlier, newest], LEVEL)
    assert found.detectable is not None
    assert 0.03 < found.detectable < 0.25
    assert find_named([earlier, newest], "gap")
    assert find_drifts([*[earlier] * 3, newest], LEVEL).detectable != found.detectable
    few = [take_inventory(build_sample(write_answers(8, seed), [])) for seed in (1, 2)]
    assert find_drifts(few, LEVEL).detectable is None
