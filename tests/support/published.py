"""Receipts, plans and files of shards, for tests of publication without a pipeline."""

from __future__ import annotations

from schemas.receipts import Output, Receipt
from schemas.runs import shard_path
from transforms.files.dataset_cards import Splits
from transforms.files.planning import ShardPlan, SourcePiece
from transforms.files.sources import Corpus, Cut, Source


def build_receipt(shard: str = "part-0", rows: int = 10, **decisions: int) -> Receipt:
    """Return a receipt with the given decisions."""
    return Receipt(
        shard=shard,
        rows=rows,
        outputs=(Output(path=f"ledger/{shard}.parquet", rows=rows, bytes=5, sha256="ab"),),
        decisions=decisions or {"keep": rows},
        fired={"heron": 2},
        ledger_root="00" * 32,
        tokens=80,
        padded=100,
        budget_cuts=1,
        unscored=3,
    )


def build_corpus(rows: int, uri: str = "a") -> Corpus:
    """Return a survey of one file."""
    cuts = (Cut(0, 0, 0), Cut(rows, 1, 0))
    return Corpus((Source("a", uri, "jsonl", "none", 1, "ff", rows, cuts),), None, ())


def plan_shard(number: int, source: str, splits: Splits = ()) -> ShardPlan:
    """Return a plan of one row."""
    cuts = Cut(0, 0, 0), Cut(1, 1, 1)
    piece = SourcePiece(source, source, "ff", "jsonl", "none", *cuts, splits=splits)
    return ShardPlan(f"part-{number:06d}-{number:012x}", (piece,))


def write_clean(plan: ShardPlan) -> Output:
    """Return an output of a shard's clean rows."""
    path = shard_path("clean", plan.name, ".jsonl", plan.stem)
    return Output(path=path, rows=1, bytes=1, sha256="ab")
