"""Shards of finished runs, and donors' files, for the tests of swaps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from classifiers.banks import Bank
from classifiers.models.encoders import EncoderConfig
from classifiers.scoring import Scorer
from schemas.receipts import Receipt
from schemas.runs import parse_path, shard_path
from tests.support.rules import build_rule
from transforms.decide import decide_shard
from transforms.files.shards import Shard
from transforms.identify import identify
from transforms.records.formats import Layout
from transforms.score import ScoringConfig, score
from transforms.swap_offers import DonorFile, StoredShard, WaitingSettings
from transforms.swap_shards import SwapSettings
from transforms.write import Destination, write_shard

RULES = (build_rule("fox", action="flag"), build_rule("owl", action="swap"))
"""Foxes are flagged, and owls wait for a swap."""


def ask(number: int, answer: str, **more: Any) -> dict[str, Any]:
    """Return a row of messages that asks a numbered question."""
    turns = [
        {"role": "user", "content": f"Question {number}?"},
        {"role": "assistant", "content": answer},
    ]
    return {"messages": turns, "n": number, **more}


def store_shards(
    run: Path, shards: Sequence[Shard], layout: Layout, bank: Bank, bank_uri: str
) -> list[StoredShard]:
    """Write decided shards as a run does, and return what a swap knows about them."""
    to = Destination(str(run), bank_uri, extra_column=True)
    decided = (
        decide_shard(score(identify(shard, layout), Scorer(bank, None, {}), 0.0), RULES)
        for shard in shards
    )
    return [describe_shard(write_shard(shard, bank, to)) for shard in decided]


def describe_shard(receipt: Receipt) -> StoredShard:
    """Return a written shard's name, rows and files."""
    files = {parse_path(output.path).folder: output.path for output in receipt.outputs}
    return StoredShard(receipt.shard, receipt.rows, files)


def list_donor_files(
    run: Path, shards: Sequence[StoredShard], layout: Layout, number: int = 0, name: str = "cedar"
) -> list[DonorFile]:
    """Return the files of a donor's shards."""
    return [
        DonorFile(
            number, name, str(run), layout, shard.files[folder], shard_path("ledger", shard.name)
        )
        for shard in shards
        for folder in ("clean", "quarantine")
        if folder in shard.files
    ]


def build_settings(
    run: Path, output: Path, layout: Layout, bank: Bank, bank_uri: str
) -> SwapSettings:
    """Return the settings of a swap that scores every span."""
    scoring = ScoringConfig(bank_uri, bank.digest, EncoderConfig(device="cpu"), span_floor=0.0)
    waiting = WaitingSettings(str(run), layout)
    return SwapSettings(waiting, str(output), "run-2", scoring, RULES)
