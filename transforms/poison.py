"""Bisect a shard to find the rows on which work fails, and reject them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import orjson
import pyarrow as pa

from schemas.errors import (
    CongenerError,
    MachineError,
    RowError,
    describe_machine_fault,
    find_machine_fault,
    is_card_fault,
    is_out_of_memory,
    walk_causes,
)
from transforms.files.shards import RAW_LIMIT, Reject, Shard, build_row_mask
from transforms.records.plain_values import list_values

Result = TypeVar("Result")

FEWEST_TO_BLAME = 10
"""If this many rows or more all fail, the rows aren't at fault."""

LONGEST_REASON = 300

PAUSES = (0.2, 1.0, 3.0)
"""Seconds between attempts while the machine lacks threads or file handles."""

ADDRESS = re.compile(r"\b0x[0-9a-f]+\b")

PANIC = "PanicException"
"""The class of a Rust panic, which isn't a subclass of `Exception`."""


def isolate_failures(
    size: int, attempt: Callable[[Sequence[int]], Result], stage: str
) -> tuple[Result, dict[int, str]]:
    """Do work on rows 0 to `size` - 1, without the rows that make the work fail.

    Returns the result, and the reason for each omitted row. A row is omitted if it fails twice
    alone while other rows pass. A temporary lack of threads or file handles only costs time.

    Raises:
        RowError: every row fails, and there are at least `FEWEST_TO_BLAME` rows.
        MachineError: memory, threads or file handles run out; a device fails; or rows that passed
            earlier fail now.
        Exception: the work's own error, if it can't be a row's fault.
    """
    rows = range(size)
    attempt = partial(_work, attempt)
    try:
        return attempt(rows), {}
    except BaseException as error:
        if not size or not may_be_row_fault(error):
            raise
        first = error
    suspects = [row for row, _ in _find_failing(rows, attempt, stage)]
    reasons = _confirm_failing(suspects, rows, attempt, stage)
    if len(reasons) == size >= FEWEST_TO_BLAME:
        raise RowError(
            f"{stage} fails on all {size} rows; the first error is: {reasons[0]}",
            remedy="check the models, the cards and the configuration; the rows aren't the cause",
        ) from first
    left = [row for row in rows if row not in reasons] if reasons else rows
    return _repeat(left, attempt, stage), reasons


def _work(attempt: Callable[[Sequence[int]], Result], rows: Sequence[int]) -> Result:
    """Do work, and retry after a pause if threads or file handles run out.

    Raises: MachineError: every attempt fails, or the machine fails in another way. Exception: the
    work's own error.
    """
    for pause in (*PAUSES, None):
        try:
            return attempt(rows)
        except BaseException as error:
            if isinstance(error, CongenerError) or not (fault := describe_machine_fault(error)):
                raise
            if pause is None or any(map(_needs_no_wait, walk_causes(error))):
                raise fault from error
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _needs_no_wait(error: BaseException) -> bool:
    """Return whether a pause doesn't help: memory ran out, or a GPU can't be used."""
    return is_out_of_memory(error) or is_card_fault(error)


def _confirm_failing(
    suspects: Sequence[int],
    rows: Sequence[int],
    attempt: Callable[[Sequence[int]], object],
    stage: str,
) -> dict[int, str]:
    """Return the suspects that fail again, with reasons.

    After each failure, a good row is tried again. If it fails too, the suspect isn't the cause.

    Raises: MachineError: a good row fails now.
    """
    others, reasons = set(suspects), dict[int, str]()
    control = next((row for row in rows if row not in others), None)
    for row in suspects:
        reasons |= _find_failing([row], attempt, stage)
        if row in reasons and control is not None:
            _repeat([control], attempt, stage)
    return reasons


def _repeat(rows: Sequence[int], attempt: Callable[[Sequence[int]], Result], stage: str) -> Result:
    """Repeat work that has already succeeded.

    Raises: MachineError: the work fails with an error that might be a row's fault. Exception: the
    work's own error.
    """
    try:
        return attempt(rows)
    except BaseException as error:
        if not rows or not may_be_row_fault(error):
            raise
        raise MachineError(
            f"{describe_failure(error, stage)}, on {len(rows)} rows that passed alone before",
            remedy="run the same command again; if it fails again, please report it",
        ) from error


def _find_failing(
    rows: Sequence[int], attempt: Callable[[Sequence[int]], object], stage: str
) -> Iterator[tuple[int, str]]:
    """Yield the rows that fail even when they are processed one by one, with reasons."""
    for part in [rows] if len(rows) == 1 else (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
        try:
            attempt(part)
        except BaseException as error:
            if not may_be_row_fault(error):
                raise
            if len(part) == 1:
                yield part[0], describe_failure(error, stage)
            else:
                yield from _find_failing(part, attempt, stage)


def may_be_row_fault(error: BaseException) -> bool:
    """Return whether an error may be a row's fault.

    A lack of memory, threads or file handles isn't a row's fault. Nor is a failing device, a
    missing module or any other congener error.
    """
    if isinstance(error, RowError):
        return True
    if any(isinstance(item, CongenerError | OSError | ImportError) for item in walk_causes(error)):
        return False
    if find_machine_fault(error):
        return False
    return isinstance(error, Exception) or type(error).__name__ == PANIC


def describe_failure(error: BaseException, stage: str) -> str:
    """Describe an error as a reject's reason, with equal text in all processes."""
    problem = (
        " ".join(filter(None, (error.where, error.problem)))
        if isinstance(error, RowError)
        else f"{type(error).__name__}: {error}"
    )
    return f"{stage} fails: {ADDRESS.sub('0x…', problem)}"[:LONGEST_REASON]


def keep_rows(shard: Shard, rows: Sequence[int]) -> Shard:
    """Return a shard with only the given rows and no rejects.

    `rows` are ascending indices.
    """
    if len(rows) == shard.table.num_rows:
        return Shard(shard.plan, shard.table, shard.sources, shard.numbers, lines=shard.lines)
    table = shard.table.filter(build_row_mask(shard.table.num_rows, rows))
    return Shard(
        shard.plan,
        table,
        [shard.sources[row] for row in rows],
        [shard.numbers[row] for row in rows],
        lines=None if shard.lines is None else [shard.lines[row] for row in rows],
    )


def add_rejects(part: Shard, whole: Shard, reasons: Mapping[int, str]) -> Shard:
    """Return `part` with all rejects of `whole`, and a new reject for each omitted row.

    `reasons` maps indices of omitted rows in the whole table to reasons. The rejects are in input
    order.
    """
    if not reasons:
        return replace_rejects(part, whole.rejects)
    order = {piece.source: index for index, piece in enumerate(whole.plan.pieces)}
    more = [
        Reject(whole.sources[row], whole.numbers[row], None, text, _get_raw_row(whole, row))
        for row, text in reasons.items()
    ]
    rejects = sorted([*whole.rejects, *more], key=lambda reject: (order[reject.source], reject.row))
    return replace_rejects(part, rejects)


def replace_rejects(shard: Shard, rejects: list[Reject]) -> Shard:
    """Return the same rows as a plain `Shard` with these rejects."""
    lines = shard.lines
    return Shard(shard.plan, shard.table, shard.sources, shard.numbers, rejects, lines)


def _get_raw_row(shard: Shard, row: int) -> bytes:
    """Return a row's original bytes or its JSON, cut to `RAW_LIMIT` bytes."""
    return encode_row(shard.table, row) if shard.lines is None else shard.lines[row][:RAW_LIMIT]


def encode_row(table: pa.Table, row: int) -> bytes:
    """Return a row as JSON, cut to `RAW_LIMIT` bytes.

    A value that can't be converted becomes its escaped bytes or the error's name.
    """
    values = {name: _convert_value(table.column(name).slice(row, 1)) for name in table.column_names}
    return orjson.dumps(values, default=str)[:RAW_LIMIT]


def _convert_value(column: pa.ChunkedArray) -> Any:
    """Return the value of a one-row column for JSON."""
    scalar = column[0]
    try:
        (value,) = list_values(column)
        orjson.dumps(value, default=str)
    except Exception as error:  # noqa: BLE001 - whatever the damage, the rest is still useful
        is_text = isinstance(scalar, (pa.StringScalar, pa.LargeStringScalar))
        buffer = scalar.as_buffer() if is_text else None
        if buffer is None:
            return f"<{type(error).__name__}>"
        return buffer.to_pybytes().decode("utf-8", "backslashreplace")
    return value
