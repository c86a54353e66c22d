"""A sample of a corpus: the first rows of its files, read as in the run."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

import pyarrow as pa

from schemas.corpora import ShardLimits
from schemas.notices import format_count
from transforms.files.json_lines import parse_line
from transforms.files.planning import ShardPlan, SourcePiece
from transforms.files.shards import Shard, read_task
from transforms.files.sources import Corpus, Source
from transforms.files.surveys import Cut
from transforms.records.column_types import is_text
from transforms.records.columns import is_list
from transforms.records.flags import FLAGS, SPAN_FLAGS, UNREAD_SIGN
from transforms.records.formats import Layout
from transforms.records.plain_values import list_rows

MOST_FILES = 500
MOST_ROWS = 1_000
FEWEST_ROWS = 8
"""The smallest number of rows per file, unless the rows are long."""

MOST_BYTES = 64 << 20
"""The largest estimated size of the whole sample, in bytes."""


NO_TEXT = frozenset(("null", "empty", "bool", "number"))
"""The kinds of JSON values without text."""


class Sample(NamedTuple):
    """The first rows of some files, and the number of files in the corpus."""

    shards: tuple[Shard, ...]
    files: int

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return sum(shard.table.num_rows for shard in self.shards)

    def merge(self) -> Shard | None:
        """Return all rows as one shard, or None without rows."""
        if not self.shards:
            return None
        lines = [line for shard in self.shards for line in shard.lines or ()]
        return replace(
            self.shards[0],
            table=pa.concat_tables([shard.table for shard in self.shards]),
            sources=[name for shard in self.shards for name in shard.sources],
            numbers=[number for shard in self.shards for number in shard.numbers],
            lines=None if self.shards[0].lines is None else lines,
        )

    def describe(self) -> str:
        """Return a phrase that says how large the sample is."""
        files = (
            f"{len(self.shards):,} of {self.files:,}" if len(self.shards) < self.files else "all"
        )
        rows = format_count(self.rows, "row")
        return f"a sample of {rows} (the first rows of {files} files)"


def read_sample(corpus: Corpus, layout: Layout, limits: ShardLimits) -> Sample:
    """Read the first rows of at most `MOST_FILES` evenly spread files.

    Raises: InputError: a file can't be read.
    """
    chosen = _spread(corpus.sources)
    schema = corpus.select_schema(layout)
    plans = [_plan_piece(source, len(chosen), limits) for source in chosen]
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda plan: list(read_task([plan], schema)), plans)
        return Sample(tuple(shard for shards in found for shard in shards), len(corpus.sources))


def _spread(sources: Sequence[Source]) -> list[Source]:
    step = max(1, -(-len(sources) // MOST_FILES))
    return list(sources[::step])


def _plan_piece(source: Source, files: int, limits: ShardLimits) -> ShardPlan:
    """Return a plan for a file's first rows. The longer the rows, the fewer are read."""
    average = max(1, source.cuts[-1].byte // max(1, source.rows))
    rows = min(
        source.rows,
        max(FEWEST_ROWS, MOST_ROWS // files),
        max(1, MOST_BYTES // files // average),
    )
    piece = SourcePiece(
        source.name,
        source.uri,
        source.sha256,
        source.kind,
        source.compression,
        Cut(0, 0, 0),
        Cut(rows, rows * average, 1),
        limits.compute_max_bytes(source.size),
        source.fingerprint,
    )
    return ShardPlan("sample", (piece,))


def list_objects(shard: Shard) -> list[Mapping[str, Any] | None]:
    """Return a shard's rows without binary columns, such as images.

    A Parquet row with invalid UTF-8 becomes None.
    """
    if shard.lines is not None:
        return [parse_line(line)[0] for line in shard.lines]
    table = shard.table
    table = table.select([item.name for item in table.schema if not _is_bytes(item.type)])
    try:
        return list(list_rows(table))
    except UnicodeDecodeError:
        return [_read_row(table.slice(row, 1)) for row in range(table.num_rows)]


def _read_row(table: pa.Table) -> Mapping[str, Any] | None:
    try:
        return list_rows(table)[0]
    except UnicodeDecodeError:
        return None


def take_values(sample: Sample, names: Sequence[str]) -> dict[str, list[Any]]:
    """Return some columns' values in a sample, without rows with invalid UTF-8."""
    found: dict[str, list[Any]] = {name: [] for name in names}
    for shard in sample.shards if names else ():
        if shard.lines is None:
            own = [name for name in names if name in shard.table.column_names]
            shard = replace(shard, table=shard.table.select(own))  # noqa: PLW2901
        for row in list_objects(shard):
            for name, value in (row or {}).items():
                if name in found:
                    found[name].append(value)
    return found


def list_flagged(sample: Sample) -> Iterator[Mapping[str, Any]]:
    """Yield the sampled rows whose messages may have an unreadable flag."""
    for shard in sample.shards:
        if shard.lines is not None:
            yield from (parse_line(line)[0] for line in shard.lines if UNREAD_SIGN.search(line))
        elif any(_has_unread_flags(item.type) for item in shard.table.schema):
            yield from filter(None, list_objects(shard))


def _has_unread_flags(kind: pa.DataType) -> bool:
    """Return whether a type holds messages with a flag that is text, a list or a struct."""
    kind = kind.value_type if is_list(kind) else kind
    return pa.types.is_struct(kind) and any(
        item.name in (*FLAGS, *SPAN_FLAGS) and (is_text(item.type) or pa.types.is_nested(item.type))
        for item in kind
    )


def find_unsampled(corpus: Corpus, columns: Container[str]) -> tuple[str, ...]:
    """Return the corpus's text and nested columns that aren't in `columns`."""
    if corpus.sources[0].kinds is None:
        kinds = {item.name: item.type for item in corpus.schema}
        names = [name for name, kind in kinds.items() if is_text(kind) or pa.types.is_nested(kind)]
    else:
        counts = [source.kinds.counts for source in corpus.sources if source.kinds]
        names = [name for item in counts for name, found in item.items() if set(found) - NO_TEXT]
    return tuple(sorted(name for name in set(names) if name not in columns))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
