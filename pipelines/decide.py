"""Decide a finished run's rows again, without a model or the corpus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.named_rows import require_places
from pipelines.runs.finished import list_outputs, read_table
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.recorded_settings import read_recorded_policy, read_recorded_traits
from schemas.errors import RunError
from schemas.ledgers import read_lots
from schemas.lots import LOT_FIELDS, Lot
from schemas.manifests import Manifest
from schemas.policies import LotException, Policy, list_row_names
from schemas.receipts import Output
from schemas.runs import parse_path, shard_path
from transforms.decisions import Decisions, Evidence, decide
from transforms.duplicates import EMPTY_DIGEST, Seen, add_copy
from transforms.files.splits import find_split, rank_split
from transforms.rules import Rule, settle_rules


class ShardDecisions(NamedTuple):
    """New decisions on a shard's rows, except rejects.

    `ledger_rows` holds their ledger indexes.
    """

    shard: str
    ledger_rows: np.ndarray
    decided: Decisions


def decide_run(run: str, policy: Policy) -> Iterator[ShardDecisions]:
    """Yield another policy's decisions on a finished run, shard by shard, in corpus order.

    The run's stored scores, spans and lots are enough. A new run with that policy would give the
    same decisions, reasons and masks. Nothing is written.

    Raises: CardError: the policy can't be applied to the run's traits and calibration scores.
    Raises: RunError: the run isn't finished, or a threshold is below the run's span floor.
    """
    manifest = load_manifest(run)
    rules = settle_recorded_rules(run, manifest, policy)
    repeats: dict[str, dict[int, tuple[Lot, ...]]] = {}
    if policy.duplicates == "remove":
        repeats = _find_repeats(run, manifest, rules, policy.split_priority)
    for output in list_outputs(manifest, "ledger"):
        repeated = repeats.pop(parse_path(output.path).shard, {})
        yield _decide_shard(run, manifest, output, rules, repeated)


def settle_recorded_rules(run: str, manifest: Manifest, policy: Policy) -> list[Rule]:
    """Work out another policy's rules from a finished run's records.

    Raises: CardError: the rules can't be worked out. Raises: RunError: a threshold is below the
    run's span floor.
    """
    require_places(policy, read_recorded_policy(manifest), run)
    rules = settle_rules(read_recorded_traits(run, manifest), policy)
    for rule in rules:
        lowest = rule.find_lowest_threshold()
        if lowest < manifest.span_floor:
            raise RunError(
                f"trait {rule.trait} would fire at {lowest:.4f}, but the run stored only the spans "
                f"of scores from {manifest.span_floor:.4f} up",
                where=run,
                remedy="choose a higher threshold, or filter again with a lower span_floor",
            )
    return rules


def _decide_shard(
    run: str,
    manifest: Manifest,
    output: Output,
    rules: Sequence[Rule],
    repeats: Mapping[int, Sequence[Lot]],
) -> ShardDecisions:
    shard = parse_path(output.path).shard
    ledger = read_table(run, output)
    rows = np.flatnonzero(np.array(ledger.column("decision").to_pylist()) != "reject")
    good = pa.array(rows)
    scores, spans = (
        read_table(run, _find_output(manifest, shard_path(folder, shard))).take(good)
        for folder in ("scores", "spans")
    )
    evidence = Evidence(
        {
            name: scores.column(name).to_numpy().astype(np.float32)
            for name in scores.column_names[2:]
        },
        spans.column("spans").combine_chunks(),
        read_lots(ledger.take(good), list_row_names(_list_exceptions(rules))),
    )
    return ShardDecisions(shard, rows, decide(evidence, rules, repeats))


def _list_exceptions(rules: Sequence[Rule]) -> Iterator[LotException]:
    return (item for rule in rules for item in rule.exceptions)


def _find_output(manifest: Manifest, path: str) -> Output:
    return next(output for output in manifest.outputs if output.path == path)


def _find_repeats(
    run: str, manifest: Manifest, rules: Sequence[Rule], priority: Sequence[str]
) -> dict[str, dict[int, tuple[Lot, ...]]]:
    """Return each shard's rows that repeat earlier rows, with the earlier rows' lots.

    Copies are ordered by the priority of their splits, then by their place in the corpus. Row
    numbers leave out rejects.
    """
    columns = ["record_id", "source", "row", "decision", "content_digest", *LOT_FIELDS]
    names = list_row_names(_list_exceptions(rules))
    seen: dict[str, Seen] = {}
    found: dict[str, dict[int, tuple[Lot, ...]]] = {}
    ledgers = list_outputs(manifest, "ledger")
    for output in sorted(ledgers, key=lambda item: _rank_ledger(run, item, priority)):
        ledger = read_table(run, output, columns)
        good = ledger.filter(pc.not_equal(ledger.column("decision"), "reject"))
        digests = good.column("content_digest").to_pylist()
        for row, (digest, lot) in enumerate(zip(digests, read_lots(good, names), strict=True)):
            if digest == EMPTY_DIGEST:
                continue
            earlier = add_copy(seen.setdefault(digest, {}), lot, rules)
            if earlier is not None:
                found.setdefault(parse_path(output.path).shard, {})[row] = earlier
    return found


def _rank_ledger(run: str, output: Output, priority: Sequence[str]) -> int:
    """Return the rank of a shard's split."""
    source: str = read_table(run, output, ["source"]).column("source")[0].as_py()
    return rank_split(find_split(source), priority)
