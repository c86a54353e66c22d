"""What a run would do: rows by split and teacher, and its time."""

import pytest

from pipelines.outlook import TIMED_ROWS, count_splits, foresee
from pipelines.plan import settle


@pytest.fixture
def plan(config):
    """Return a settled run."""
    return settle(config, lambda _: None)


def test_rows_are_counted_by_split_and_teacher(plan):
    """All rows have a split, known or not, and all sampled rows a teacher, known or not."""
    found = foresee(plan)
    assert sum(found.splits.values()) == 40
    assert count_splits(plan) == found.splits
    assert sum(found.teachers.values()) == found.sampled == 40
    counts = list(found.teachers.values())
    assert counts == sorted(counts, reverse=True)


def test_some_rows_are_timed(plan):
    """A few rows are scored, and their time is that of all rows in proportion."""
    found = foresee(plan)
    assert 0 < found.timed <= TIMED_ROWS
    assert found.seconds > 0
