"""Which of several families of teachers wrote a few answers, also if it was none of their models.

Teachers of one family share a manner that their next model has too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import solve
from scipy.sparse import csr_matrix, diags
from scipy.special import logsumexp

from classifiers.lineage.authorship import find_common
from classifiers.lineage.resemblance import sum_by_model

MANNER, OVERLAP = 9.5, 35.0
"""What one unit of manner and of overlap adds to a teacher's evidence."""

MANNER_ALONE, STEADY = 4.5, 19.0
"""The same for manner and for steady manner, without answers to the same prompts.

The weights were fitted by `benchmarks/lineage.py` on 20 answers of each of 19 models.
"""

RIDGE = 0.3
"""What is added to the variance of each word within models, as a share of the mean variance."""


class Manner(NamedTuple):
    """How alike models' use of common words is; both arrays are float64 [models, models].

    `plain` counts every word alike. `steady` counts most what varies least from answer to answer of
    one model, which leaves out topics.
    """

    plain: np.ndarray
    steady: np.ndarray


class _Usual(NamedTuple):
    """What is usual, as float64 [1 + prompts, words], and the row of each text.

    The first row is the mean of all answers of the reference; the others are means for one prompt.
    """

    means: np.ndarray
    row: np.ndarray


def compare_manner(
    counts: csr_matrix, model: np.ndarray, prompt: np.ndarray, reference: np.ndarray
) -> Manner:
    """Compare every two models' use of common words.

    `counts` is float32 [texts, words]. `model` and `prompt` are those of each text, as int64; a
    prompt below 0 is unknown. `reference` is bool [models]. An answer is the logarithms of its
    counts, scaled to length 1, less the mean of the reference's answers to the same prompt, or of
    all its answers if fewer than half of the reference's models answered that prompt. A model is
    the mean of its answers, and the likeness of two models is their cosine, for `steady` after
    whitening by the covariance of the reference's answers within models, as in Fisher's linear
    discriminant. Without common words it is 0.
    """
    vectors = _scale(counts[:, find_common(counts[reference[model]])])
    usual = _find_usual(vectors, model, prompt, reference)
    sizes = np.maximum(np.bincount(model, minlength=len(reference)), 1)[:, None]
    expected = csr_matrix((np.ones(len(model)), (model, usual.row)), (len(sizes), len(usual.means)))
    means = sum_by_model(vectors, model, len(sizes)) / sizes
    apart = means - expected @ usual.means / sizes
    within = _vary(vectors, means, model, reference)
    return Manner(_compare(apart, apart), _compare(apart, _whiten(apart, within)))


def _vary(
    vectors: csr_matrix, means: np.ndarray, model: np.ndarray, reference: np.ndarray
) -> np.ndarray:
    """Return the covariance of words within models, as float64 [words, words].

    Topics vary too, so it contains them. Every answer of the reference counts alike.
    """
    texts = vectors[np.flatnonzero(reference[model])]
    sizes = np.bincount(model, minlength=len(reference))[reference]
    own = means[reference] * np.sqrt(sizes)[:, None]
    products = np.asarray((texts.T @ texts).toarray())
    return np.asarray((products - own.T @ own) / max(texts.shape[0], 1))


def _whiten(apart: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Return vectors multiplied by the inverse of the covariance, with a ridge penalty."""
    mean = float(np.trace(within)) / max(len(within), 1)
    if mean <= 0:
        return apart
    return np.asarray(solve(within + RIDGE * mean * np.eye(len(within)), apart.T, assume_a="pos").T)


def _compare(apart: np.ndarray, white: np.ndarray) -> np.ndarray:
    """Return the cosines of all vectors, in the metric that has been applied to `white`."""
    products = apart @ white.T
    lengths = np.sqrt(np.maximum(np.diag(products), 0))
    lengths = np.where(lengths > 0, lengths, 1)
    return np.asarray(products / lengths[:, None] / lengths)


def _scale(counts: csr_matrix) -> csr_matrix:
    """Return the logarithms of answers' counts as vectors of length 1."""
    logs = counts.astype(np.float64).log1p()
    lengths = np.sqrt(np.asarray(logs.multiply(logs).sum(axis=1)).ravel())
    return (diags(1 / np.where(lengths > 0, lengths, 1)) @ logs).tocsr()


def _find_usual(
    vectors: csr_matrix, model: np.ndarray, prompt: np.ndarray, reference: np.ndarray
) -> _Usual:
    """Return what is usual for each prompt that half of the reference's models answered.

    In the mean of all answers, every model counts alike.
    """
    texts = np.flatnonzero(reference[model])
    asked = texts[prompt[texts] >= 0]
    pairs = np.unique(np.column_stack([prompt[asked], model[asked]]), axis=0)
    answered = np.bincount(pairs[:, 0], minlength=int(prompt.max(initial=-1)) + 1)
    often = np.flatnonzero(2 * answered >= reference.sum())
    place = np.zeros(len(answered) + 1, np.int64)  # an unknown prompt is -1, the last place
    place[often] = 1 + np.arange(len(often))
    row = place[np.maximum(prompt, -1)]
    asked = texts[row[texts] > 0]
    by_prompt = sum_by_model(vectors[asked], row[asked] - 1, len(often))
    by_prompt /= np.bincount(row[asked] - 1, minlength=len(often))[:, None]
    own = np.flatnonzero(reference)
    sizes = np.bincount(model, minlength=len(reference))[own, None]
    overall = (sum_by_model(vectors, model, len(reference))[own] / np.maximum(sizes, 1)).mean(0)
    return _Usual(np.vstack([overall, by_prompt]), row)


def weigh_manner(plain: np.ndarray, steady: np.ndarray, overlap: np.ndarray) -> np.ndarray:
    """Return the evidence for each teacher, in units of log-odds.

    Overlap counts only if it is known (not NaN) for every teacher, because teachers must be
    comparable; otherwise topics must be left out.
    """
    if np.isfinite(overlap).all():
        return np.asarray(MANNER * plain + OVERLAP * overlap)
    return np.asarray(MANNER_ALONE * plain + STEADY * steady)


def rank_families(evidence: np.ndarray, family: np.ndarray, families: int) -> np.ndarray:
    """Return each family's probability, as float64 [families]; they add up to 1.

    `family` is the family of each teacher, as int64 [teachers], below 0 if it has none; every
    family has at least one teacher. A family is a mixture of its teachers in equal parts, so a
    large family has no advantage, and one near teacher counts more than several distant ones.
    """
    found = np.array(
        [
            logsumexp(evidence[family == own]) - np.log((family == own).sum())
            for own in range(families)
        ]
    )
    return np.asarray(np.exp(found - logsumexp(found)))
