"""A classifier two-sample test: whether one set of texts can be distinguished from another.

A classifier learns on the discovery half of the prompts and is tested on the confirming half
(Lopez-Paz, Oquab, Revisiting Classifier Two-Sample Tests, 2017). It is repeated on a canonical view
of the texts, and with length, format and difficulty alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from classifiers.lots.canonical import make_canonical
from classifiers.lots.features import count_features, learn_weights, weigh
from classifiers.lots.format_differences import FormatDifference, compare_formats
from classifiers.lots.formats import measure_formats
from classifiers.lots.permutations import (
    Separation,
    adjust_p_values,
    group_units,
    permute_labels,
)
from classifiers.lots.samples import LotSample
from classifiers.lots.separation import (
    Linear,
    Scaling,
    fit_linear,
    learn_scaling,
    measure_bags,
)

BAGS = (4, 16, 64)

View = Literal["raw", "canonical", "baseline"]
VIEWS: tuple[View, ...] = get_args(View)

FORMAT_BINS = 5
"""Into how many ranges of the baseline's score texts are divided."""

FEWEST_TEXTS = 8
"""With fewer texts of a set in a half, nothing is learned or tested."""

FEWEST_ALIKE = 25
"""So many texts of a lot's own kind in a half are enough, and half as many as the lot's, too."""


class Viewed(NamedTuple):
    """The test in one view, and the AUROC of bags by size, None where there are too few texts."""

    separation: Separation
    bags: dict[int, float | None]


class FormatModel(NamedTuple):
    """How well length, format and difficulty alone tell the sets apart: a score, and its ranges."""

    scaling: Scaling
    linear: Linear
    edges: np.ndarray

    def assign(self, measures: np.ndarray) -> np.ndarray:
        """Return the range of each text's score, int64."""
        scores = self.linear.score(self.scaling.apply(measures))
        return np.searchsorted(self.edges, scores, "right")


class LotTest(NamedTuple):
    """The test of one lot: against texts of the same kind with `is_alike`, or the whole reference.

    `texts` of the lot are compared. `q` is adjusted among the lots that are compared in the same
    way. A lot that is compared with the whole reference may differ only because it is of one kind.
    """

    lot: int
    texts: int
    separation: Separation
    is_alike: bool
    q: float


class LotComparison(NamedTuple):
    """The tests of all views and lots, and the baseline by which findings are adjusted."""

    views: dict[View, Viewed]
    lots: list[LotTest]
    formats: FormatModel
    differences: Sequence[FormatDifference] = ()
    """The measures of length, format and difficulty that differ in the confirming half."""


def compare(
    sample: LotSample,
    blocks: np.ndarray,
    matched: bool,
    lots: int = 0,
    alike: Mapping[int, int] | None = None,
) -> LotComparison:
    """Test whether the first set of a sample can be distinguished from the second.

    `blocks` are the prompts or strata within which labels are exchanged. In matched samples, single
    texts are exchanged, and otherwise all texts of a prompt together. `lots` are how many lots of
    the first set are tested one by one, and `alike` maps them to the second set's lots of the same
    kind.
    """
    units = np.arange(len(sample)) if matched else number_units(sample)
    features = count_features(sample.texts)
    raw = _weigh_on_learners(features, ~sample.confirms)
    measures = measure_formats(sample.texts)
    formats = learn_formats(measures, sample.own, ~sample.confirms)
    canonical = count_features(make_canonical(sample.texts))
    dense = formats.scaling.apply(measures)
    columns = {"raw": raw, "canonical": _weigh_on_learners(canonical, ~sample.confirms)}
    views: dict[View, Viewed] = {
        "raw": view(columns["raw"], sample, units, blocks),
        "canonical": view(columns["canonical"], sample, units, blocks),
        "baseline": view(dense, sample, units, blocks),
    }
    tests = sample.confirms
    differences = compare_formats(measures[tests], sample.own[tests])
    found = compare_lots(raw, sample, units, blocks, lots, alike or {})
    return LotComparison(views, found, formats, differences)


def _weigh_on_learners(features: Any, learns: np.ndarray) -> Any:
    return weigh(features, learn_weights(features[learns]))


def number_units(sample: LotSample) -> np.ndarray:
    """Number the texts of each set and prompt alike. Texts without a prompt are units of one."""
    keys = np.where(sample.asks, sample.keys, sample.digests)
    _, numbers = np.unique(keys, return_inverse=True)
    return np.asarray(2 * numbers + sample.own)


def view(features: Any, sample: LotSample, units: np.ndarray, blocks: np.ndarray) -> Viewed:
    """Learn on one half, and test on the other."""
    learns, tests = ~sample.confirms, sample.confirms
    if not has_enough(sample.own, learns) or not has_enough(sample.own, tests):
        own = int((sample.own & tests).sum())
        none = Separation(0.5, 1.0, 0.0, own, int(tests.sum()) - own)
        return Viewed(none, dict.fromkeys(BAGS))
    linear = fit_linear(features[learns], sample.own[learns])
    scores, labels = linear.score(features[tests]), sample.own[tests]
    separation = permute_labels(group_units(scores, labels, units[tests], blocks[tests]))
    return Viewed(separation, {size: measure_bags(scores, labels, size) for size in BAGS})


def has_enough(own: np.ndarray, chosen: np.ndarray) -> bool:
    """Return whether there are enough texts of both sets among the chosen ones."""
    return min(int((own & chosen).sum()), int((~own & chosen).sum())) >= FEWEST_TEXTS


def learn_formats(measures: np.ndarray, own: np.ndarray, learns: np.ndarray) -> FormatModel:
    """Learn the baseline on one half, and divide its scores into ranges of equally many texts."""
    scaling = learn_scaling(measures[learns]) if learns.any() else learn_scaling(measures)
    if not has_enough(own, learns):
        return FormatModel(scaling, Linear(np.zeros(measures.shape[1]), 0.0), np.empty(0))
    dense = scaling.apply(measures[learns])
    linear = fit_linear(dense, own[learns])
    quantiles = np.quantile(linear.score(dense), np.arange(1, FORMAT_BINS) / FORMAT_BINS)
    return FormatModel(scaling, linear, np.unique(quantiles))


def compare_lots(
    features: Any,
    sample: LotSample,
    units: np.ndarray,
    blocks: np.ndarray,
    lots: int,
    alike: Mapping[int, int],
) -> list[LotTest]:
    """Test each lot of the first set against the second set's texts in the lot's blocks.

    Where there are enough of them, only texts of the lot's own kind are taken.
    """
    found: list[tuple[int, int, Separation, bool]] = []
    for lot in range(lots):
        chosen, is_alike = _choose_texts(sample, blocks, lot, alike.get(lot))
        if not has_enough(sample.own, chosen & ~sample.confirms):
            continue
        part = sample.take(chosen)
        viewed = view(features[np.flatnonzero(chosen)], part, units[chosen], blocks[chosen])
        found.append((lot, int(part.own.sum()), viewed.separation, is_alike))
    q = np.ones(len(found))
    for kind in (True, False):
        places = [index for index, item in enumerate(found) if item[3] == kind]
        q[places] = adjust_p_values(np.array([found[index][2].p for index in places]))
    return [LotTest(*item, value) for item, value in zip(found, q.tolist(), strict=True)]


def _choose_texts(
    sample: LotSample, blocks: np.ndarray, lot: int, other: int | None
) -> tuple[np.ndarray, bool]:
    """Return the texts by which a lot is tested, and whether all are of the lot's kind."""
    own = sample.own & (sample.lots == lot)
    near = ~sample.own & np.isin(blocks, blocks[own])
    like = near & (sample.lots == (-1 if other is None else other))
    both = like | (own & np.isin(blocks, blocks[like]))
    halves = (sample.confirms, ~sample.confirms)
    enough = all(
        has_enough(sample.own, both & half)
        and (like & half).sum() >= min(FEWEST_ALIKE, (own & half).sum() / 2)
        for half in halves
    )
    return (both, True) if enough else (own | near, False)
