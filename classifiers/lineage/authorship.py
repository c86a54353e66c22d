"""Whether answers are by the teacher that a corpus names, among teachers with known answers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import solve
from scipy.sparse import csr_matrix

COMMON = 0.02
"""Which share of the known answers must contain a word for it to count.

Rarer words tell topics apart rather than teachers.
"""

RIDGE = 1.0
"""The ridge penalty, in units of the words' mean variance."""

CERTAIN = 4.0
"""From how many standard errors on another teacher contradicts the named one.

In `benchmarks/declared_teachers.py`, no true name of 1,600 lots of 50 to 400 answers to other
prompts reached it, and the highest was 2.8.
"""


class Authors(NamedTuple):
    """What tells teachers apart.

    `mean` is float64 [words], and `weights` is float64 [words, teachers]. `usual` has the mean
    score of each teacher's own answers for every teacher, as float64 [teachers, teachers].
    """

    mean: np.ndarray
    weights: np.ndarray
    usual: np.ndarray


class Rival(NamedTuple):
    """The teacher that fits answers better than the named one, and by how many standard errors."""

    teacher: int
    deviation: float


def find_common(counts: csr_matrix) -> np.ndarray:
    """Return the indices of the words that enough answers contain."""
    present = np.asarray((counts > 0).mean(axis=0)).ravel()
    return np.flatnonzero(present >= COMMON)


def weigh_words(counts: csr_matrix) -> np.ndarray:
    """Return the logarithms of answers' counts as vectors of length 1, float64 [answers, words].

    So neither long answers nor words that one answer repeats count for more.
    """
    found = np.log1p(counts.toarray().astype(np.float64))
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found / np.where(lengths > 0, lengths, 1))


def learn_authors(vectors: np.ndarray, author: np.ndarray, authors: int) -> Authors:
    """Learn to tell teachers apart by ridge regression on known answers.

    `author` is the teacher of each answer, as int64 [answers]; every teacher needs at least two.
    Every teacher counts alike. What is usual is measured on the half of each teacher's answers
    that a regression on the other half hasn't seen.
    """
    half = np.zeros(len(author), np.int64)
    for own in range(authors):
        places = np.flatnonzero(author == own)
        half[places] = np.arange(len(places)) % 2
    usual = np.zeros((authors, authors))
    for part in (0, 1):
        seen = half != part
        mean, weights = _fit(vectors[seen], author[seen], authors)
        scores = (vectors[~seen] - mean) @ weights
        usual += _average(scores, author[~seen], authors) / 2
    return Authors(*_fit(vectors, author, authors), usual)


def _fit(vectors: np.ndarray, author: np.ndarray, authors: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of the answers, and the weight of every word for every teacher."""
    mean = _average(vectors, author, authors).mean(axis=0)
    centred = vectors - mean
    weighted = centred / np.bincount(author, minlength=authors)[author][:, None]
    products = weighted.T @ centred
    penalty = RIDGE * max(float(np.trace(products)) / len(products), 1e-12)
    target = np.eye(authors)[author] - 1 / authors
    weights = solve(products + penalty * np.eye(len(products)), weighted.T @ target, assume_a="pos")
    return mean, np.asarray(weights)


def _average(values: np.ndarray, author: np.ndarray, authors: int) -> np.ndarray:
    """Return the mean of each teacher's rows."""
    return np.array([values[author == own].mean(axis=0) for own in range(authors)])


def find_rival(known: Authors, vectors: np.ndarray, named: int) -> Rival:
    """Return the teacher that speaks most against the named one.

    For each other teacher, an answer's figure is that teacher's score less the named one's. A
    rival's deviation says by how many standard errors the mean figure exceeds the middle between
    what is usual for the named teacher's answers and what is usual for the other's. It is negative
    if the named teacher fits best. At least two answers are needed.
    """
    scores = (vectors - known.mean) @ known.weights
    figures = scores - scores[:, [named]]
    own = known.usual[named] - known.usual[named, named]
    other = known.usual.diagonal() - known.usual[:, named]
    middle = np.maximum((own + other) / 2, 0)
    errors = figures.std(axis=0, ddof=1) / np.sqrt(len(figures))
    deviations = (figures.mean(axis=0) - middle) / np.maximum(errors, 1e-12)
    deviations[named] = -np.inf
    best = int(deviations.argmax())
    return Rival(best, float(deviations[best]))
