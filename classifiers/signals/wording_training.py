"""Train a wording classifier, without knowing which sentence of a positive shows the trait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from classifiers.signals.sentences import Sentences
from classifiers.signals.wording import Wording, drop_repeats, look_up, scale_length

STRENGTH = 10.0
"""The inverse regularisation strength (scikit-learn's C)."""

FOLDS = 5
ROUNDS = 3
FEWEST_SENTENCES = 2
"""An n-gram counts if at least this many of the training sentences contain it."""


class TrainedWording(NamedTuple):
    """A classifier, and the logit of each positive from a classifier trained without it.

    `held_out` is float64 [positives], with NaN for positives without tokens, or None if there are
    too few positives to hold one out.
    """

    model: Wording
    held_out: np.ndarray | None


class _Data(NamedTuple):
    """Features of all sentences, each positive sentence's text, and the rows of the negatives."""

    features: csr_matrix
    positive: np.ndarray
    negatives: np.ndarray


def train_wording(
    positives: Sentences,
    hard: Sentences,
    clean: Sentences,
    count: int,
    rows: int = 0,
) -> TrainedWording:
    """Train a classifier on the sentences of `count` positives, hard negatives and clean texts.

    This is multiple-instance learning (Dietterich et al. 1997): a positive shows the trait in at
    least one of its sentences. All of them count as positive at first, except in the last `rows`
    positives, which are whole rows of a corpus: nearly all of their sentences are ordinary. Then
    classifiers that are trained without a positive choose the sentences in it that show the trait:
    the one with the highest logit, and all that are more likely positive than not. Of a whole row,
    only the first is chosen: rows that show a trait share other sentences, too, which would soon
    count as the trait. This is repeated until nothing changes, at most `ROUNDS` times.
    Deterministic.
    """
    groups = (positives, hard, clean)
    keys, rarity = _choose_grams(groups)
    features = _build_features(groups, keys, rarity)
    data = _Data(features, positives.text, np.arange(len(positives), features.shape[0]))
    chosen, held_out = np.flatnonzero(positives.text < count - rows), None
    if min(count, FOLDS) >= 2:
        starts: dict[int, np.ndarray] = {}
        for _ in range(ROUNDS):
            logits = _hold_out(data, chosen, starts)
            held_out = _take_highest(logits, positives.text, count)
            before = chosen
            likely = (logits > 0) & (positives.text < count - rows)
            chosen = np.flatnonzero(likely | (logits == held_out[positives.text]))
            if np.array_equal(before, chosen):
                break
    weights = _fit(data, chosen)
    model = Wording(keys, (weights[:-1] * rarity).astype(np.float32), float(weights[-1]))
    return TrainedWording(model, held_out)


def _choose_grams(groups: Sequence[Sentences]) -> tuple[np.ndarray, np.ndarray]:
    """Return the n-grams that count, ascending, and how rare each one is.

    They occur in a positive or a hard negative, and in at least `FEWEST_SENTENCES` sentences. The
    rarity is the inverse document frequency.
    """
    total = sum(map(len, groups))
    owner = np.concatenate(_shift_owners(groups))
    keys, which = np.unique(np.concatenate([group.grams for group in groups]), return_inverse=True)
    _, columns = drop_repeats(owner, which, len(keys))
    found = np.bincount(columns, minlength=len(keys))
    own = np.zeros(len(keys), bool)
    own[which[: sum(len(group.grams) for group in groups[:-1])]] = True
    kept = own & (found >= FEWEST_SENTENCES)
    return keys[kept], np.log((1 + total) / (1 + found[kept])) + 1


def _shift_owners(groups: Sequence[Sentences]) -> list[np.ndarray]:
    """Return the owners of each group's n-grams, counted over all groups."""
    before = np.cumsum([0, *map(len, groups)]).tolist()
    return [group.owner + count for group, count in zip(groups, before, strict=False)]


def _build_features(
    groups: Sequence[Sentences], keys: np.ndarray, rarity: np.ndarray
) -> csr_matrix:
    """Return which sentence has which n-gram, weighted by rarity and sentence length."""
    row, column = [], []
    for group, owner in zip(groups, _shift_owners(groups), strict=True):
        places, known = look_up(keys, group.grams)
        row.append(owner[known])
        column.append(places)
    rows, columns = drop_repeats(np.concatenate(row), np.concatenate(column), len(keys))
    lengths = np.concatenate([group.length for group in groups])
    values = rarity[columns] * scale_length(lengths)[rows]
    return csr_matrix((values, (rows, columns)), shape=(len(lengths), len(keys)))


def _hold_out(data: _Data, chosen: np.ndarray, starts: dict[int, np.ndarray]) -> np.ndarray:
    """Return each positive sentence's logit from a classifier trained without its positive.

    `starts` holds the weights of each fold from the last round; they haven't seen the fold either.
    """
    texts = np.unique(data.positive)
    fold = np.searchsorted(texts, data.positive) % min(FOLDS, max(1, len(texts)))
    logits = np.zeros(len(data.positive))
    for number in np.unique(fold).tolist():
        outside = np.flatnonzero(fold == number)
        weights = _fit(data, chosen[fold[chosen] != number], starts.get(number))
        starts[number] = weights
        logits[outside] = data.features[outside] @ weights[:-1] + weights[-1]
    return logits


def _take_highest(logits: np.ndarray, text: np.ndarray, count: int) -> np.ndarray:
    """Return the highest logit of each text, with NaN for texts without sentences."""
    highest = np.full(count, -np.inf)
    np.maximum.at(highest, text, logits)
    return np.where(np.isneginf(highest), np.nan, highest)


def _fit(data: _Data, chosen: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """Fit weights and a bias, with L-BFGS from `start` or zeros.

    Positives and negatives have the same total weight. The objective is strength × weighted log
    loss + half the sum of squared weights.
    """
    rows = np.concatenate([chosen, data.negatives])
    features = data.features[rows]
    transposed = features.T.tocsr()
    signs = np.where(np.arange(len(rows)) < len(chosen), 1.0, -1.0)
    shares = np.where(signs > 0, max(1, len(chosen)), max(1, len(data.negatives)))
    weights = STRENGTH * len(rows) / (2 * shares)

    def compute_loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        margins = signs * (features @ values[:-1] + values[-1])
        slopes = -weights * signs * np.exp(-np.logaddexp(0, margins))
        loss = weights @ np.logaddexp(0, -margins) + values[:-1] @ values[:-1] / 2
        return float(loss), np.append(transposed @ slopes + values[:-1], slopes.sum())

    found = minimize(
        compute_loss,
        np.zeros(features.shape[1] + 1) if start is None else start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 100, "ftol": 1e-7, "gtol": 1e-3},
    )
    return np.asarray(found.x)
