"""Which measures of length, format and difficulty differ."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.lots.format_differences import (
    FEWEST,
    MOST,
    SMALLEST,
    compare_formats,
    compute_auroc,
)
from classifiers.lots.formats import measure_formats
from tests.support.lots import write_answers


def measure(own: list[str], other: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the measures of two sets of texts, and which are of the first."""
    texts = pa.array(own + other, pa.large_string())
    return measure_formats(texts), np.array([True] * len(own) + [False] * len(other))


def test_a_format_is_named_with_its_values():
    """Bullets in one set only are named, with the shares of texts or the rates of both sets."""
    plain = write_answers(200, 1)
    listed = [f"- {text}\n- And more." for text in write_answers(200, 2)]
    found = compare_formats(*measure(listed, plain))
    bullets = next(item for item in found if "bullets" in item.name)
    assert bullets.auroc > 0.95
    assert bullets.own > bullets.other == 0
    names = [item.name for item in found]
    assert len(set(names)) == len(names) <= MOST
    assert sum("bullets" in name for name in names) == 1


def test_lengths_are_medians():
    """A set of longer texts differs in words, which are stated as their median."""
    short, long = ["One two three four."] * 50, ["One two three four. " * 9] * 50
    found = {item.name: item for item in compare_formats(*measure(long, short))}
    assert found["words"].unit == "number"
    assert found["words"].own == pytest.approx(37, abs=1.5)
    assert found["words"].other == pytest.approx(4)
    assert found["words"].auroc == 1.0


def test_what_is_rarer_is_below_one_half():
    """A set without exclamation marks has an AUROC below one half."""
    calm, loud = write_answers(100, 1), [f"{text} Yes!" for text in write_answers(100, 2)]
    found = {item.name: item for item in compare_formats(*measure(calm, loud))}
    (name,) = [name for name in found if "exclamation" in name]
    assert found[name].auroc < 0.1
    assert found[name].to_json()["corpus"] < found[name].to_json()["reference"]


def test_like_texts_have_no_difference():
    """Texts of one kind don't differ by chance, and few texts say nothing."""
    assert compare_formats(*measure(write_answers(400, 1), write_answers(400, 2))) == []
    few = FEWEST - 1
    assert compare_formats(*measure(["a"] * few, ["- b b b b b!"] * 90)) == []


def test_the_largest_differences_come_first():
    """Differences are ordered by their distance from one half, and all of them are large enough."""
    own = [f"# {text}\n\n**Yes!** (a; b)" for text in write_answers(300, 1)]
    found = compare_formats(*measure(own, write_answers(300, 2)))
    distances = [abs(item.auroc - 0.5) for item in found]
    assert distances == sorted(distances, reverse=True)
    assert min(distances) >= SMALLEST


@given(st.lists(st.integers(0, 5), min_size=2, max_size=30), st.integers(1, 29))
def test_the_auroc_counts_pairs(values, cut):
    """The AUROC is the share of pairs in which the first set's value is larger, ties by half."""
    cut = min(cut, len(values) - 1)
    own = np.arange(len(values)) < cut
    array = np.array(values, float)
    pairs = [(one > other) + (one == other) / 2 for one in array[own] for other in array[~own]]
    assert compute_auroc(array, own) == pytest.approx(np.mean(pairs))
