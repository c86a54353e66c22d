"""The answers of a shard's rows as texts to compare, each with its prompt and its lot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from schemas.digests import digest_bytes
from transforms.identify import IdentifiedShard
from transforms.records.prompt_keys import squeeze
from transforms.records.segments import Segments

LOT_NAMES = ("teacher", "prompt_source")
"""The fields of a lot by which differences are located."""

HASH_DIGITS = 16
"""The hex digits of a digest that become a hash of 64 bits."""

JOINT = "\n\n"
"""What separates the answers of a row with several turns."""

RECORDS = pa.schema(
    [
        ("key", pa.uint64()),
        ("digest", pa.uint64()),
        ("own", pa.bool_()),
        ("asks", pa.bool_()),
        ("prompt", pa.large_string()),
        ("text", pa.large_string()),
        *((name, pa.string()) for name in LOT_NAMES),
    ]
)
"""The texts of rows: a hash of the prompt and of the row, and whether the row has a prompt.

`own` is true in the corpus, and false in the reference.
"""


class LotRecords(NamedTuple):
    """The texts of a shard's rows, in `RECORDS`, and the rows without one.

    `rejects` couldn't be read, and `silent` have no trained answer.
    """

    table: pa.Table
    rejects: int
    silent: int


def read_lot_records(shard: IdentifiedShard, own: bool) -> LotRecords:
    """Return the trained answers of a shard's rows, joined by row.

    The prompt is everything that users and tools say, with single spaces. What system prompts and
    earlier answers say doesn't count, so different teachers' rows have equal prompts. A row without
    a prompt has its own hash as key.
    """
    answers = _join_texts(shard.segments.select_side("trained"), ("assistant",))
    roles = tuple(name for name in shard.segments.role_names if name not in ("assistant", "system"))
    prompts = _join_texts(shard.segments, roles)
    rows = sorted(answers)
    asked = [squeeze(prompts.get(row, "")) for row in rows]
    digests = [_to_hash(shard.digests[row]) for row in rows]
    keys = [
        _to_hash(digest_bytes(text.encode())) if text else digest
        for text, digest in zip(asked, digests, strict=True)
    ]
    columns = [
        pa.array(np.array(keys, np.uint64)),
        pa.array(np.array(digests, np.uint64)),
        pa.array([own] * len(rows), pa.bool_()),
        pa.array([bool(text) for text in asked], pa.bool_()),
        pa.array(asked, pa.large_string()),
        pa.array([answers[row] for row in rows], pa.large_string()),
        *(pa.array([getattr(shard.lots[row], name) for row in rows]) for name in LOT_NAMES),
    ]
    table = pa.Table.from_arrays(
        [column.cast(kind) for column, kind in zip(columns, RECORDS.types, strict=True)],
        schema=RECORDS,
    )
    return LotRecords(table, len(shard.rejects), shard.table.num_rows - len(rows))


def _join_texts(segments: Segments, roles: Sequence[str]) -> dict[int, str]:
    """Return the answers or messages of each row that has any, joined."""
    indices = segments.find_in_scope(roles, ("answer",))
    texts = segments.text.take(pa.array(indices)).to_pylist()
    found: dict[int, list[str]] = {}
    for row, text in zip(segments.rows[indices].tolist(), texts, strict=True):
        if text.strip():
            found.setdefault(row, []).append(text)
    return {row: JOINT.join(parts) for row, parts in found.items()}


def _to_hash(digest: str) -> int:
    return int(digest[:HASH_DIGITS], 16)
