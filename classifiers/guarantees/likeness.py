"""A two-sample test: whether a corpus scores higher than the texts of its calibration."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Excess(NamedTuple):
    """How much higher a corpus scores than clean texts.

    `share` is at most the share of corpus rows whose scores no clean text's distribution explains.
    `p` is the probability of such a share if both came from one distribution.
    """

    share: float
    p: float


def measure_excess(corpus: np.ndarray, clean: np.ndarray) -> Excess | None:
    """Measure by how much a corpus's scores exceed clean texts' scores; None without scores.

    `share` is the one-sided Kolmogorov-Smirnov distance: the largest difference, over all scores,
    between the share of clean texts up to that score and the share of corpus rows up to it. Higher
    scores of clean texts don't count, because the guarantee holds then too. `p` is Smirnov's limit
    exp(-2 share² mn / (m + n)); ties make it larger than it should be. NaN scores are ignored.
    """
    ours, theirs = (np.sort(scores[~np.isnan(scores)]) for scores in (corpus, clean))
    if not len(ours) or not len(theirs):
        return None
    points = np.unique(np.concatenate([ours, theirs]))
    up_to = [np.searchsorted(scores, points, "right") / len(scores) for scores in (theirs, ours)]
    share = max(0.0, float((up_to[0] - up_to[1]).max()))
    size = len(ours) * len(theirs) / (len(ours) + len(theirs))
    return Excess(share, math.exp(-2 * share**2 * size))
