"""A two-sample test: whether a corpus scores higher than the texts of its calibration."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Excess(NamedTuple):
    """How much more often a corpus scores high than clean texts do.

    The share `corpus` of the corpus's rows and the share `clean` of the clean texts reach `score`,
    the highest score with the largest difference of both, `share`. `p` is the probability of such
    a difference if both came from one distribution.
    """

    share: float
    p: float
    score: float
    corpus: float
    clean: float


def measure_excess(corpus: np.ndarray, clean: np.ndarray, lowest: float = 0.0) -> Excess | None:
    """Measure by how much a corpus's high scores exceed clean texts' scores; None without scores.

    `share` is the one-sided Kolmogorov-Smirnov distance over the scores from `lowest` up: the
    largest difference between the share of corpus rows that reach a score and the share of clean
    texts that reach it. Higher scores of clean texts don't count, because the guarantee holds then
    too. `p` is Smirnov's limit exp(-2 share² mn / (m + n)); ties and a `lowest` make it larger than
    it should be. NaN scores are ignored.
    """
    ours, theirs = (np.sort(scores[~np.isnan(scores)]) for scores in (corpus, clean))
    if not len(ours) or not len(theirs):
        return None
    points = np.unique(np.concatenate([ours, theirs, [lowest]]).astype(np.float64))
    points = points[points >= lowest]
    reach = [1 - np.searchsorted(scores, points, "left") / len(scores) for scores in (ours, theirs)]
    best = int(np.flatnonzero((gaps := reach[0] - reach[1]) == gaps.max())[-1])
    share = max(0.0, float(gaps[best]))
    size = len(ours) * len(theirs) / (len(ours) + len(theirs))
    p = math.exp(-2 * share**2 * size)
    return Excess(share, p, float(points[best]), float(reach[0][best]), float(reach[1][best]))
