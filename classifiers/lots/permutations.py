"""The permutation test of two sets of texts by the scores of a classifier."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from classifiers.lots.separation import rank

PERMUTATIONS = 1_999
"""How many permutations are drawn. The smallest p-value is 1 / 2,000."""

AT_ONCE = 1 << 20
"""How many labels are permuted at once, so that memory stays flat."""

POWER = 0.8
"""The chance of a finding by which the smallest difference is defined that would be found."""


class Units(NamedTuple):
    """What is exchanged: units of scores, each with its set and its block.

    `sizes` are numbers of texts and `sums` their ranks; `labels` say which units are of the first
    set, and `blocks` within which units are exchanged.
    """

    sums: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray
    blocks: np.ndarray


class Separation(NamedTuple):
    """The result of a permutation test.

    `auroc` is 0.5 without a difference. `p` is one-sided: a classifier that finds a difference
    scores the first set higher. `spread` is the AUROC's standard deviation over permutations.
    """

    auroc: float
    p: float
    spread: float
    first: int
    second: int

    def find_detectable(self, level: float) -> float:
        """Return the AUROC that would be found at this level with a chance of `POWER`.

        It is the normal approximation with the permutations' spread.
        """
        from scipy.special import ndtri  # noqa: PLC0415 - it takes a tenth of a second to load

        reach = float(ndtri(1 - level) + ndtri(POWER)) * self.spread
        return min(1.0, 0.5 + reach)


def group_units(
    scores: np.ndarray, labels: np.ndarray, units: np.ndarray, blocks: np.ndarray
) -> Units:
    """Sum up the ranks of the texts of each unit.

    A unit's texts are all of one set and one block.
    """
    _, firsts, places = np.unique(units, return_index=True, return_inverse=True)
    sums = np.bincount(places, weights=rank(scores))
    sizes = np.bincount(places)
    return Units(sums, sizes, labels[firsts], blocks[firsts])


def permute_labels(units: Units, seed: int = 0, permutations: int = PERMUTATIONS) -> Separation:
    """Test whether the first set's scores are higher than chance allows.

    Labels are permuted among the units of each block, so a difference between blocks, such as
    other prompts, doesn't count. The test is exact if the units of a block are exchangeable when
    the sets don't differ (Good, Permutation Tests, 2000). The draw is seeded.
    """
    total = int(units.sizes.sum())
    own = int(units.sizes[units.labels].sum())
    if not own or own == total:
        return Separation(0.5, 1.0, 0.0, own, total - own)
    found = float(_compute_aurocs(units, units.labels[None])[0])
    drawn = np.concatenate(
        [_compute_aurocs(units, labels) for labels in _permute(units, seed, permutations)]
    )
    reached = int((drawn >= found - 1e-12).sum())
    spread = float(drawn.std())
    return Separation(found, (1 + reached) / (1 + permutations), spread, own, total - own)


def _compute_aurocs(units: Units, labels: np.ndarray) -> np.ndarray:
    """Return the AUROC under each row of labels [permutations, units]."""
    chosen = labels.astype(np.float64)
    own = chosen @ units.sizes
    other = units.sizes.sum() - own
    return np.asarray((chosen @ units.sums - own * (own + 1) / 2) / np.maximum(own * other, 1))


def _permute(units: Units, seed: int, permutations: int) -> Iterator[np.ndarray]:
    """Yield labels permuted within blocks, as bool arrays [some permutations, units]."""
    generator = np.random.default_rng(seed)
    order = np.argsort(units.blocks, kind="stable")
    _, block = np.unique(units.blocks, return_inverse=True)
    sorted_block = block[order]
    first = np.searchsorted(sorted_block, np.arange(sorted_block[-1] + 1))
    wanted = np.bincount(block, weights=units.labels).astype(np.int64)
    chosen = np.arange(len(order)) - first[sorted_block] < wanted[sorted_block]
    at_once = max(1, AT_ONCE // len(order))
    for begin in range(0, permutations, at_once):
        count = min(at_once, permutations - begin)
        keys = generator.random((count, len(order))) + block
        labels = np.empty((count, len(order)), bool)
        np.put_along_axis(labels, np.argsort(keys, axis=1), chosen[None], axis=1)
        yield labels


def combine_p_values(values: list[float]) -> float:
    """Return a p-value for several tests together: the smallest one times their number."""
    return min(1.0, min(values) * len(values)) if values else 1.0


def adjust_p_values(values: np.ndarray) -> np.ndarray:
    """Return q-values (Benjamini, Hochberg, 1995): the share of false findings up to each one."""
    if not len(values):
        return np.empty(0)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * len(values) / np.arange(1, len(values) + 1)
    adjusted = np.minimum.accumulate(scaled[::-1])[::-1]
    found = np.empty(len(values))
    found[order] = np.minimum(adjusted, 1.0)
    return found


def compute_bag_auroc(auroc: float, size: int) -> float:
    """Return the AUROC of bags of this many texts that normal scores would have.

    With d the distance of the means in spreads, AUROC = Φ(d / √2), and a bag's mean has a spread
    smaller by √size.
    """
    from scipy.special import ndtr, ndtri  # noqa: PLC0415 - a tenth of a second to load

    return float(ndtr(math.sqrt(size) * ndtri(min(max(auroc, 1e-12), 1 - 1e-12))))
