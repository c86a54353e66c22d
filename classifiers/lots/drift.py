"""What changed in the newest of several generations: what appeared, rose, accumulated or faded.

Changes are looked for in the learning halves of all generations and tested on the confirming
halves, from inventories alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

from classifiers.lots.confirmation import RANK_REACH
from classifiers.lots.discovery import KINDS, SCREENING, Kind, compute_log_odds
from classifiers.lots.inventories import Inventory
from classifiers.lots.permutations import adjust_p_values
from classifiers.lots.power import find_detectable_rate
from classifiers.lots.tokens import find_tokens
from classifiers.lots.trends import (
    FEWEST_GENERATIONS,
    WINDOW,
    Slope,
    compute_difference,
    compute_trend,
    fill_unknown,
    find_hardest,
    measure_slopes,
)

Change = Literal["appeared", "rose", "accumulated", "faded"]

ALWAYS_TESTED = 200
MOST_TESTED = 2_000
"""How many candidates for a rise, and for a fall, are tested at least and at most."""

NEW = 0.1
"""A habit appeared if its rate before was at most this share of its rate now."""

LIKE_SIZE = 2.0
"""Two findings may be the same habit if one is at most this many times as frequent."""

SHARED = 0.5
"""The share of the shorter finding's tokens that another form of it must have."""


class Drift(NamedTuple):
    """A change of one habit.

    `counts` are texts of the confirming half by generation, -1 where they are unknown because they
    are too few. `q_value` allows for all candidates and tests. `slope` is None with two
    generations. `rank` is the lower end of the log-odds ratio between now and before.
    """

    kind: Kind
    text: str
    change: Change
    counts: tuple[int, ...]
    p_value: float
    q_value: float
    slope: Slope | None
    rank: float
    variants: tuple[str, ...] = ()


class Drifts(NamedTuple):
    """All changes, the most telling ones first, and how many candidates were tested.

    `totals` are the texts of the confirming half by generation. `detectable` is the rate from which
    a phrase that no earlier text has would be found, None if no rate suffices.
    """

    changes: list[Drift]
    candidates: int
    totals: tuple[int, ...]
    detectable: float | None


class _Series(NamedTuple):
    """Candidates with counts in each generation.

    `counts` is int64 [candidates, generations, halves] and `known` bool [candidates, generations].
    """

    kinds: np.ndarray
    texts: list[str]
    counts: np.ndarray
    known: np.ndarray

    def take(self, chosen: np.ndarray) -> _Series:
        return _Series(
            self.kinds[chosen],
            [self.texts[place] for place in chosen.tolist()],
            self.counts[chosen],
            self.known[chosen],
        )


class _Tested(NamedTuple):
    """The p-values of a half, [candidates] for each test: the difference, and the trend if any."""

    p: list[np.ndarray]
    filled: np.ndarray


def find_drifts(inventories: Sequence[Inventory], level: float) -> Drifts:
    """Return what changed in the last of at least two generations, in the order of time.

    With probability 1 - `level`, nothing is returned if nothing changed. The four tests (rise and
    fall, each as a difference and, from three generations on, as a trend) share the level, and in
    each the false discovery rate is controlled (Benjamini, Hochberg, 1995).
    """
    recent = list(inventories[-WINDOW:])
    tests = 4 if len(recent) >= FEWEST_GENERATIONS else 2
    found: list[Drift] = []
    candidates = []
    for rising in (True, False):
        series = _screen(_align(recent, rising), recent, rising)
        candidates.append(len(series.texts))
        found += _confirm(series, recent, rising, tests, level)
    found.sort(key=lambda item: (-item.rank, item.kind, item.text))
    totals = _sum_totals(recent, 1)
    detectable = _find_detectable(recent, candidates[0], level / tests)
    return Drifts(merge_drifts(found), sum(candidates), totals, detectable)


def _find_detectable(
    inventories: Sequence[Inventory], candidates: int, level: float
) -> float | None:
    """Return the rate of a new phrase that would be found, by the test of a difference alone.

    The history doesn't know that a phrase is absent, only that it is rare: the test allows for the
    most texts of each earlier generation that could have it.
    """
    *earlier, newest = _sum_totals(inventories, 1)
    most = max(item.fewest for item in inventories) - 1
    held = sum(min(most, total) for total in earlier)
    return find_detectable_rate(newest, sum(earlier), candidates, level, held)


def _sum_totals(inventories: Sequence[Inventory], half: int) -> tuple[int, ...]:
    return tuple(item.totals[half] for item in inventories)


def _align(inventories: Sequence[Inventory], rising: bool) -> _Series:
    """Return the candidates of the newest generation for a rise, and of the others for a fall."""
    sources = [len(inventories) - 1] if rising else list(range(len(inventories) - 1))[::-1]
    named: dict[int, tuple[int, str]] = {}
    keys = [item.keys for item in inventories]
    for source in sources:
        table = inventories[source].table
        chosen = np.flatnonzero(table.column("text").is_valid().to_numpy())
        rows = table.take(pa.array(chosen))
        columns = rows.column("kind").to_pylist(), rows.column("text").to_pylist()
        for key, kind, text in zip(keys[source][chosen].tolist(), *columns, strict=True):
            named.setdefault(key, (kind, text))
    wanted = np.array(sorted(named), np.uint64)
    counts = np.zeros((len(wanted), len(inventories), 2), np.int64)
    known = np.zeros((len(wanted), len(inventories)), bool)
    for place, item in enumerate(inventories):
        index, known[:, place] = _look_up(keys[place], wanted)
        counts[known[:, place], place] = item.counts[index[known[:, place]]]
    kinds = np.array([named[key][0] for key in wanted.tolist()], np.int64)
    return _Series(kinds, [named[key][1] for key in wanted.tolist()], counts, known)


def _look_up(keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the wanted keys are, and which of them are there at all."""
    order = np.argsort(keys, kind="stable")
    place = np.minimum(np.searchsorted(keys[order], wanted), max(len(keys) - 1, 0))
    index = order[place]
    return index, keys[index] == wanted


def _test(series: _Series, inventories: Sequence[Inventory], half: int, rising: bool) -> _Tested:
    """Test the candidates on one half of all generations."""
    totals = np.array(_sum_totals(inventories, half))
    most = max(item.fewest for item in inventories) - 1
    generations = len(inventories)
    counts, known = series.counts[:, :, half], series.known
    found = []
    for trend in (False, True)[: 1 + (generations >= FEWEST_GENERATIONS)]:
        hardest = find_hardest(generations, rising=rising, trend=trend)
        filled = np.minimum(fill_unknown(counts, known, most, hardest), totals)
        if rising:
            found.append((compute_trend if trend else compute_difference)(filled, totals))
        elif trend:
            found.append(compute_trend(filled[:, ::-1], totals[::-1]))
        else:
            lost = totals - filled  # texts without the habit
            found.append(compute_difference(lost, totals))
    return _Tested(found, fill_unknown(counts, known, most, np.zeros(generations, bool)))


def _screen(series: _Series, inventories: Sequence[Inventory], rising: bool) -> _Series:
    """Return the candidates that may have changed, by the learning half alone."""
    if not series.texts:
        return series
    p = np.minimum.reduce(_test(series, inventories, 0, rising).p)
    order = np.argsort(p, kind="stable")
    wanted = int((adjust_p_values(p) <= SCREENING).sum())
    kept = order[: min(max(wanted, ALWAYS_TESTED), MOST_TESTED)]
    return series.take(np.sort(kept))


def _confirm(
    series: _Series, inventories: Sequence[Inventory], rising: bool, tests: int, level: float
) -> list[Drift]:
    """Test the candidates on the confirming half, and describe those that changed."""
    if not series.texts:
        return []
    totals = np.array(_sum_totals(inventories, 1))
    tested = _test(series, inventories, 1, rising)
    q = np.stack([np.minimum(adjust_p_values(p) * tests, 1.0) for p in tested.p])
    chosen = np.flatnonzero(q.min(0) <= level)
    slopes = measure_slopes(tested.filled[chosen], totals)
    now, before = tested.filled[chosen, -1], tested.filled[chosen, :-1].sum(1)
    pair = (now, before, int(totals[-1]), int(totals[:-1].sum()))
    if not rising:
        pair = (pair[1], pair[0], pair[3], pair[2])
    ratios, spreads = compute_log_odds(*pair)
    ranks = ratios - RANK_REACH * spreads
    return [
        Drift(
            KINDS[int(series.kinds[place])],
            series.texts[place],
            _name_change(tested.filled[place], totals, q[:, place] <= level, rising),
            tuple(np.where(series.known[place], series.counts[place, :, 1], -1).tolist()),
            float(min(p[place] for p in tested.p)),
            float(q[:, place].min()),
            slope if tests > 2 else None,
            float(rank),
        )
        for place, slope, rank in zip(chosen.tolist(), slopes, ranks.tolist(), strict=True)
    ]


def _name_change(
    counts: np.ndarray, totals: np.ndarray, significant: np.ndarray, rising: bool
) -> Change:
    if not rising:
        return "faded"
    before = counts[:-1].sum() / max(totals[:-1].sum(), 1)
    if significant[0] and before <= NEW * counts[-1] / max(totals[-1], 1):
        return "appeared"
    return "accumulated" if significant[1:].any() else "rose"


def merge_drifts(found: Sequence[Drift]) -> list[Drift]:
    """Return changes without other forms of the same habit, which become variants.

    Another form changed in the same direction, shares half of the tokens of the shorter one, and is
    at most twice as frequent or rare.
    """
    texts = pa.array([item.text for item in found], pa.large_string())
    tokens = find_tokens(texts)
    words = [frozenset(tokens.hashes[tokens.text == place].tolist()) for place in range(len(found))]
    heads: list[int] = []
    variants: dict[int, list[str]] = {}
    for place, item in enumerate(found):
        for head in heads:
            if _is_form(found[head], item) and _share(words[head], words[place]):
                variants[head].append(item.text)
                break
        else:
            heads.append(place)
            variants[place] = []
    return [found[head]._replace(variants=tuple(dict.fromkeys(variants[head]))) for head in heads]


def _is_form(one: Drift, other: Drift) -> bool:
    if (one.change == "faded") != (other.change == "faded") or "format" in (one.kind, other.kind):
        return False
    sizes = sorted(max(item.counts) for item in (one, other))
    return sizes[1] <= LIKE_SIZE * max(sizes[0], 1)


def _share(one: frozenset[int], other: frozenset[int]) -> bool:
    return len(one & other) >= SHARED * max(1, min(len(one), len(other)))
