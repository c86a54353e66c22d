"""Count what a swap replaced, from the ledger of the run that it wrote."""

from __future__ import annotations

from collections import Counter

from pipelines.runs.finished import list_outputs, read_json_lines, read_table, report_damage
from schemas.manifests import Manifest
from schemas.outputs import CLEAN_EXTRA, ORIGIN
from schemas.policies import SEVERITY
from schemas.receipts import Output
from schemas.runs import is_json_lines, parse_path
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


def count_held(run: str, manifest: Manifest) -> Counter[str]:
    """Count the rows in a run's quarantine by the action that holds them.

    Raises: RunError: a file is missing or damaged.
    """
    held: Counter[str] = Counter()
    for output in list_outputs(manifest, "quarantine"):
        with report_damage(run, ValueError, KeyError):
            if is_json_lines(output.path):
                notes = [row[CLEAN_EXTRA.name] for row in read_json_lines(run, output.path)]
            else:
                table = read_table(run, output, [CLEAN_EXTRA.name])
                notes = table.column(CLEAN_EXTRA.name).to_pylist()
        for note in notes:
            held[max((item["action"] for item in note["reasons"]), key=SEVERITY.index)] += 1
    return held
