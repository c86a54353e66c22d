"""Count what a swap replaced, from the ledger of the run that it wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipelines.runs.finished import list_outputs, read_json_lines, read_table, report_damage
from schemas.manifests import Manifest
from schemas.outputs import CLEAN_EXTRA, EARLIER, ORIGIN
from schemas.policies import SEVERITY
from schemas.receipts import Output
from schemas.runs import is_json_lines, parse_path
from schemas.swaps import OUTCOMES, SwapCounts

ORIGIN_NAMES = tuple(name for name, _ in ORIGIN)
EARLIER_NAME = EARLIER[0][0]


def count_swaps(run: str, outputs: Sequence[Output]) -> dict[str | None, SwapCounts]:
    """Count the rows that were to be replaced, by outcome, donor and trait, for each swap.

    The key is None for the swap that made the run, and else the run that an earlier swap made.
    """
    found: dict[str | None, list[Mapping[str, Any]]] = {}
    for output in outputs:
        if parse_path(output.path).folder != "ledger":
            continue
        table = read_table(run, output)
        names = [name for name in (*ORIGIN_NAMES, EARLIER_NAME) if name in table.column_names]
        for row in table.select(names).filter(table.column("swap").is_valid()).to_pylist():
            found.setdefault(row.get(EARLIER_NAME), []).append(row)
    return {run: _count(rows) for run, rows in found.items()}


def _count(rows: Iterable[Mapping[str, Any]]) -> SwapCounts:
    outcomes: Counter[str] = Counter()
    donors: Counter[str] = Counter()
    carried: Counter[str] = Counter()
    by_trait: dict[str, Counter[str]] = {}
    for row in rows:
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


def count_ledgers(run: str, manifest: Manifest) -> dict[str | None, SwapCounts]:
    """Count the rows of a finished run that were to be replaced, for each swap."""
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
