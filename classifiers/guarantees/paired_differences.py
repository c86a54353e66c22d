"""Whether two sets of answers to the same prompts have different rates."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class PairedCounts(NamedTuple):
    """The answers of each two of several sets to prompts that both answered, int64 [sets, sets].

    `shared` counts these prompts, `fired` those on which the row's set has a hit, and `alone` those
    on which it has one and the column's set has none.
    """

    shared: np.ndarray
    fired: np.ndarray
    alone: np.ndarray

    def add(self, other: PairedCounts) -> PairedCounts:
        """Return the counts of two sets of prompts together."""
        return PairedCounts(*(one + more for one, more in zip(self, other, strict=True)))


def count_pairs(answered: np.ndarray, hits: np.ndarray) -> PairedCounts:
    """Count the prompts that each two sets answered, and those on which one alone has a hit.

    Both arguments are bool [prompts, sets]: whether a set answered a prompt, and with a hit.
    """
    there, hit = answered.astype(np.float64), (hits & answered).astype(np.float64)
    fired, both = hit.T @ there, hit.T @ hit
    counts = (there.T @ there, fired, fired - both)
    return PairedCounts(*(np.rint(item).astype(np.int64) for item in counts))


def compute_paired_p_values(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the two-sided p-values of McNemar's exact test.

    `first` and `second` count the prompts on which only the one or only the other set has a hit.
    If both rates are equal, either is as likely on each of these prompts, so the smaller count is
    binomial with a chance of one half (McNemar 1947; exact as in Mosteller 1952). Prompts on which
    both or none have a hit say nothing.
    """
    from scipy.special import bdtr  # noqa: PLC0415 - it takes a tenth of a second to load

    fewer, total = np.minimum(first, second), first + second
    return np.asarray(np.minimum(1.0, 2 * bdtr(fewer.astype(float), total, 0.5)), float)
