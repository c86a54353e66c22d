"""Hashed n-grams of characters and words."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from classifiers.lots import features as module
from classifiers.lots.features import BITS, COLUMNS, count_features, learn_weights, weigh


def count(*texts):
    """Return the features of some texts."""
    return count_features(pa.array(texts, pa.large_string()))


def split(row):
    """Return how many n-grams of characters and of words a row has."""
    characters = row.data[row.indices < 1 << BITS].sum()
    return int(characters), int(row.data.sum() - characters)


@pytest.mark.parametrize(
    ("text", "characters", "words"),
    [
        ("abcdef", 5 + 4 + 3 + 2, 1),
        ("a b c", 4 + 3 + 2 + 1, 3 + 2 + 1),
        ("a", 0, 1),
        ("", 0, 0),
        ("猫が", 1, 2 + 1),
    ],
)
def test_n_grams_are_counted(text, characters, words):
    """A text has n-grams of 2 to 5 characters and of 1 to 3 words."""
    assert split(count(text)[0]) == (characters, words)


def test_n_grams_stay_within_their_texts():
    """A text's features don't depend on its neighbours."""
    together, alone = count("heron", "reed", "", "heron"), count("heron")
    assert (together[0] != alone[0]).nnz == 0
    assert (together[3] != alone[0]).nnz == 0
    assert together[2].nnz == 0
    assert together.shape == (4, COLUMNS)


def test_blocks_do_not_matter(monkeypatch):
    """Texts that are read in small blocks have the same features."""
    texts = ["a heron waits", "in the reeds", "", "x" * 50]
    whole = count(*texts)
    monkeypatch.setattr(module, "AT_ONCE", 8)
    assert (count(*texts) != whole).nnz == 0


def test_case_counts_among_characters_alone():
    """Words are equal in any case, and characters aren't."""
    upper, lower = count("HERON", "heron")
    half = 1 << BITS
    assert (upper[:, half:] != lower[:, half:]).nnz == 0
    assert (upper[:, :half] != lower[:, :half]).nnz > 0


def test_texts_without_features():
    """No texts, and texts without n-grams, give an empty matrix."""
    assert count().shape == (0, COLUMNS)
    assert count("", " ").nnz == 0


def test_rows_have_unit_length_and_rare_n_grams_weigh_more():
    """Weighted rows are one long, or empty, and rare n-grams have the larger weights."""
    counts = count("heron heron reeds", "heron", "heron", "")
    weights = learn_weights(counts)
    weighed = weigh(counts, weights)
    lengths = np.sqrt(np.asarray(weighed.multiply(weighed).sum(axis=1)).ravel())
    assert lengths == pytest.approx([1, 1, 1, 0], abs=1e-5)
    common, rare = count("heron")[0].indices, count("reeds")[0].indices
    assert weights.idf[rare].min() > weights.idf[common].max()
