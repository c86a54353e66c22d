"""Arrow schemas of what a run leaves behind. Column names here are a promise to readers; append, never rename."""

from __future__ import annotations

import pyarrow as pa

SCORE_DECIMALS = 4
"""Scores are rounded to this many decimals before anything is decided or written, so that the last bits of a float,
which depend on the batch a text was scored in, neither change a file nor a decision in all but knife-edge cases."""

REASON = pa.struct(
    [
        ("trait", pa.string()),
        ("signal", pa.string()),
        ("score", pa.float32()),
        ("threshold", pa.float32()),
        ("segment", pa.string()),
        ("start", pa.int32()),
        ("end", pa.int32()),
    ]
)

LEDGER = pa.schema(
    [
        ("record_id", pa.string()),
        ("source", pa.string()),
        ("row", pa.int64()),
        ("teacher", pa.string()),
        ("lot", pa.string()),
        ("content_digest", pa.string()),
        ("decision", pa.string()),
        ("reasons", pa.list_(REASON)),
        ("output", pa.string()),
        ("output_row", pa.int64()),
    ]
)

NEIGHBOUR = pa.struct(
    [
        ("exemplar", pa.string()),
        ("polarity", pa.string()),
        ("similarity", pa.float32()),
        ("text", pa.string()),
    ]
)

EVIDENCE = pa.struct([*REASON, ("action", pa.string()), ("neighbours", pa.list_(NEIGHBOUR))])

QUARANTINE_EXTRA = pa.field(
    "congener",
    pa.struct(
        [
            ("record_id", pa.string()),
            ("source", pa.string()),
            ("row", pa.int64()),
            ("teacher", pa.string()),
            ("lot", pa.string()),
            ("decision", pa.string()),
            ("reasons", pa.list_(EVIDENCE)),
        ]
    ),
)

MASK = pa.struct([("segment", pa.string()), ("start", pa.int32()), ("end", pa.int32())])

CLEAN_EXTRA = pa.field(
    "congener",
    pa.struct([("decision", pa.string()), ("weight", pa.float32()), ("masks", pa.list_(MASK))]),
)

REJECTS = pa.schema(
    [
        ("source", pa.string()),
        ("row", pa.int64()),
        ("offset", pa.int64()),
        ("error", pa.string()),
        ("raw", pa.binary()),
    ]
)

SWAPLIST = pa.schema(
    [
        ("record_id", pa.string()),
        ("source", pa.string()),
        ("row", pa.int64()),
        ("teacher", pa.string()),
        ("lot", pa.string()),
        ("traits", pa.list_(pa.string())),
        ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
    ]
)


def scores_schema(columns: list[str]) -> pa.Schema:
    """Return the schema of `scores/` for these score columns."""
    return pa.schema(
        [("source", pa.string()), ("row", pa.int64()), *((name, pa.float32()) for name in columns)]
    )
