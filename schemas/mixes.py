"""Mixes: donors' clean rows that were added to a run, lot by lot."""

from __future__ import annotations

from fractions import Fraction

from pydantic import Field

from schemas.cards import Strict
from schemas.lots import LOT_FIELDS, UNKNOWN
from schemas.shares import LEAST_SHARE, MOST_SHARE, to_exact
from schemas.swaps import Donor

MIX = "mix"
"""The decision on an added row."""


LOTS_SHOWN = 20
"""How many lots a table lists."""


class LotMix(Strict):
    """A lot of the run: its clean rows, and how many rows were to be added and were added."""

    teacher: str | None = None
    prompt_source: str | None = None
    system_prompt: str | None = None
    date: str | None = None
    rows: int
    wanted: int
    added: int

    @property
    def fields(self) -> tuple[str | None, ...]:
        """Return the fields of the lot, in the ledger's order."""
        return tuple(getattr(self, name) for name in LOT_FIELDS)

    @property
    def share(self) -> float:
        """Return the share of added rows."""
        return self.added / max(self.rows + self.added, 1)

    def describe(self) -> str:
        """Return the known fields of the lot on one line."""
        known = [
            (name, value) for name, value in zip(LOT_FIELDS, self.fields, strict=True) if value
        ]
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in known) or UNKNOWN


class MixCounts(Strict):
    """The rows that were added, by lot and by donor.

    `held_out` counts the clean rows in validation and test splits, to which nothing is added.
    """

    lots: tuple[LotMix, ...] = ()
    by_donor: dict[str, int] = Field(default_factory=dict)
    held_out: int = 0

    @property
    def rows(self) -> int:
        """Return the number of clean rows to which rows could be added."""
        return sum(lot.rows for lot in self.lots)

    @property
    def added(self) -> int:
        """Return the number of added rows."""
        return sum(lot.added for lot in self.lots)

    @property
    def wanted(self) -> int:
        """Return the number of rows that the share needs."""
        return sum(lot.wanted for lot in self.lots)

    @property
    def share(self) -> float:
        """Return the share of added rows in all lots together."""
        return self.added / max(self.rows + self.added, 1)

    def list_shortest(self, most: int) -> list[LotMix]:
        """Return at most this many lots, those that miss most rows first."""
        return sorted(self.lots, key=lambda lot: lot.added - lot.wanted)[:most]

    @property
    def short(self) -> tuple[LotMix, ...]:
        """Return the lots with fewer added rows than the share needs."""
        return tuple(lot for lot in self.lots if lot.added < lot.wanted)


class MixRecord(Strict):
    """The mix that made a run: the parent, the donors, the settings and the counts."""

    parent: str
    """The id of the run to which rows were added."""
    parent_digest: str
    parent_root: str
    donors: tuple[Donor, ...]
    share: float = Field(ge=LEAST_SHARE, le=MOST_SHARE)
    """The share of added rows among all clean rows of a lot."""
    seed: int = 0
    counts: MixCounts = MixCounts()


def compute_ratio(share: float) -> Fraction:
    """Return how many rows are added for each row of the run, as an exact fraction."""
    exact = to_exact(share)
    return exact / (1 - exact)
