"""Put the chosen answers into a shard's rows, score the rows again, and write the shard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa

from schemas.digests import compute_merkle_root, digest_bytes
from schemas.events import ShardWritten
from schemas.ledgers import hash_ledger_rows, read_lots
from schemas.policies import LotException, list_row_names
from schemas.receipts import Output, Receipt
from schemas.runs import parse_path, receipt_path
from schemas.scores import is_trained
from transforms.decide import decide_shard
from transforms.exception_effects import measure_effects
from transforms.files import storage
from transforms.listeners import emit
from transforms.near_misses import find_near_misses
from transforms.new_rows import gather_rows, score_rows
from transforms.rules import Rule
from transforms.score import ScoringConfig, get_scorer
from transforms.stored_rows import StoredRows, read_table, replace_answers
from transforms.swap_matches import Match, Unmatched
from transforms.swap_offers import (
    StoredShard,
    WaitingRow,
    WaitingSettings,
    digest_answer,
    find_waiting,
)
from transforms.swap_sentences import edit_rows
from transforms.swapped_tables import (
    COSTS,
    SwappedShard,
    build_swapped_tables,
    count_fired,
    count_unscored,
    list_kept_notes,
)
from transforms.tables import count_nearest
from transforms.write import count_prompts, write_tables


class SwapSettings(NamedTuple):
    """Where swapped shards are written, and how their new rows are scored and judged.

    `rules` and `exceptions` are those of the run.
    """

    waiting: WaitingSettings
    output: str
    run_id: str
    scoring: ScoringConfig
    rules: tuple[Rule, ...]
    exceptions: tuple[LotException, ...] = ()
    spans: bool = False
    """Whether only the sentences that carry a trait are replaced or masked."""
    swap_run: str | None = None
    """The run that the latest swap of the run or of its ancestors made, or None without one."""


def swap_rows(
    shard: StoredShard, found: Iterable[Match | Unmatched], settings: SwapSettings
) -> SwappedShard:
    """Replace the answers of a shard's matched rows.

    Each new row is scored as a whole. If a trait fires on it, whatever its lot, it isn't used: the
    trait may be in an earlier turn. A finding in a rejected or untrained text doesn't count if the
    policy keeps such rows.
    """
    run = settings.waiting.run
    ledger = read_table(run, shard.files["ledger"])
    held, waiting = find_waiting(shard, settings.waiting, ledger)
    outcomes = {item.position: item for item in found}
    swapped = SwappedShard(run, shard, ledger, waiting, held)
    matched: list[tuple[WaitingRow, Match]] = []
    for item in waiting:
        outcome = outcomes.get(item.position)
        if isinstance(outcome, Match):
            matched.append((item, outcome))
        else:
            swapped.left[item.position] = outcome or _explain(shard, item)
    if matched and held is not None:
        _try_answers(swapped, held, matched, settings)
    return swapped


def _explain(shard: StoredShard, item: WaitingRow) -> Unmatched:
    """Say why a row took no part in the join."""
    outcome = "prompt incomplete" if item.key is None else "answer not replaceable"
    return Unmatched(shard.name, item.position, outcome)


def _try_answers(
    swapped: SwappedShard,
    held: StoredRows,
    matched: Sequence[tuple[WaitingRow, Match]],
    settings: SwapSettings,
) -> None:
    """Put every matched answer in place, and keep the rows on which no trait fires."""
    answers = [(row.place, row.answer, match.text) for row, match in matched if row.answer]
    stored = replace_answers(held, answers)
    positions = [row.position for row, _ in matched]
    scored = score_rows(stored, positions, swapped.ledger, settings.scoring)
    reasons = decide_shard(scored, [rule._replace(exceptions=()) for rule in settings.rules])
    kept = []
    for place, number in enumerate(scored.numbers):
        row, match = matched[number]
        traits = {
            reason.trait
            for reason in reasons.decided.reasons.get(place, ())
            if is_trained(reason.signal) or reason.action != "keep"
        }
        if traits:
            outcome = "still carries a trait"
            left = Unmatched(swapped.shard.name, row.position, outcome, tuple(sorted(traits)))
            swapped.left[row.position] = left
        elif _has_answer(stored, number, match.text):
            swapped.chosen[row.position] = match
            kept.append(place)
    for row, _ in matched:  # scoring failed, or the answer can't be read from its place
        if row.position not in {**swapped.chosen, **swapped.left}:
            left = Unmatched(swapped.shard.name, row.position, "answer not replaceable")
            swapped.left[row.position] = left
    swapped.cost = {name: getattr(scored, name) for name in COSTS}
    if kept:
        swapped.new = gather_rows(reasons, "vectors" in swapped.shard.files).select(kept)


def _has_answer(stored: StoredRows, row: int, text: str) -> bool:
    answer = stored.find_answer(row)
    return answer is not None and digest_answer(answer.text) == digest_answer(text)


def write_swapped(swapped: SwappedShard, settings: SwapSettings) -> Receipt:
    """Write a swapped shard's files, then its receipt. A retry writes the same bytes."""
    shard, output = swapped.shard, settings.output
    tables = build_swapped_tables(swapped)
    ledger: Any = tables["ledger"]
    files = [*write_tables(shard.name, find_stem(shard), tables, output)]
    files += _copy_rejects(swapped, output)
    rejects = sum(name == "reject" for name in ledger.column("decision").to_pylist())
    traits = [rule.trait for rule in settings.rules]
    receipt = Receipt(
        shard=shard.name,
        rows=shard.rows,
        outputs=tuple(files),
        decisions=count_decided(ledger),
        fired=count_fired(ledger),
        **measure_scores(ledger, tables["scores"], settings.rules, settings.exceptions),
        ledger_root=compute_merkle_root(hash_ledger_rows(ledger)).hex(),
        run=settings.run_id,
        **{name: swapped.cost.get(name, 0) for name in COSTS},
        unscored=count_unscored(tables["scores"], traits, rejects),
        **count_prompts(len(swapped.left), tables.get("swaplist")),
        nearest=count_nearest(list_kept_notes(swapped)),
    )
    storage.write_bytes(storage.join(output, receipt_path(shard.name)), receipt.to_bytes())
    emit(settings.run_id, ShardWritten(shard.rows, shard.name))
    return receipt


def find_stem(shard: StoredShard) -> str:
    """Return the stem of a shard's files in `clean/` and `quarantine/`."""
    paths = [shard.files[name] for name in ("clean", "quarantine") if name in shard.files]
    return parse_path(paths[0]).stem if paths else ""


def _copy_rejects(swapped: SwappedShard, output: str) -> Iterator[Output]:
    path = swapped.shard.files.get("rejects")
    if path is not None:
        data = storage.read_bytes(storage.join(swapped.run, path))
        storage.write_bytes(storage.join(output, path), data)
        rows = swapped.read("rejects").num_rows
        yield Output(path=path, rows=rows, bytes=len(data), sha256=digest_bytes(data))


def count_decided(ledger: pa.Table) -> dict[str, int]:
    """Count the rows of a ledger by decision."""
    names = ledger.column("decision").to_pylist()
    return {name: names.count(name) for name in sorted(set(names))}


def measure_scores(
    ledger: pa.Table, scores: Any, rules: Sequence[Rule], exceptions: Sequence[LotException]
) -> dict[str, Any]:
    """Return the near misses of a shard's rows, and the effects of the policy's exceptions."""
    decisions = ledger.column("decision").to_pylist()
    readable = pa.array([row for row, name in enumerate(decisions) if name != "reject"], pa.int64())
    kept, ledger = scores.take(readable), ledger.take(readable)
    columns = {
        name: kept.column(name).to_numpy().astype(np.float32) for name in kept.column_names[2:]
    }
    names = ledger.column("decision").to_pylist()
    named = list_row_names(exceptions)
    return {
        "near": find_near_misses(columns, rules),
        "exceptions": measure_effects(columns, read_lots(ledger, named), names, rules, exceptions),
    }


class _Swap(beam.DoFn):
    def __init__(self, settings: SwapSettings) -> None:
        self._settings = settings

    def setup(self) -> None:
        get_scorer(self._settings.scoring)

    def process(self, group: tuple[str, Mapping[str, Iterable[Any]]]) -> Iterator[Receipt]:
        _, found = group
        for shard in found["shards"]:
            yield write_swapped(self._swap(shard, found["outcomes"]), self._settings)

    def _swap(self, shard: StoredShard, outcomes: Iterable[Match | Unmatched]) -> SwappedShard:
        own = self._settings
        swapped = (
            edit_rows(shard, outcomes, own.waiting, own.rules, own.scoring)
            if own.spans
            else swap_rows(shard, outcomes, own)
        )
        swapped.swap_run = own.swap_run
        return swapped


@dataclass(eq=False)
class SwapShards(beam.PTransform):
    """Write every shard with its outcomes. A retried bundle writes identical files again.

    The input has the names of the shards with the outcomes of their rows (see `MatchPrompts`).
    Shards that aren't among `shards` are finished, and are left alone.
    """

    shards: Sequence[StoredShard]
    settings: SwapSettings

    def expand(self, outcomes: beam.PCollection[Any]) -> beam.PCollection[Receipt]:
        """Join the outcomes with the shards, and write shard by shard."""
        shards = (
            outcomes.pipeline
            | "Shards" >> beam.Create([(shard.name, shard) for shard in self.shards])
            | "Type" >> beam.Map(lambda item: item).with_output_types(tuple[str, StoredShard])
        )
        return (
            {"shards": shards, "outcomes": outcomes}
            | "Group" >> beam.CoGroupByKey()
            | "Write" >> beam.ParDo(_Swap(self.settings)).with_output_types(Receipt)
        )
