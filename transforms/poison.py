"""Rows on which work fails: found by halving, tried once more alone, and turned into rejects; the others go on without them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import orjson
import pyarrow as pa

from schemas.errors import CongenerError, RowError, out_of_memory
from transforms.files.shards import RAW_LIMIT, Reject, Shard, row_mask

Result = TypeVar("Result")

FEWEST_TO_BLAME = 10
"""Where so many rows or more fail to the last one, the fault isn't theirs."""

LONGEST_REASON = 300
ADDRESS = re.compile(r"\b0x[0-9a-f]+\b")
PANIC = "PanicException"
"""What Rust code (tokenizers) raises where it should have returned an error; it is no `Exception`."""


def spared(
    size: int, attempt: Callable[[Sequence[int]], Result], stage: str
) -> tuple[Result, dict[int, str]]:
    """Do work on rows 0 to `size` - 1; where it fails, on all but those on which it fails alone as well.

    Returns what the work gives, and the reason for each row that was left out.

    Raises: Exception: The work's own, where it is no row's fault: lack of memory, a model that can't be had, every row of many.
    """
    rows = range(size)
    try:
        return attempt(rows), {}
    except BaseException as error:
        if not size or not blames_a_row(error):
            raise
        first = error
    reasons = dict(_failing(rows, attempt, stage))
    if len(reasons) == size >= FEWEST_TO_BLAME:
        raise RowError(
            f"{stage} fails on every one of {size} rows, the first time with: {reasons[0]}"
        ) from first
    return attempt([row for row in rows if row not in reasons] if reasons else rows), reasons


def _failing(
    rows: Sequence[int], attempt: Callable[[Sequence[int]], object], stage: str
) -> Iterator[tuple[int, str]]:
    """Yield the rows on which work fails, each tried alone."""
    for part in [rows] if len(rows) == 1 else (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
        try:
            attempt(part)
        except BaseException as error:
            if not blames_a_row(error):
                raise
            if len(part) == 1:
                yield part[0], reason(error, stage)
            else:
                yield from _failing(part, attempt, stage)


def blames_a_row(error: BaseException) -> bool:
    """Say whether an error may be a row's fault: not a lack of memory, a disk's error, or one of ours that names another cause."""
    if isinstance(error, RowError):
        return True
    if out_of_memory(error) or isinstance(error, (CongenerError, OSError)):
        return False
    return isinstance(error, Exception) or type(error).__name__ == PANIC


def reason(error: BaseException, stage: str) -> str:
    """Write an error as a reject's reason, without what differs from one process to the next."""
    told = (
        f"{error.where} {error.problem}"
        if isinstance(error, RowError)
        else f"{type(error).__name__}: {error}"
    )
    return f"{stage} fails: {ADDRESS.sub('0x…', told)}"[:LONGEST_REASON]


def kept(shard: Shard, rows: Sequence[int]) -> Shard:
    """Return a shard of some rows of another, given by their places in its table, without its rejects."""
    if len(rows) == shard.table.num_rows:
        return Shard(shard.plan, shard.table, shard.sources, shard.numbers)
    table = shard.table.filter(row_mask(shard.table.num_rows, rows))
    return Shard(
        shard.plan,
        table,
        [shard.sources[row] for row in rows],
        [shard.numbers[row] for row in rows],
    )


def with_rejects(part: Shard, whole: Shard, reasons: Mapping[int, str]) -> Shard:
    """Return a part of a shard with the whole one's rejects and, for each row that was left out, one more; in the input's order."""
    if not reasons:
        return Shard(part.plan, part.table, part.sources, part.numbers, whole.rejects)
    order = {piece.source: at for at, piece in enumerate(whole.plan.pieces)}
    more = [
        Reject(whole.sources[row], whole.numbers[row], None, text, raw_row(whole.table, row))
        for row, text in reasons.items()
    ]
    rejects = sorted([*whole.rejects, *more], key=lambda reject: (order[reject.source], reject.row))
    return Shard(part.plan, part.table, part.sources, part.numbers, rejects)


def raw_row(table: pa.Table, row: int) -> bytes:
    """Return a row as JSON, as far as it is kept; a value that can't be read as its type says is given as text."""
    values = {name: _value(table.column(name)[row]) for name in table.column_names}
    return orjson.dumps(values, default=str, option=orjson.OPT_NON_STR_KEYS)[:RAW_LIMIT]


def _value(scalar: Any) -> Any:
    try:
        value = scalar.as_py()
        orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the rest of the row is kept
        buffer = (
            scalar.as_buffer()
            if isinstance(scalar, (pa.StringScalar, pa.LargeStringScalar))
            else None
        )
        return (
            f"<{type(error).__name__}>"
            if buffer is None
            else buffer.to_pybytes().decode("utf-8", "backslashreplace")
        )
    return value
