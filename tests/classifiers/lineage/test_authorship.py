"""Whether answers are by the teacher that is named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from classifiers.lineage.authorship import (
    CERTAIN,
    COMMON,
    find_common,
    find_rival,
    learn_authors,
    weigh_words,
)

RATES = np.array(
    [
        [5.0, 1.0, 1.0, 3.0, 3.0],
        [1.0, 5.0, 1.0, 3.0, 3.0],
        [1.0, 1.0, 5.0, 3.0, 3.0],
    ]
)
"""How often each of three teachers uses each of five words in an answer."""


def write(teacher: int, answers: int, seed: int, length: float = 1.0) -> np.ndarray:
    """Return the vectors of a teacher's answers."""
    dice = np.random.default_rng([seed, teacher])
    return weigh_words(csr_matrix(dice.poisson(length * RATES[teacher], (answers, 5))))


@pytest.fixture(scope="module")
def authors():
    """Learn the three teachers from 80 answers each."""
    vectors = np.vstack([write(teacher, 80, 0) for teacher in range(3)])
    return learn_authors(vectors, np.repeat(np.arange(3), 80), 3)


def test_words_of_few_answers_do_not_count():
    """A word counts from 2 % of the answers on."""
    counts = np.zeros((100, 3))
    counts[: int(100 * COMMON), 0] = 1
    counts[0, 1] = 50
    counts[:, 2] = 1
    assert find_common(csr_matrix(counts)).tolist() == [0, 2]


def test_vectors_have_length_one_and_empty_answers_none():
    """Long and short answers count alike; an answer without common words is zero."""
    found = weigh_words(csr_matrix(np.array([[1, 1, 0], [9, 9, 0], [0, 0, 0]])))
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 1, 0])
    assert found[0] == pytest.approx(found[1])


def test_a_true_name_is_not_contradicted(authors):
    """Every teacher's new answers fit its own name."""
    for teacher in range(3):
        assert find_rival(authors, write(teacher, 60, 1), teacher).deviation < CERTAIN


def test_a_wrong_name_is_contradicted_by_the_author(authors):
    """Under another name, the author is the rival."""
    for teacher in range(3):
        for named in {0, 1, 2} - {teacher}:
            rival = find_rival(authors, write(teacher, 60, 2), named)
            assert rival.teacher == teacher
            assert rival.deviation > CERTAIN


def test_an_unknown_author_between_two_teachers_contradicts_neither(authors):
    """Half the answers of one and half of another teacher are no better fit for either."""
    both = np.vstack([write(0, 40, 3), write(1, 40, 3)])
    for named in (0, 1):
        assert find_rival(authors, both, named).deviation < CERTAIN


def test_equal_teachers_do_not_contradict_each_other():
    """Answers of two names for the same model fit both names."""
    vectors = np.vstack([write(0, 80, seed) for seed in (4, 5)] + [write(1, 80, 4)])
    authors = learn_authors(vectors, np.repeat(np.arange(3), 80), 3)
    for named in (0, 1):
        rival = find_rival(authors, write(0, 100, 6), named)
        assert rival.deviation < CERTAIN


def test_more_answers_make_a_contradiction_surer(authors):
    """The deviation grows with the number of answers."""
    few, many = (find_rival(authors, write(0, size, 7), 1).deviation for size in (10, 160))
    assert many > 2 * few


def test_teachers_with_more_answers_have_no_advantage():
    """A teacher with ten times as many answers isn't found in others' answers."""
    sizes = (400, 40, 40)
    vectors = np.vstack([write(teacher, size, 8) for teacher, size in enumerate(sizes)])
    authors = learn_authors(vectors, np.repeat(np.arange(3), sizes), 3)
    for teacher in range(3):
        assert find_rival(authors, write(teacher, 60, 9), teacher).deviation < CERTAIN


@given(st.permutations(range(3)), st.integers(0, 20))
def test_the_order_of_teachers_does_not_matter(order, seed):
    """The rival and its deviation are the same in every order of the teachers."""
    vectors = [write(teacher, 30, seed) for teacher in range(3)]
    author = np.repeat(np.arange(3), 30)
    first = find_rival(learn_authors(np.vstack(vectors), author, 3), write(0, 20, seed + 1), 1)
    moved = learn_authors(np.vstack([vectors[place] for place in order]), author, 3)
    again = find_rival(moved, write(0, 20, seed + 1), order.index(1))
    assert order[again.teacher] == first.teacher
    assert again.deviation == pytest.approx(first.deviation, rel=1e-6)


def test_words_that_nobody_uses_are_harmless():
    """A column of zeros changes nothing, and answers that are all alike raise no error."""
    vectors = np.vstack([write(teacher, 40, 10) for teacher in range(3)])
    vectors = np.hstack([vectors, np.zeros((120, 1))])
    authors = learn_authors(vectors, np.repeat(np.arange(3), 40), 3)
    assert np.isfinite(authors.weights).all()
    same = np.repeat(vectors[:1], 50, axis=0)
    assert np.isfinite(find_rival(authors, same, 0).deviation)
