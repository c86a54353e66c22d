"""Count what a swap replaced, from the ledger of the run that it wrote."""

from __future__ import annotations

from collections import Counter

from pipelines.runs.finished import list_outputs, read_table
from schemas.manifests import Manifest
from schemas.outputs import ORIGIN
from schemas.receipts import Output
from schemas.runs import parse_path
from schemas.swaps import OUTCOMES, SwapCounts


def count_swaps(run: str, outputs: list[Output]) -> SwapCounts:
    """Count the rows that were to be replaced, by outcome, donor and trait."""
    outcomes: Counter[str] = Counter()
    donors: Counter[str] = Counter()
    carried: Counter[str] = Counter()
    by_trait: dict[str, Counter[str]] = {}
    for output in outputs:
        if parse_path(output.path).folder != "ledger":
            continue
        table = read_table(run, output, [name for name, _ in ORIGIN])
        for row in table.filter(table.column("swap").is_valid()).to_pylist():
            outcomes[row["swap"]] += 1
            donors.update([row["donor"]] if row["donor"] is not None else [])
            carried.update(_split(row["donor_traits"]))
            for trait in _split(row["swap_traits"]):
                by_trait.setdefault(trait, Counter())[row["swap"]] += 1
    return SwapCounts(
        outcomes=_sort(outcomes),
        by_donor=dict(sorted(donors.items())),
        by_trait={trait: _sort(counts) for trait, counts in sorted(by_trait.items())},
        carried=dict(sorted(carried.items())),
    )


def _split(names: str | None) -> list[str]:
    return names.split(",") if names else []


def _sort(counts: Counter[str]) -> dict[str, int]:
    """Return the counts in the order of `OUTCOMES`."""
    return {name: counts[name] for name in OUTCOMES if counts[name]}


def count_ledgers(run: str, manifest: Manifest) -> SwapCounts:
    """Count the rows of a finished run that were to be replaced."""
    return count_swaps(run, list_outputs(manifest, "ledger"))
