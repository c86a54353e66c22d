"""Hashes of rows' prompts, by which answers to the same prompt are found."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from schemas.digests import digest_bytes
from transforms.lot_records import HASH_DIGITS
from transforms.records.prompt_keys import squeeze
from transforms.records.segments import Segments

NO_PROMPT = 0
"""The hash of a row without a prompt."""


def hash_prompts(segments: Segments, rows: int) -> np.ndarray:
    """Return a hash of each row's prompt, uint64 [rows].

    The prompt is everything that users and tools say, with single spaces. What system prompts and
    earlier answers say doesn't count, so different teachers' rows have equal prompts.
    """
    roles = tuple(name for name in segments.role_names if name not in ("assistant", "system"))
    indices = segments.find_in_scope(roles, ("answer",))
    texts = segments.text.take(pa.array(indices)).to_pylist()
    parts: dict[int, list[str]] = {}
    for row, text in zip(segments.rows[indices].tolist(), texts, strict=True):
        if found := squeeze(text):
            parts.setdefault(row, []).append(found)
    hashes = np.full(rows, NO_PROMPT, np.uint64)
    for row, own in parts.items():
        hashes[row] = int(digest_bytes("\n\n".join(own).encode())[:HASH_DIGITS], 16)
    return hashes
