"""Labelled rows: halves that share no prompt and don't depend on the order of the labels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.labelled_rows import NO_ROWS, CardLabels, Half, JudgedRow, split_labels

ROWS = st.lists(
    st.builds(
        JudgedRow,
        st.tuples(st.text("abc ", min_size=1, max_size=3)),
        st.text("pq ", max_size=3),
        st.sampled_from([True, False, None]),
    ),
    max_size=30,
    unique_by=lambda row: row.texts,
)


def list_texts(half):
    """Return the texts of both labels of a half."""
    return {*half.positives, *half.negatives}


@given(ROWS)
def test_no_prompt_is_in_both_halves(rows):
    """Every sure row is in one half, all rows of a prompt in the same one, unsure rows in none."""
    labels = split_labels(rows)
    fitting, calibration = list_texts(labels.fitting), list_texts(labels.calibration)
    assert not fitting & calibration
    assert fitting | calibration == {row.texts for row in rows if row.shows is not None}
    assert labels.unsure == sum(row.shows is None for row in rows)
    for row in rows:
        same = {other.texts for other in rows if " ".join(other.prompt.split()) == row.prompt}
        if row.prompt.strip():
            assert not (same & fitting and same & calibration)


@given(ROWS, st.randoms())
def test_the_order_of_labels_makes_no_difference(rows, random):
    """Shuffled labels have the same digest, and more labels leave the old ones in their halves."""
    labels, shuffled = split_labels(rows), random.sample(rows, len(rows))
    assert split_labels(shuffled).digest == labels.digest
    part = split_labels(rows[: len(rows) // 2])
    assert list_texts(part.fitting) <= list_texts(labels.fitting)
    assert list_texts(part.calibration) <= list_texts(labels.calibration)


def test_texts_that_calibrate_thresholds_are_never_fitted():
    """If one of its rows is in the clean sample, all rows of a prompt are in calibration."""
    rows = [JudgedRow((f"text {number}",), f"p{number // 2}", False) for number in range(40)]
    usual = split_labels(rows)
    kept_out = usual.fitting.negatives[0]
    labels = split_labels(rows, kept_out)
    moved = set(usual.fitting.negatives) - set(labels.fitting.negatives)
    assert kept_out in moved
    prompts = {row.texts: row.prompt for row in rows}
    assert {prompts[texts] for texts in moved} == {prompts[kept_out]}
    assert moved <= set(labels.calibration.negatives)


def test_equal_rows_count_once():
    """Of rows with the same texts, the first counts."""
    rows = [JudgedRow(("a", "b"), prompt, True) for prompt in ("x", "y")]
    labels = split_labels(rows)
    assert sum(len(half.positives) for half in (labels.fitting, labels.calibration)) == 1
    assert labels.is_shown_by(("a", "b"))
    assert not labels.is_shown_by(("a",))
    assert labels.list_texts() == {"a", "b"}


@pytest.mark.parametrize(
    "other",
    [
        CardLabels(Half((("a",),), (("b",),))),
        CardLabels(Half(), Half((("a",),))),
        CardLabels(Half((("a",),)), NO_ROWS, 1),
    ],
    ids=["negative", "half", "unsure"],
)
def test_the_digest_covers_texts_labels_and_halves(other):
    """Labels that differ in a text, a half or a count have another digest."""
    assert CardLabels(Half((("a",),))).digest != other.digest


def test_the_description_has_no_text():
    """The description has counts and a digest."""
    labels = CardLabels(Half((("secret",),), (("b",), ("c",))), Half((), (("d",),)), 3)
    found = labels.describe()
    assert found["fitting"] == {"yes": 1, "no": 2}
    assert found["calibration"] == {"yes": 0, "no": 1}
    assert found["unsure"] == 3
    assert "secret" not in str(found)
