"""Canaries: how many known texts a run found, and how many texts of a keep-list it removed."""

from __future__ import annotations

from schemas.cards import Strict


class CanaryCount(Strict):
    """A trait's planted texts: on how many it fired, and how many the run would have removed.

    `low` and `high` are the 95 % Clopper-Pearson interval of the share on which it fired.
    """

    trait: str
    planted: int
    found: int
    removed: int
    low: float
    high: float


class CanaryRecord(Strict):
    """What became of the texts that were planted in a run, which publishes none of them.

    `digests` are those of the texts, and `places` the rows in whose place the texts were read.
    `floor` is the least share that must be found, and `budget` the largest share of the keep-list
    that may be removed.
    """

    digests: dict[str, str]
    places: tuple[tuple[str, int], ...]
    counts: tuple[CanaryCount, ...] = ()
    unmeasured: tuple[str, ...] = ()
    """The run's traits without a canary."""
    floor: float | None = None
    to_keep: int = 0
    lost: int = 0
    budget: float | None = None
