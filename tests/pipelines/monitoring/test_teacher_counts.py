"""Counts of a generation by teacher: which teachers have them, and that they are read back."""

import numpy as np

from classifiers.lots.inventories import take_inventory
from pipelines.monitoring.teacher_counts import (
    FEWEST_TEXTS,
    MOST_TEACHERS,
    count_by_teacher,
    decode_counts,
    encode_counts,
)
from tests.support.lots import build_sample, write_answers

SAMPLE = build_sample(write_answers(200, 5), [])


def name_teachers(*names):
    """Name a teacher of each text, in turn."""
    return [names[place % len(names)] for place in range(len(SAMPLE))]


def test_each_teachers_texts_are_counted_alone():
    """A teacher's counts are those of a sample of its texts."""
    names = name_teachers("atlas", "borealis")
    found = count_by_teacher(SAMPLE, names)
    assert list(found) == ["atlas", "borealis"]
    own = take_inventory(SAMPLE.take(np.array(names) == "borealis"))
    assert found["borealis"].table.equals(own.table)
    assert found["borealis"].totals == own.totals
    assert sum(map(sum, (item.totals for item in found.values()))) == len(SAMPLE)


def test_a_single_teacher_needs_no_counts_of_its_own():
    """Its counts are those of all texts."""
    assert count_by_teacher(SAMPLE, name_teachers("atlas")) is None


def test_small_teachers_are_left_out():
    """A teacher with too few texts has nothing that could be tested."""
    names = ["atlas"] * (len(SAMPLE) - FEWEST_TEXTS + 1) + ["borealis"] * (FEWEST_TEXTS - 1)
    assert list(count_by_teacher(SAMPLE, names)) == ["atlas"]


def test_only_the_largest_teachers_are_counted(monkeypatch):
    """The history stays small with hundreds of teachers."""
    monkeypatch.setattr("pipelines.monitoring.teacher_counts.MOST_TEACHERS", 2)
    names = name_teachers("atlas", "borealis", "borealis", "cygnus", "cygnus")
    assert list(count_by_teacher(SAMPLE, names)) == ["borealis", "cygnus"]
    assert MOST_TEACHERS > 2


def test_counts_are_read_back():
    """Parquet and the sizes have everything, also without a teacher or a row."""
    found = count_by_teacher(SAMPLE, name_teachers("atlas", 'it\'s "b"', "cygnus"))
    sizes = {name: [*item.totals, item.fewest] for name, item in found.items()}
    again = decode_counts(encode_counts(found), sizes)
    assert list(again) == list(found)
    for name, item in found.items():
        assert again[name].table.equals(item.table)
        assert (again[name].totals, again[name].fewest) == (item.totals, item.fewest)
    assert decode_counts(encode_counts({}), {}) == {}
    assert encode_counts(found) == encode_counts(again)
