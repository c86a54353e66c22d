"""How small a difference a test would have found."""

from __future__ import annotations

import numpy as np

from classifiers.lots.confirmation import compare_strata
from classifiers.lots.permutations import POWER


def find_detectable_rate(
    owns: int, others: int, candidates: int, level: float, held: int = 0
) -> float | None:
    """Return the rate at which a phrase that `held` texts of the reference have would be found.

    It would be confirmed with a chance of `POWER` even if it were the only true one among the
    candidates. `owns` and `others` are the texts of the confirming half. None if no rate suffices.
    """
    from scipy.special import bdtrc  # noqa: PLC0415 - it takes a tenth of a second to load

    count = _find_fewest(owns, others, level / max(candidates, 1), min(held, others))
    if count is None:
        return None
    rates = np.geomspace(count / owns / 10, 1.0, 2_000)
    enough = bdtrc(count - 1, owns, rates) >= POWER if count <= owns else np.zeros(1, bool)
    return float(rates[np.argmax(enough)]) if enough.any() else None


def _find_fewest(owns: int, others: int, level: float, held: int) -> int | None:
    """Return the fewest texts of the first set that are significant beside `held` others."""
    if not owns or not others:
        return None
    counts = np.unique(np.geomspace(1, owns, 200).astype(np.int64))
    own, other = counts[:, None], np.full((len(counts), 1), held, np.int64)
    p = compare_strata(own, other, np.array([owns]), np.array([others]))
    fits = np.flatnonzero(p <= level)
    return int(counts[fits[0]]) if len(fits) else None
