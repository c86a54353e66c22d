"""What a dry run of filter prints: splits, teachers and time."""

import pytest

from pipelines.cli.dry_run import MOST_TEACHERS, describe_outlook, format_duration
from pipelines.outlook import Outlook


def test_the_outlook_is_said_in_lines():
    """Splits are listed if there are any, teachers by their rows, and the time with its rows."""
    found = Outlook({"train": 1_200, None: 3}, {"atlas": 30, None: 2}, 32, 90.0, 8)
    splits, teachers, seconds = describe_outlook(found)
    assert splits == "rows by split: train 1,200, unknown 3"
    assert teachers == (
        "2 teachers in a sample of 32 rows (the first rows of the files): atlas 30, unknown 2"
    )
    assert "about 2 min in one process on this machine, by the time of 8 rows" in seconds


def test_unknown_splits_and_empty_samples_are_left_out():
    """Without a split or a timed row, these lines are left out."""
    (teachers,) = describe_outlook(Outlook({None: 3}, {"atlas": 3}, 3, 0.0, 0))
    assert teachers.startswith("1 teacher in a sample of 3 rows")


def test_many_teachers_are_cut():
    """A long list of teachers ends with how many more there are."""
    names = {f"teacher {number}": 1 for number in range(MOST_TEACHERS + 2)}
    (line,) = describe_outlook(Outlook({None: 1}, names, len(names), 0.0, 0))
    assert line.endswith(" and 2 more")


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (59, "59 s"), (90, "2 min"), (7_300, "2.0 hours")]
)
def test_a_time_has_a_unit_that_fits_it(seconds, said):
    """Short times are in seconds, and long ones in minutes or hours."""
    assert format_duration(seconds) == said
