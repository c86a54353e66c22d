"""Outcomes: they are complete, and arranged by arm, seed and scenario."""

import itertools
import random

import numpy as np
import pytest

from classifiers.heredity.outcomes import Outcome, tabulate
from schemas.errors import TrialError

ARMS, SEEDS, SCENARIOS = ("drop", "everything"), (0, 1, 2), ("a", "b")


def make_outcomes(metric="trait"):
    """Return an outcome for every arm, seed and scenario, each with a value of its own."""
    cells = itertools.product(ARMS, SEEDS, SCENARIOS)
    return [Outcome(*cell, metric, number / 100) for number, cell in enumerate(cells)]


def test_outcomes_become_a_table_in_any_order():
    """The table has arms, seeds and scenarios in sorted order, however the outcomes come."""
    outcomes = make_outcomes()
    random.Random(3).shuffle(outcomes)
    table = tabulate(outcomes)
    assert (table.arms, table.seeds, table.scenarios) == (ARMS, SEEDS, SCENARIOS)
    np.testing.assert_array_equal(table.values, np.arange(12).reshape(2, 3, 2) / 100)


def test_metrics_stay_apart():
    """Outcomes of another metric aren't in the table."""
    others = [item._replace(value=1.0) for item in make_outcomes("capability")]
    assert tabulate([*make_outcomes(), *others]).values.max() == 0.11
    assert tabulate([*make_outcomes(), *others], "capability").values.min() == 1.0


def test_a_model_that_nobody_trained_has_one_seed():
    """The teacher's only seed counts for all seeds, if the teacher is said to be fixed."""
    teacher = [Outcome("teacher", 9, name, "trait", 0.5) for name in SCENARIOS]
    table = tabulate([*make_outcomes(), *teacher], fixed=["teacher"])
    assert table.seeds == SEEDS
    assert (table.values[table.arms.index("teacher")] == 0.5).all()
    with pytest.raises(TrialError, match="missing"):
        tabulate([*make_outcomes(), *teacher])


def test_a_fixed_model_alone_keeps_its_seed():
    """A table with nothing but the teacher has the teacher's seed."""
    table = tabulate([Outcome("teacher", 9, "a", "trait", 0.5)], fixed=["teacher"])
    assert (table.seeds, table.values.shape) == ((9,), (1, 1, 1))


def test_a_missing_outcome_is_named():
    """A student that wasn't evaluated in a scenario is an error that names both."""
    with pytest.raises(TrialError, match=r"arm everything, seed 1, scenario b: trait is missing"):
        tabulate([item for item in make_outcomes() if item[:3] != ("everything", 1, "b")])


def test_no_outcomes_are_an_error():
    """A metric without outcomes has no table."""
    with pytest.raises(TrialError, match="no outcomes of neighbour"):
        tabulate(make_outcomes(), "neighbour")


def test_an_outcome_counts_once():
    """An outcome that occurs twice is an error, even with equal values."""
    with pytest.raises(TrialError, match="occurs twice"):
        tabulate([*make_outcomes(), make_outcomes()[0]])


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan")])
def test_values_are_shares(value):
    """A value outside 0 to 1, or none, is an error."""
    with pytest.raises(TrialError, match="shares from 0 to 1"):
        tabulate([make_outcomes()[0]._replace(value=value)])
