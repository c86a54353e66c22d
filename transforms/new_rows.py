"""New rows of a swap: rows of a run with other texts, identified and scored again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pyarrow as pa

from schemas.ledgers import read_lots
from transforms.decide import DecidedShard
from transforms.files.planning import ShardPlan, SourcePiece
from transforms.files.surveys import Cut
from transforms.identify import IdentifiedShard
from transforms.listeners import emit
from transforms.records.segments import digest_rows
from transforms.records.sides import assign_sides
from transforms.score import ScoredShard, ScoringConfig, get_scorer, score
from transforms.stored_rows import StoredRows
from transforms.swapped_tables import NewRows
from transforms.tables import describe_reason

NEW = "new rows"
"""The name of new rows among the sources of a shard."""


def score_rows(
    stored: StoredRows, positions: Sequence[int], ledger: pa.Table, scoring: ScoringConfig
) -> ScoredShard:
    """Return new rows as a scored shard. Their numbers are their indices.

    `positions` are the rows' indices in the ledger, which has their lots.
    """
    identified = _identify(stored, positions, ledger)
    return score(
        identified, get_scorer(scoring), scoring.span_floor, partial(emit, scoring.channel)
    )


def gather_rows(scored: DecidedShard, with_vectors: bool) -> NewRows:
    """Return decided rows as they are written."""
    return NewRows(
        scored.table,
        scored.lines,
        scored.digests,
        [
            [describe_reason(reason) for reason in scored.decided.reasons.get(row, ())]
            for row in range(scored.table.num_rows)
        ],
        scored.build_score_columns(),
        scored.spans,
        scored.scores.average_vectors() if with_vectors else None,
    )


def _identify(stored: StoredRows, positions: Sequence[int], ledger: pa.Table) -> IdentifiedShard:
    layout, size = stored.layout, len(stored)
    lots = read_lots(ledger.take(pa.array(positions, pa.int64())))
    return IdentifiedShard(
        plan=_plan_rows(size),
        table=stored.table,
        sources=[NEW] * size,
        numbers=list(range(size)),
        lines=stored.lines,
        segments=assign_sides(stored.segments, layout, stored.companions),
        digests=digest_rows(
            stored.table,
            stored.segments,
            layout,
            stored.companions,
            stored.records.__getitem__,
            layout.read_key(),
        ),
        lots=lots,
        columns=layout.columns,
        digest_key=layout.digest_key,
    )


def _plan_rows(size: int) -> ShardPlan:
    """Return a plan of new rows, for stages that sort rejects by their sources."""
    piece = SourcePiece(NEW, NEW, "", "jsonl", "none", Cut(0, 0, 0), Cut(size, size, 0))
    return ShardPlan(NEW, (piece,))
