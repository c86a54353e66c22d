"""How many rows of a finished run another policy would decide how, without writing a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import pyarrow.compute as pc

from pipelines.banks import load_bank
from pipelines.decide import decide_run, find_stored_places
from pipelines.runs.finished import MISFITS, list_outputs, read_table, report_damage
from pipelines.runs.idle_exceptions import list_idle_exceptions
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.publication import check_budgets
from schemas.ledgers import read_lots
from schemas.lots import Lot
from schemas.manifests import Manifest
from schemas.policies import DECISIONS, LotException, Policy, list_row_names
from schemas.receipts import ExceptionEffect
from schemas.runs import BANK
from transforms.decide_again import list_unknown_neighbours, refuse_unknown
from transforms.files import storage


class DecisionCounts(NamedTuple):
    """The rows by decision, in the run and with the policy.

    `moved` counts the rows with another decision by the old and the new one. `effects` are what the
    policy's exceptions do, in its order, as a run with the policy would record it. `unmatched` are
    the policy's exceptions, as numbers from 1, that match no row of the run, and `idle` those that
    change nothing on their row. `unknown` counts, by trait, the findings on held rows whose nearest
    exemplars the run didn't store: a decision needs the encoder for them.
    """

    before: dict[str, int]
    now: dict[str, int]
    unmatched: list[tuple[int, str]]
    idle: list[tuple[int, str]]
    moved: dict[tuple[str, str], int]
    effects: list[ExceptionEffect]
    unknown: dict[str, int]


def count_decisions(run: str, policy: Policy, folder: str | None = None) -> DecisionCounts:
    """Count the rows by decision with another policy. Rejects stay rejects.

    If the policy names a row by a column, the run's input is read, in `folder` if it has moved.

    Raises: CardError: the policy can't be applied to the run.
    Raises: RunError: the run isn't finished, is damaged, or lacks what the policy needs.
    Raises: InputError: the input is needed, and is missing or was changed.
    """
    manifest = load_manifest(run)
    policy = find_stored_places(run, manifest, policy, folder)
    before = dict(manifest.conservation.by_decision)
    counts, moved, unknown = Counter[str](), Counter[tuple[str, str]](), Counter[str]()
    known = _leave_out_unfound(policy)
    effects = [ExceptionEffect() for _ in known.exceptions]
    traits = load_bank(storage.join(run, BANK)).traits
    for shard in decide_run(run, known):
        counts.update(shard.decided.decisions)
        moved.update(zip(shard.stored.take("decision"), shard.decided.decisions, strict=True))
        effects = [one.add(two) for one, two in zip(effects, shard.effects, strict=True)]
        lacking = list_unknown_neighbours(shard.stored, shard.decided, traits)
        unknown.update(reason.trait for reason in lacking)
    if rejects := before.get("reject"):
        counts["reject"] = rejects
    unmatched = _list_unmatched(run, manifest, policy)
    idle = list_idle_exceptions(run, manifest, policy)
    return DecisionCounts(
        before,
        dict(counts),
        unmatched,
        idle,
        _sort_moves(moved),
        _spread_effects(policy, effects),
        dict(unknown),
    )


def _sort_moves(moved: Counter[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Return the counts of rows with another decision, in the order of the decisions."""
    order = sorted(moved, key=lambda pair: tuple(map(DECISIONS.index, pair)))
    return {pair: moved[pair] for pair in order if pair[0] != pair[1]}


def _spread_effects(policy: Policy, effects: Iterable[ExceptionEffect]) -> list[ExceptionEffect]:
    """Return the effects of all exceptions, of which those for unfound rows have none."""
    found = iter(effects)
    return [next(found) if _is_found(item) else ExceptionEffect() for item in policy.exceptions]


def _is_found(item: LotException) -> bool:
    """Return whether an exception names no row, or one whose place or id is known."""
    return item.row is None or bool(item.row.key)


def require_publishable(
    run: str, policy: Policy, found: DecisionCounts, *, encode: bool = False
) -> None:
    """Refuse a policy whose decisions wouldn't become a run. With `encode`, the encoder may help.

    Raises: RunError: the run didn't store the nearest exemplars of rows that the policy holds.
    Raises: BudgetError: too many rows are removed or rejected for the policy's budgets.
    """
    if found.unknown and not encode:
        raise refuse_unknown(run, found.unknown)
    counted = load_manifest(run).conservation.model_copy(update={"by_decision": found.now})
    check_budgets(counted, policy)


def _leave_out_unfound(policy: Policy) -> Policy:
    """Return a policy without exceptions for rows whose own ids the corpus doesn't have."""
    known = tuple(item for item in policy.exceptions if _is_found(item))
    return policy.model_copy(update={"exceptions": known})


def _list_unmatched(run: str, manifest: Manifest, policy: Policy) -> list[tuple[int, str]]:
    """Return the exceptions that match the lot or the name of no row, except rejects."""
    names, lots = list_row_names(policy.exceptions), set[Lot]()
    with report_damage(run, *MISFITS):
        for output in list_outputs(manifest, "ledger") if policy.exceptions else ():
            ledger = read_table(run, output)
            lots.update(read_lots(ledger.filter(pc.field("decision") != "reject"), names))
    return [
        (number, item.describe())
        for number, item in enumerate(policy.exceptions, 1)
        if not any(item.matches(lot.for_side(item.side)) for lot in lots)
    ]
