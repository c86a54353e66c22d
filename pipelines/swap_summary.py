"""What a swap did, for the report: replaced rows by donor, and waiting rows by reason."""

from __future__ import annotations

from typing import NamedTuple

from pipelines.runs.shown_swaps import WAITING
from schemas.manifests import Manifest
from schemas.notices import DONOR_PREFIX
from schemas.swaps import DECISION_OF_OUTCOME, Donor, SwapRecord, count_done


class SwapDonor(NamedTuple):
    """A donor, how many of its answers were used, and its run's warnings."""

    donor: Donor
    used: int
    warnings: list[str]


class SwapTrait(NamedTuple):
    """How many rows were to be replaced because of a trait, and what became of them.

    `waiting` has the reasons for which rows still wait, each with a count.
    """

    trait: str
    total: int
    replaced: int
    waiting: list[tuple[str, int]]


class SwapSummary(NamedTuple):
    """The contents of the section about a swap.

    `carried` counts, for each trait, the waiting rows because of which no answer could be used.
    `earlier` counts the rows with an answer of an earlier swap, by that swap's run and donor.
    """

    record: SwapRecord
    donors: list[SwapDonor]
    traits: list[SwapTrait]
    waiting: list[tuple[str, int]]
    carried: list[tuple[str, int]]
    earlier: list[tuple[str, str, int]]


def summarise_swap(manifest: Manifest) -> SwapSummary | None:
    """Summarise a swap from its manifest, or return None for a run that replaced nothing."""
    swap = manifest.swap
    if swap is None:
        return None
    counts = swap.counts
    return SwapSummary(
        swap,
        [
            SwapDonor(item, counts.by_donor.get(item.name, 0), _list_warnings(manifest, item.name))
            for item in swap.donors
        ],
        [
            SwapTrait(trait, sum(own.values()), count_done(own), _explain(own))
            for trait, own in counts.by_trait.items()
        ],
        _explain(counts.outcomes),
        list(counts.carried.items()),
        [
            (item.run_id, donor, count)
            for item in swap.earlier
            for donor, count in item.counts.by_donor.items()
        ],
    )


def _explain(outcomes: dict[str, int]) -> list[tuple[str, int]]:
    """Return the reasons for which rows wait, with their counts."""
    return [
        (WAITING.get(name, name), count)
        for name, count in outcomes.items()
        if name not in DECISION_OF_OUTCOME
    ]


def _list_warnings(manifest: Manifest, donor: str) -> list[str]:
    about = f"{DONOR_PREFIX}{donor}"
    return [
        item.text
        for item in manifest.list_notices()
        if item.about == about and item.severity == "warning"
    ]
