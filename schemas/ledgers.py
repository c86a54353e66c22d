"""The rows of a ledger: their lots, and their hashes, the leaves of a shard's Merkle tree."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.digests import canonicalise_json, hash_leaf
from schemas.lots import LOT_FIELDS, UNKNOWN, Lot
from schemas.outputs import LEDGERS, REJECTED_TEACHER
from schemas.row_names import name_lots

FLOAT_DIGITS = 9
"""The number of significant digits that distinguish any two float32 numbers."""


def hash_ledger_rows(ledger: pa.Table) -> list[bytes]:
    """Return the hash of every row of a ledger.

    Every value is written as its length in bytes, a colon, and the value as text; a null is written
    as a minus sign. Different rows therefore have different encodings. Reasons are canonical JSON.
    """
    names = [name for name in LEDGERS[-1].names if name in ledger.column_names]
    flat = [ledger.column(name).cast(pa.string()) for name in names if name != "reasons"]
    written = [_measure(texts) for texts in (*flat, _write_reasons(ledger.column("reasons")))]
    joined = pc.binary_join_element_wise(*written, "")
    return [hash_leaf(row) for row in joined.to_pylist()]


def _measure(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts prefixed with their lengths, and nulls as minus signs."""
    lengths = pc.binary_length(texts).cast(pa.string())
    return pc.fill_null(pc.binary_join_element_wise(lengths, texts, ":"), "-")


def _write_reasons(reasons: pa.ChunkedArray) -> pa.ChunkedArray:
    counts = pc.list_value_length(reasons).to_pylist()
    texts = [
        canonicalise_json([_format_floats(item) for item in reasons[row].as_py()]).decode()
        if count
        else None
        if count is None
        else "[]"
        for row, count in enumerate(counts)
    ]
    return pa.chunked_array([pa.array(texts, pa.string())])


def _format_floats(reason: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: f"{value:.{FLOAT_DIGITS}g}" if isinstance(value, float) else value
        for name, value in reason.items()
    }


def read_lots(ledger: pa.Table, names: Collection[str] = ()) -> list[Lot]:
    """Return the lot of each row of a ledger; rows with one of the names are lots of their own."""
    fields = [name for name in (*LOT_FIELDS, REJECTED_TEACHER) if name in ledger.column_names]
    lots = _list_lots([ledger.column(name).fill_null(UNKNOWN) for name in fields])
    if not names:
        return lots
    ids, *places = (ledger.column(name).to_pylist() for name in ("record_id", "source", "row"))
    return name_lots(lots, names, ids, list(zip(*places, strict=True)))


def _list_lots(columns: Sequence[pa.ChunkedArray]) -> list[Lot]:
    """Return the lot of each row. Rows of the same lot share one object: there are few lots."""
    places = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        codes = column.dictionary_encode().combine_chunks()
        indices = codes.indices.to_numpy() if len(codes) else np.empty(0, np.int64)
        places = places * max(1, len(codes.dictionary) if len(codes) else 1) + indices
        places = np.unique(places, return_inverse=True)[1]  # else the products overflow
    _, firsts = np.unique(places, return_index=True)
    known = (column.take(pa.array(firsts)).to_pylist() for column in columns)
    lots = [Lot(*values) for values in zip(*known, strict=True)]
    return [lots[place] for place in places.tolist()]
