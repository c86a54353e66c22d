"""How far raters agree beyond chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np


def compute_kappa(first: Sequence[str], second: Sequence[str]) -> float | None:
    """Return Cohen's kappa of two raters' labels for the same items (Cohen 1960).

    It is None without items, and if chance alone explains full agreement: both gave one label.
    """
    if not first:
        return None
    agreed = sum(one == other for one, other in zip(first, second, strict=True)) / len(first)
    ours, theirs = Counter(first), Counter(second)
    chance = sum(count * theirs[label] for label, count in ours.items()) / len(first) ** 2
    return None if chance == 1 else (agreed - chance) / (1 - chance)


def compute_fleiss_kappa(counts: np.ndarray) -> float | None:
    """Return Fleiss' kappa of several raters (Fleiss 1971).

    `counts` [items, labels] says how many raters gave each item each label; every item has the same
    number of raters. It is None if all labels are equal, or without items.

    Raises: ValueError: an item has another number of raters, or fewer than two.
    """
    counts = np.asarray(counts, np.float64)
    if not len(counts):
        return None
    raters = counts.sum(1)
    if (raters != raters[0]).any() or raters[0] < 2:
        raise ValueError("every item needs the same number of raters, at least two")
    agreed = ((counts**2).sum(1) - raters[0]) / (raters[0] * (raters[0] - 1))
    chance = float(((counts.sum(0) / counts.sum()) ** 2).sum())
    return None if chance == 1 else float((agreed.mean() - chance) / (1 - chance))


def compute_alpha(items: Sequence[Mapping[str, str]]) -> float | None:
    """Return Krippendorff's alpha for labels without an order (Krippendorff 2004).

    Each item maps raters to their labels; raters may leave items out, and an item with fewer than
    two labels counts for nothing. It is None if fewer than two labels can be paired, or if all of
    them are equal.
    """
    paired = [Counter(item.values()) for item in items if len(item) > 1]
    totals: Counter[str] = Counter()
    differing = 0.0
    for labels in paired:
        raters = labels.total()
        same = sum(count * (count - 1) for count in labels.values())
        differing += (raters * (raters - 1) - same) / (raters - 1)
        totals.update(labels)
    everything = totals.total()
    same = sum(count * (count - 1) for count in totals.values())
    by_chance = everything * (everything - 1) - same
    return None if not by_chance else 1 - (everything - 1) * differing / by_chance
