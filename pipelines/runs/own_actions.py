"""What a trait's own action did to the rows on which it fired, beside what other traits did."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

HOLDS_BACK = ("keep", "flag", "mask")
"""The actions with which a trait removes no row."""

REMOVING = ("quarantine", "drop", "duplicate")
"""The decisions that take a readable row out of the corpus."""


class OwnCounts(NamedTuple):
    """Numbers of a trait's rows by what its own action did.

    `removed`, `masked` and `flagged` count rows whose decision its own action leads to.
    `unflagged` and `unmasked` count rows that have a flag or masks because of another trait, though
    this one only keeps them. `masked_by_others` counts rows that it flags and another trait masks,
    and `removed_by_others` those that it leaves in the corpus and another trait removes.
    """

    removed: int
    masked: int
    flagged: int
    unflagged: int
    unmasked: int
    masked_by_others: int
    removed_by_others: int


def count_own(actions: pl.DataFrame, trait: str, side: str) -> OwnCounts:
    """Count a trait's rows in one kind of text, from `Rates.actions`."""
    decision, own = pl.col("decision"), pl.col("own")
    removed, held_back = decision.is_in(REMOVING), own.is_in(HOLDS_BACK)
    masked, flagged = decision == "mask", decision == "flag"
    chosen = (
        removed & ~held_back,
        masked & ~own.is_in(["keep", "flag"]),
        flagged & (own != "keep"),
        flagged & (own == "keep"),
        masked & (own == "keep"),
        masked & (own == "flag"),
        removed & held_back,
    )
    found = actions.filter(trait=trait, side=side)
    return OwnCounts(*(int(found.filter(rows)["rows"].sum()) for rows in chosen))
