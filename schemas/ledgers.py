"""Hashes of ledger rows, the leaves of a shard's Merkle tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas.digests import canonicalise_json, hash_leaf
from schemas.outputs import LEDGER_OF_PAIRS
from schemas.scores import SCORE_DECIMALS


def hash_ledger_rows(ledger: pa.Table) -> list[bytes]:
    """Return the hash of every row of a ledger.

    A row's columns are joined as text with 0x1F, and a null is 0x00. Its reasons are written as
    canonical JSON, in which floats have as many decimals as scores.
    """
    names = [name for name in LEDGER_OF_PAIRS.names if name in ledger.column_names]
    flat = [ledger.column(name).cast(pa.string()) for name in names if name != "reasons"]
    reasons = ledger.column("reasons")
    counts = pc.list_value_length(reasons).to_pylist()
    texts = [
        canonicalise_json([_format_floats(item) for item in reasons[row].as_py()]).decode()
        if count
        else ""
        for row, count in enumerate(counts)
    ]
    joined = pc.binary_join_element_wise(
        *flat,
        pa.array(texts, pa.string()),
        "\x1f",
        null_handling="replace",
        null_replacement="\x00",
    )
    return [hash_leaf(row) for row in joined.to_pylist()]


def _format_floats(reason: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: f"{value:.{SCORE_DECIMALS}f}" if isinstance(value, float) else value
        for name, value in reason.items()
    }
