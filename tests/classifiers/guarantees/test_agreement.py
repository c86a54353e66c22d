"""Agreement of raters, beside independent implementations and published examples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from classifiers.guarantees.agreement import compute_alpha, compute_fleiss_kappa, compute_kappa

LABELS = st.sampled_from(["yes", "no", "unsure"])

FLEISS = np.array(
    [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
)
"""A well-known example of 14 raters and ten items, whose kappa is 0.210."""

KRIPPENDORFF = (
    "1 1 . 1",
    "2 2 3 2",
    "3 3 3 3",
    "3 3 3 3",
    "2 2 2 2",
    "1 2 3 4",
    "4 4 4 4",
    "1 1 2 1",
    "2 2 2 2",
    ". 5 5 5",
    ". . 1 1",
    ". . 3 .",
)
"""Krippendorff's own example of four raters and twelve items, whose nominal alpha is 0.743."""


@given(st.lists(st.tuples(LABELS, LABELS), min_size=2, max_size=40))
def test_kappa_is_that_of_scikit_learn(pairs):
    """Cohen's kappa agrees to 1e-9, wherever it is defined."""
    first, second = zip(*pairs, strict=True)
    found = compute_kappa(first, second)
    if len({*first, *second}) == 1:
        assert found is None
    else:
        assert found == pytest.approx(cohen_kappa_score(first, second), abs=1e-9)


def test_kappa_needs_items():
    """Without items, or if chance explains everything, there is no kappa."""
    assert compute_kappa([], []) is None
    assert compute_kappa(["no"] * 5, ["no"] * 5) is None
    assert compute_kappa(["yes", "no"], ["yes", "no"]) == 1


def test_fleiss_kappa_of_a_published_example():
    """The example's kappa is 0.210."""
    assert compute_fleiss_kappa(FLEISS) == pytest.approx(0.210, abs=5e-4)


def test_fleiss_kappa_of_agreement_is_one():
    """Raters who always agree have kappa 1, and there is none if they use one label."""
    assert compute_fleiss_kappa(np.array([[3, 0], [0, 3]])) == 1
    assert compute_fleiss_kappa(np.array([[3, 0], [3, 0]])) is None
    assert compute_fleiss_kappa(np.empty((0, 2))) is None


@pytest.mark.parametrize("counts", [[[2, 0], [3, 0]], [[1, 0], [0, 1]]])
def test_fleiss_kappa_needs_the_same_raters_for_every_item(counts):
    """Other numbers of raters are refused."""
    with pytest.raises(ValueError, match="the same number of raters"):
        compute_fleiss_kappa(np.array(counts))


def test_alpha_of_krippendorffs_example():
    """Missing labels count for nothing, and alpha is 0.743."""
    items = [
        {str(rater): label for rater, label in enumerate(line.split()) if label != "."}
        for line in KRIPPENDORFF
    ]
    assert compute_alpha(items) == pytest.approx(0.743, abs=5e-4)


def test_alpha_needs_pairs():
    """Items with one label, or labels that are all equal, have no alpha."""
    assert compute_alpha([]) is None
    assert compute_alpha([{"a": "yes"}, {"b": "no"}]) is None
    assert compute_alpha([{"a": "no", "b": "no"}]) is None
    assert compute_alpha([{"a": "no", "b": "no"}, {"a": "yes", "b": "yes"}]) == 1


@given(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=30))
def test_alpha_of_two_raters_is_close_to_their_kappa(pairs):
    """For many items, alpha is kappa with the raters' labels pooled, and a small correction."""
    items = [{"a": one, "b": other} for one, other in pairs]
    found = compute_alpha(items)
    labels = [label for pair in pairs for label in pair]
    if found is None:
        assert len(set(labels)) == 1
        return
    counts = np.array([labels.count(name) for name in set(labels)], float)
    chance = 1 - (counts * (counts - 1)).sum() / (len(labels) * (len(labels) - 1))
    differing = np.mean([one != other for one, other in pairs])
    assert found == pytest.approx(1 - differing / chance, abs=1e-9)


@given(
    st.integers(2, 7).flatmap(
        lambda raters: st.lists(
            st.lists(st.integers(0, 2), min_size=raters, max_size=raters), min_size=2, max_size=20
        )
    )
)
def test_fleiss_kappa_is_that_of_statsmodels(items):
    """Fleiss' kappa agrees to 1e-9, wherever it is defined."""
    from statsmodels.stats.inter_rater import fleiss_kappa

    counts = np.array([[item.count(label) for label in range(3)] for item in items])
    found = compute_fleiss_kappa(counts)
    if (counts.sum(0) > 0).sum() == 1:
        assert found is None
    else:
        assert found == pytest.approx(fleiss_kappa(counts), abs=1e-9)


@given(st.lists(st.tuples(LABELS, LABELS), min_size=2, max_size=40))
def test_kappa_is_that_of_statsmodels(pairs):
    """Cohen's kappa agrees to 1e-9 with statsmodels', which takes a table of pairs."""
    from statsmodels.stats.inter_rater import cohens_kappa

    names = ["yes", "no", "unsure"]
    table = np.array([[pairs.count((one, other)) for other in names] for one in names])
    found = compute_kappa(*zip(*pairs, strict=True))
    if found is not None:
        wanted = cohens_kappa(table, return_results=False)
        assert found == pytest.approx(wanted, abs=1e-9)
