"""Survey of the input: which files, which rows, one schema, and the deterministic cut into shards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

import orjson
import pyarrow as pa

from schemas.corpora import EXPANSION_FLOOR, ShardLimits
from schemas.digests import digest_config
from schemas.errors import InputError
from transforms.files import storage
from transforms.files.footers import check_footer, open_parquet, without_views
from transforms.files.json_shapes import Shape, settled_schema

Kind = Literal["parquet", "jsonl"]
Compression = Literal["none", "gzip", "zstd"]

MAGIC = {
    b"PAR1": ("parquet", "none"),
    b"\x1f\x8b": ("jsonl", "gzip"),
    b"\x28\xb5\x2f\xfd": ("jsonl", "zstd"),
    b"\x50\x2a\x4d\x18": (
        "jsonl",
        "zstd",
    ),  # a skippable frame, which pzstd writes before each other
}
BOM = b"\xef\xbb\xbf"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
SUFFIXES = (
    ".parquet",
    ".jsonl",
    ".ndjson",
    ".json",
    ".jsonl.gz",
    ".jsonl.zst",
    ".json.gz",
    ".json.zst",
    ".ndjson.gz",
    ".ndjson.zst",
)
MAX_LINE_BYTES = 64 << 20
"""A longer line is a reject: one record of that size is damage, and would outgrow any shard."""


class Cut(NamedTuple):
    """A place where a shard may begin: before this row, at this byte, in this row group (Parquet)."""

    row: int
    byte: int
    group: int


@dataclass(frozen=True)
class Source:
    """One input file as the survey found it. `name` is its path below the inputs' common folder."""

    name: str
    uri: str
    kind: Kind
    compression: Compression
    size: int
    sha256: str
    rows: int
    cuts: tuple[Cut, ...]
    schema: Any = field(default=None, repr=False)
    shape: Shape | None = field(default=None, repr=False)


class Piece(NamedTuple):
    """Contiguous rows of one source."""

    source: str
    uri: str
    sha256: str
    kind: Kind
    compression: Compression
    begin: Cut
    end: Cut
    unfolded: int = EXPANSION_FLOOR
    """The most bytes that its rows may be as Arrow arrays."""

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return self.end.row - self.begin.row


class ShardPlan(NamedTuple):
    """A shard before it is read; `name` says its place in the corpus and the digest of what it holds."""

    name: str
    pieces: tuple[Piece, ...]

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return sum(piece.rows for piece in self.pieces)


class Corpus(NamedTuple):
    """The surveyed input: its sources in order, the one schema they share, and what in the folders was left aside."""

    sources: tuple[Source, ...]
    schema: pa.Schema
    ignored: tuple[str, ...]


def survey(patterns: Sequence[str], limits: ShardLimits) -> Corpus:
    """Read every input file once, for its digest, rows and schema, and settle the corpus's schema.

    Raises: InputError: A pattern matches nothing, a file can't be read, or the files can't share a schema.
    """
    found = [item for pattern in patterns for item in storage.find(pattern)]
    named = {str(Path(pattern)) if storage.is_local(pattern) else pattern for pattern in patterns}
    chosen = sorted(
        {
            item.uri: item for item in found if item.uri.endswith(SUFFIXES) or item.uri in named
        }.values()
    )
    ignored = sorted({item.uri for item in found} - {item.uri for item in chosen})
    if not chosen:
        raise InputError(
            f"holds no {', '.join(SUFFIXES[:4])} file (plain, .gz or .zst)",
            where=", ".join(patterns),
        )
    for item in chosen:
        if not item.uri.isprintable() and any("\ud800" <= char <= "\udfff" for char in item.uri):
            raise InputError(
                "has a name that isn't UTF-8",
                where=item.uri,
                remedy="rename it: the ledger names every row's file",
            )
    names = _names([item.uri for item in chosen])
    with ThreadPoolExecutor(4) as pool:
        sources = tuple(
            pool.map(
                lambda pair: survey_file(pair[0].uri, pair[1], limits),
                zip(chosen, names, strict=True),
            )
        )
    return Corpus(sources, shared_schema(sources), tuple(ignored))


def _names(uris: Sequence[str]) -> list[str]:
    """Name each file by its path below the deepest folder that holds them all."""
    paths = [PurePosixPath(uri) for uri in uris]
    shared = 0
    for parts in zip(*(path.parent.parts for path in paths), strict=False):
        if len(set(parts)) > 1:
            break
        shared += 1
    return ["/".join(path.parts[shared:]) for path in paths]


def survey_file(uri: str, name: str, limits: ShardLimits) -> Source:
    """Survey one file, deciding by its first bytes what it is.

    Raises: InputError: It can't be opened, is empty, is truncated, or is of no known kind.
    """
    with storage.open_raw(uri) as stream:
        kind, compression = _kind(stream.read(4), uri)
    with storage.open_raw(uri) as stream:
        digest, size = _digest(stream)
    try:
        if kind == "parquet":
            rows, cuts, schema, shape = *_survey_parquet(uri, size, limits), None
        else:
            rows, cuts, schema, shape = *_survey_jsonl(uri, compression, size, limits), None
            schema, shape = None, schema
    except (OSError, EOFError, UnicodeDecodeError, pa.ArrowException) as error:
        raise InputError(
            f"can't be read as {kind} ({compression}): {error}",
            where=uri,
            remedy="check that the file is whole",
        ) from error
    return Source(name, uri, kind, compression, size, digest, rows, cuts, schema, shape)


def _kind(head: bytes, uri: str) -> tuple[Any, Any]:
    for magic, found in MAGIC.items():
        if head.startswith(magic):
            return found
    if head.startswith(UTF_16):
        raise InputError(
            "is UTF-16",
            where=uri,
            remedy="JSON Lines is UTF-8: iconv -f UTF-16 -t UTF-8 FILE > FILE.jsonl",
        )
    if head.removeprefix(BOM).lstrip().startswith(b"["):
        raise InputError(
            "is one JSON array, not JSON Lines",
            where=uri,
            remedy="write one object a line: jq -c '.[]' FILE > FILE.jsonl",
        )
    if not head:
        raise InputError("is empty", where=uri, remedy="remove it from the input")
    return "jsonl", "none"


def _digest(stream: Any) -> tuple[str, int]:
    state, size = hashlib.sha256(), 0
    while block := stream.read(1 << 20):
        state.update(block)
        size += len(block)
    return state.hexdigest(), size


def _survey_parquet(
    uri: str, size: int, limits: ShardLimits
) -> tuple[int, tuple[Cut, ...], pa.Schema]:
    with storage.open_raw(uri) as stream:
        file = open_parquet(stream)
        check_footer(file, uri, size, limits)
        groups = [file.metadata.row_group(place) for place in range(file.metadata.num_row_groups)]
        sizes = [(group.num_rows, group.total_byte_size) for group in groups]
        return (
            file.metadata.num_rows,
            tuple(_group_cuts(sizes, limits)),
            without_views(file.schema_arrow),
        )


def _group_cuts(sizes: Sequence[tuple[int, int]], limits: ShardLimits) -> Iterator[Cut]:
    """Cut between row groups while they are small, and inside those that are larger than a shard may be."""
    row = bytes_ = 0
    held_rows = held_bytes = 0
    yield Cut(0, 0, 0)
    for group, (rows, size) in enumerate(sizes):
        if not rows:
            continue
        if held_rows and (held_rows + rows > limits.rows or held_bytes + size > limits.bytes):
            yield Cut(row, bytes_, group)
            held_rows = held_bytes = 0
        step = max(1, min(limits.rows, rows * limits.bytes // max(size, 1)))
        inside = list(range(step, rows, step)) if rows > step else []
        yield from (Cut(row + place, bytes_ + size * place // rows, group) for place in inside)
        held_rows, held_bytes = (
            (rows - inside[-1], size * (rows - inside[-1]) // rows)
            if inside
            else (held_rows + rows, held_bytes + size)
        )
        row, bytes_ = row + rows, bytes_ + size
    if row:
        yield Cut(row, bytes_, len(sizes))


def _survey_jsonl(
    uri: str, compression: Compression, size: int, limits: ShardLimits
) -> tuple[int, tuple[Cut, ...], Shape]:
    shape, cuts, row, end = Shape(), [Cut(0, 0, 0)], 0, 0
    with open_lines(uri, compression) as stream:
        for offset, line in lines(Unfolding(stream, uri, size, limits)):
            if row - cuts[-1].row >= limits.rows or (
                row > cuts[-1].row and offset - cuts[-1].byte + len(line) > limits.bytes
            ):
                cuts.append(Cut(row, offset, 0))
            observe(shape, line)
            row, end = row + 1, offset + len(line)
    if not row:
        raise InputError(
            "holds no JSON object",
            where=uri,
            remedy="JSON Lines has one object a line; remove an empty file (often a part of an export that failed) from the input",
        )
    return row, (*cuts, Cut(row, end, 0)), shape


def observe(shape: Shape, line: bytes) -> None:
    """Take a line's fields into account, unless it is no JSON object: that is for the reader to reject."""
    if len(line) > MAX_LINE_BYTES:
        return
    try:
        value = orjson.loads(line.removeprefix(BOM))
    except orjson.JSONDecodeError:
        return
    if isinstance(value, dict):
        shape.see(value)


def open_lines(uri: str, compression: Compression) -> Any:
    """Open a JSON Lines file for reading, decompressed."""
    stream = storage.open_raw(uri)
    return (
        stream
        if compression == "none"
        else pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), compression)
    )


class Unfolding:
    """A decompressed stream that stops when it has become larger than its file may unfold to."""

    def __init__(self, stream: Any, uri: str, size: int, limits: ShardLimits) -> None:
        self._stream, self._uri, self._size, self._limits = stream, uri, size, limits
        self._left = limits.compute_max_bytes(size)

    def read(self, size: int) -> bytes:
        """Read on.

        Raises: InputError: The file has unfolded to more than it may.
        """
        block: bytes = self._stream.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise self._limits.build_expansion_error(self._uri, self._size)
        return block


def lines(stream: Any) -> Iterator[tuple[int, bytes]]:
    """Yield each line that isn't blank with its byte offset; of one beyond `MAX_LINE_BYTES`, its beginning and one byte more."""
    offset, held, skipping = 0, b"", 0
    while True:
        block = stream.read(1 << 20)
        parts = (held + block).split(b"\n")
        held = parts.pop() if block else b""
        for part in parts:
            if skipping:
                offset, skipping = offset + skipping + len(part) + 1, 0
                continue
            if part.strip():
                yield offset, part
            offset += len(part) + 1
        if skipping or len(held) > MAX_LINE_BYTES:
            if not skipping:
                yield offset, held[: MAX_LINE_BYTES + 1]
            skipping, held = skipping + len(held), b""
        if not block:
            return


def shared_schema(sources: Sequence[Source]) -> pa.Schema:
    """Settle the schema that every source shares.

    Raises: InputError: Two sources differ in a column's name, type or place, or Parquet and JSON Lines stand side by side.
    """
    shapes = [source.shape for source in sources if source.shape is not None]
    if shapes and len(shapes) < len(sources):
        odd = next(source for source in sources if source.shape is None)
        raise InputError(
            "Parquet and JSON Lines in one run",
            where=f"{odd.uri} beside {next(s.uri for s in sources if s.shape)}",
            remedy="filter them in two runs",
        )
    if shapes:
        merged = Shape()
        for shape in shapes:
            merged.merge(shape)
        if not merged.fields:
            raise InputError(
                "holds no JSON object",
                where=", ".join(source.uri for source in sources),
                remedy="JSON Lines has one object a line",
            )
        return settled_schema(merged)
    first = sources[0]
    for other in sources[1:]:
        _require_same(first, other)
    return first.schema


def require_columns(sources: Iterable[Source], columns: Iterable[str]) -> None:
    """Check that every file of JSON Lines fills some column of the format: in one schema with others, a file without them has nulls.

    Raises: InputError: One fills none.
    """
    wanted = list(columns)
    for source in sources:
        filled = (
            [name for name, shape in source.shape.fields.items() if shape.counts]
            if source.shape
            else []
        )
        if filled and not set(wanted) & set(filled):
            raise InputError(
                f"no row has {' or '.join(map(repr, wanted))}, which the other files' format reads: it has {', '.join(filled)}",
                where=source.uri,
                remedy="filter files of each format in a run of their own",
            )


def _require_same(first: Source, other: Source) -> None:
    if first.schema.equals(other.schema, check_metadata=False):
        return
    mine = {item.name: str(item.type) for item in first.schema}
    theirs = {item.name: str(item.type) for item in other.schema}
    differing = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
    detail = (
        ", ".join(
            f"{name!r}: {mine.get(name, 'absent')} against {theirs.get(name, 'absent')}"
            for name in differing
        )
        or "the columns' order"
    )
    raise InputError(
        f"can't share a schema with {other.uri}: {detail}",
        where=first.uri,
        remedy="make the files alike, or filter them in separate runs",
    )


def plan_shards(sources: Iterable[Source], limits: ShardLimits) -> list[tuple[ShardPlan, ...]]:
    """Cut the corpus into shards, grouped into the tasks that read them.

    A task is one shard, except where rows can't be reached without reading those before them (a compressed file, a
    large Parquet row group): those shards are read in one sweep. Small files share a shard, each whole.
    """
    groups: list[list[tuple[Piece, ...]]] = []
    small: list[Piece] = []
    for source in sources:
        pieces = _pieces(source, limits)
        if len(pieces) == 1 and _fits([*small, *pieces], limits):
            small += pieces
            continue
        if small:
            groups.append([tuple(small)])
            small = []
        if len(pieces) == 1:
            small = pieces
        else:
            groups += _sweeps(pieces)
    if small:
        groups.append([tuple(small)])
    return _named(groups)


def _pieces(source: Source, limits: ShardLimits) -> list[Piece]:
    most = limits.compute_max_bytes(source.size)
    return [
        Piece(source.name, source.uri, source.sha256, source.kind, source.compression, a, b, most)
        for a, b in pairwise(source.cuts)
    ]


def _fits(pieces: Sequence[Piece], limits: ShardLimits) -> bool:
    return (
        sum(p.rows for p in pieces) <= limits.rows
        and sum(p.end.byte for p in pieces) <= limits.bytes
    )


def _sweeps(pieces: Sequence[Piece]) -> list[list[tuple[Piece, ...]]]:
    sweeps: list[list[tuple[Piece, ...]]] = []
    for piece in pieces:
        together = piece.compression != "none" or (
            piece.kind == "parquet"
            and bool(sweeps)
            and sweeps[-1][-1][0].end.group == piece.begin.group
            and _inside(piece.begin, pieces)
        )
        if together and sweeps:
            sweeps[-1].append((piece,))
        else:
            sweeps.append([(piece,)])
    return sweeps


def _inside(begin: Cut, pieces: Sequence[Piece]) -> bool:
    """Say whether a cut lies inside its row group: another cut names the same group."""
    return sum(piece.begin.group == begin.group for piece in pieces) > 1


def _named(groups: Sequence[Sequence[tuple[Piece, ...]]]) -> list[tuple[ShardPlan, ...]]:
    place, tasks = 0, []
    for group in groups:
        plans = []
        for pieces in group:
            identity = digest_config([(p.source, p.sha256, p.begin.row, p.end.row) for p in pieces])
            plans.append(ShardPlan(f"part-{place:06d}-{identity[:12]}", pieces))
            place += 1
        tasks.append(tuple(plans))
    return tasks
