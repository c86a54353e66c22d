"""The survey of the input: its files, their rows and cuts, and their shared schema."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pyarrow as pa

from schemas.corpora import ShardLimits
from schemas.errors import InputError
from schemas.notices import Notice, list_names, warn
from transforms.files import storage
from transforms.files.compression import Compression
from transforms.files.dataset_cards import CARD, DatasetCard, Splits, explain_unread, read_card
from transforms.files.kinds import KIND_NAMES, TABLES, Kind, detect_kind, is_data_file
from transforms.files.names import NamedFile, leave_out_repeats, name_files
from transforms.files.partitions import read_folder_columns, read_partitions
from transforms.files.patterns import SYSTEM_FOLDER
from transforms.files.reconciliation import Reconciled, TableSchema, reconcile
from transforms.files.side_files import leave_out_side_files, refuse_unfinished_run
from transforms.files.stems import build_stem
from transforms.files.surveys import Cut, survey_content
from transforms.records.columns import find_type, is_path
from transforms.records.formats import Layout
from transforms.records.json_columns import ColumnKinds, select_columns
from transforms.records.usual_names import USUAL_PATHS

NAMED_SUFFIXES = (".parquet", ".arrow", ".jsonl", ".json", ".csv")

FILES_NAMED = 5


@dataclass(frozen=True)
class Source:
    """A surveyed input file.

    `name` is the file's path below the given folders.
    """

    name: str
    uri: str
    kind: Kind
    compression: Compression
    size: int
    sha256: str
    rows: int
    cuts: tuple[Cut, ...]
    schema: Any = field(default=None, repr=False)
    kinds: ColumnKinds | None = field(default=None, repr=False)
    """The kinds of values in each field of JSON Lines."""
    fingerprint: str = ""
    """The file's fingerprint (`storage.take_fingerprint`) during the survey."""
    splits: Splits = ()
    """The splits of the file in the dataset card."""
    rows_left_out: int = 0
    """The number of rows at the end of the file that a limit leaves out."""

    def list_filled(self) -> list[str]:
        """Return the columns that may have a value in some row."""
        if self.kinds is not None:
            return self.kinds.list_filled()
        return [item.name for item in self.schema or () if not pa.types.is_null(item.type)]

    def may_fill(self, column: str) -> bool:
        """Return whether a column, given by name or path, may have a value in some row."""
        if self.kinds is not None:
            return column in self.kinds.list_filled()
        kind = find_type(self.schema, column)
        return kind is not None and not pa.types.is_null(kind)


class Corpus(NamedTuple):
    """The surveyed input: its sources in order, their schema, and the files that were ignored."""

    sources: tuple[Source, ...]
    schema: pa.Schema
    ignored: tuple[str, ...]
    notices: tuple[Notice, ...] = ()
    card: DatasetCard | None = None
    """The dataset card, if it lists the files of each split."""
    rows_left_out: int = 0
    """The number of rows that a limit leaves out."""
    files_left_out: int = 0
    """The number of files with rows of which a limit leaves out every row."""

    def select_schema(self, layout: Layout) -> pa.Schema:
        """Return the schema for reading rows.

        For JSON Lines, the schema has only the needed columns.
        """
        if self.sources[0].kind in TABLES:
            return self.schema
        lots = [column for field in layout.lots.values() if (column := field.column) is not None]
        lots = [column for column in lots if column not in layout.keys]
        lots += [layout.rejected_teacher] if layout.rejected_teacher is not None else []
        columns = dict(layout.columns)
        if (role := columns.pop("role", None)) is not None:
            lots.append(role)  # the role may have any kind, like a lot field
        return select_columns(self.schema, columns.values(), lots)

    @property
    def partitions(self) -> tuple[str, ...]:
        """Return the partition keys in folder names (`teacher=NAME/`)."""
        keys = (key for source in self.sources for key in read_partitions(source.name))
        return tuple(dict.fromkeys(keys))

    @property
    def folder_columns(self) -> tuple[str, ...]:
        """Return the partition keys, and `FOLDER` if a file is in a folder with another name."""
        keys = (key for source in self.sources for key in read_folder_columns(source.name))
        return tuple(dict.fromkeys(keys))


def survey(patterns: Sequence[str], limits: ShardLimits, paths: Iterable[str] = ()) -> Corpus:
    """Find every input file's digest, rows and schema, and settle the shared schema.

    For JSON Lines, the schema also has a column for each path in `paths` or `USUAL_PATHS` that
    exists in some row.

    Raises: InputError: a pattern matches nothing, a file can't be read, or the files can't share a
    schema.
    """
    pinned = [storage.pin(pattern) for pattern in patterns]
    found = {pattern: [item.uri for item in storage.find(pattern)] for pattern in pinned}
    chosen, ignored, notices = _choose_files(found)
    for uri in chosen:
        _require_utf8_name(uri)
    named = name_files(found)
    files, repeats = leave_out_repeats([file for file in named if file.uri in chosen])
    card, unread = _find_card(named)
    corpus = survey_named(files, limits, paths, card)
    ignored = [uri for uri in ignored if card is None or uri != card.uri]
    said = (*notices, *repeats, *unread, *corpus.notices)
    return corpus._replace(ignored=tuple(ignored), notices=said)


def survey_named(
    files: Iterable[NamedFile],
    limits: ShardLimits,
    paths: Iterable[str] = (),
    card: DatasetCard | None = None,
) -> Corpus:
    """Survey files whose names are known, and settle their shared schema, as `survey` does.

    Raises: InputError: a file can't be read, or the files can't share a schema.
    """
    # The order of output names, which rarely differs from URI order.
    ordered = sorted(files, key=lambda file: (f"{build_stem(file.name)}.part-", file.uri))
    wanted = tuple(dict.fromkeys((*filter(is_path, paths), *USUAL_PATHS)))
    with ThreadPoolExecutor(4) as pool:
        found_sources = pool.map(
            lambda file: survey_file(file.uri, file.name, limits, wanted), ordered
        )
        sources = tuple(found_sources)
    if card is not None:
        sources = tuple(replace(source, splits=card.find_splits(source.name)) for source in sources)
    schema, differences = settle_shared_schema(sources)
    return Corpus(sources, schema, (), tuple(differences), card)


def limit_rows(corpus: Corpus, rows: int) -> Corpus:
    """Return at most this many rows of a corpus, spread over its files: the first rows of each.

    Every file gives the same number of rows, and short files leave their share to the longer ones.
    If there are more files than rows, evenly spread files give one row each.
    """
    if rows >= _count_rows(corpus.sources):
        return corpus
    shares = _spread_rows([source.rows for source in corpus.sources], rows)
    given = zip(corpus.sources, shares, strict=True)
    sources = tuple(_shorten(source, share) for source, share in given if share)
    return corpus._replace(
        sources=sources,
        rows_left_out=_count_rows(corpus.sources) - _count_rows(sources),
        files_left_out=sum(source.rows > 0 for source in corpus.sources) - len(sources),
    )


def _count_rows(sources: Iterable[Source]) -> int:
    return sum(source.rows for source in sources)


def _spread_rows(counts: Sequence[int], rows: int) -> list[int]:
    """Return how many rows each file gives, from the number of rows that each file has."""
    filled = [index for index, count in enumerate(counts) if count]
    if rows < len(filled):
        filled = [filled[number * len(filled) // rows] for number in range(rows)]
    shares, left = [0] * len(counts), rows
    # from the shortest file to the longest; of equal ones, the first get the remainder
    for place, index in enumerate(sorted(filled, key=lambda index: (counts[index], -index))):
        shares[index] = min(counts[index], left // (len(filled) - place))
        left -= shares[index]
    return shares


def _shorten(source: Source, rows: int) -> Source:
    """Return a source that ends after its first rows.

    Rows are read up to a row number, so only the row of the last cut has to be exact.
    """
    if rows == source.rows:
        return source
    kept = [cut for cut in source.cuts if cut.row < rows]
    after = source.cuts[len(kept)]
    share = (rows - kept[-1].row) / (after.row - kept[-1].row)
    end = after._replace(row=rows, byte=kept[-1].byte + round(share * (after.byte - kept[-1].byte)))
    return replace(source, rows=rows, cuts=(*kept, end), rows_left_out=source.rows - rows)


def _find_card(files: Iterable[NamedFile]) -> tuple[DatasetCard | None, list[Notice]]:
    """Return the dataset card in the corpus's common folder, if any, and why it can't be read."""
    uri = next((file.uri for file in files if file.name == CARD), None)
    if uri is None:
        return None, []
    if problem := explain_unread(uri):
        effect = "so the names of files and folders decide the splits"
        return None, [warn(f"the metadata of {uri} can't be read ({problem}), {effect}")]
    return read_card(uri), []


def _choose_files(
    found: Mapping[str, Sequence[str]],
) -> tuple[set[str], list[str], list[Notice]]:
    """Return the files to read, the files that are ignored because of their names, and notices.

    A file that a pattern names in full is read, whatever its suffix.
    """
    for pattern in found:
        refuse_unfinished_run(pattern)
    named = {str(Path(pattern)) if storage.is_local(pattern) else pattern for pattern in found}
    uris = {uri for below in found.values() for uri in below}
    chosen = {uri for uri in uris if is_data_file(uri) or uri in named}
    data, notices = leave_out_side_files(chosen, named)
    if not data:
        _refuse_other_files(sorted(uris - chosen), found)
    return data, sorted(uris - chosen), notices


def _refuse_other_files(others: Sequence[str], found: Iterable[str]) -> NoReturn:
    """Refuse an input without data files. If possible, name the kind of a file in it.

    Raises: InputError: always.
    """
    files = (uri for uri in others if not SYSTEM_FOLDER.fullmatch(uri.rpartition("/")[2]))
    for uri in islice(files, FILES_NAMED):
        with storage.open_raw(uri) as stream:
            _, size = digest_stream(stream)
        with suppress(OSError):
            detect_kind(uri, size, ShardLimits())
    named = f": {', '.join(others[:FILES_NAMED])}{' …' if len(others) > FILES_NAMED else ''}"
    raise InputError(
        f"has no Parquet, Arrow, JSON or CSV files ({', '.join(NAMED_SUFFIXES)}), only "
        + (f"files with other names{named}" if others else "files that describe a data set"),
        where=", ".join(found),
        remedy="name the folder of the corpus, or give a file by its own path",
    )


def _require_utf8_name(uri: str) -> None:
    path = str(Path(uri).absolute()) if storage.is_local(uri) else uri
    if not path.isprintable() and any("\ud800" <= char <= "\udfff" for char in path):
        raise InputError(
            "has a name that isn't UTF-8, or is in a folder with such a name",
            where=path,
            remedy="rename it: the manifest and the ledger name every row's file",
        )


def survey_file(
    uri: str, name: str, limits: ShardLimits, paths: Sequence[str] = USUAL_PATHS
) -> Source:
    """Survey one file, detecting its kind from its content.

    Raises: InputError: the file can't be opened, is empty or truncated, or is of an unknown kind.
    """
    fingerprint = take_fingerprint(uri)
    found = None
    try:
        with storage.open_raw(uri) as stream:
            digest, size = digest_stream(stream)
        found = detect_kind(uri, size, limits)
        rows, cuts, schema, kinds = survey_content(uri, found, size, limits, paths)
    except (OSError, EOFError, UnicodeDecodeError, pa.ArrowException) as error:
        raise InputError(
            f"can't be read{f' as {found}' if found else ''}: {error}",
            where=uri,
            remedy="check that the file is complete",
        ) from error
    require_unchanged(uri, fingerprint)
    return Source(name, uri, *found, size, digest, rows, cuts, schema, kinds, fingerprint)


def take_fingerprint(uri: str) -> str:
    """Return a file's fingerprint.

    Raises: InputError: the file can't be reached.
    """
    try:
        return storage.take_fingerprint(uri)
    except OSError as error:
        raise InputError(
            storage.describe_failure(uri, error),
            where=uri,
            remedy="check the path and the permissions",
        ) from error


def require_unchanged(uri: str, fingerprint: str) -> None:
    """Check that a file hasn't been written or replaced since its fingerprint was taken.

    The manifest's digest must match the bytes that were read, and the survey's cuts must stay
    valid.

    Raises: InputError: the file has changed, or can't be reached any more.
    """
    if take_fingerprint(uri) != fingerprint:
        raise InputError(
            "was changed during the run, so some rows may have been read twice and others never; "
            "nothing was published",
            where=uri,
            remedy="filter a copy that nobody writes to; if the content is still the same, "
            "the same command resumes the run",
        )


def digest_stream(stream: Any) -> tuple[str, int]:
    """Return the SHA-256 of a stream in hex, and its size in bytes."""
    state, size = hashlib.sha256(), 0
    while block := stream.read(1 << 20):
        state.update(block)
        size += len(block)
    return state.hexdigest(), size


def settle_shared_schema(sources: Sequence[Source]) -> Reconciled:
    """Return the schema that all sources share.

    Raises: InputError: no schema can hold the rows of two tables without loss, or some sources are
    tables and others JSON.
    """
    kinds = [source.kinds for source in sources if source.kinds is not None]
    if kinds and len(kinds) < len(sources):
        table = next(source for source in sources if source.kinds is None)
        lines = next(source for source in sources if source.kinds is not None)
        raise InputError(
            f"is {KIND_NAMES[table.kind]}, while {lines.uri} is {KIND_NAMES[lines.kind]}",
            where=table.uri,
            remedy="filter them in two runs",
        )
    if kinds:
        merged = ColumnKinds()
        for item in kinds:
            merged.merge(item)
        return Reconciled(merged.settle_schema(), [])
    return reconcile(
        [
            TableSchema(source.uri, source.schema, source.kind, source.compression)
            for source in sources
        ]
    )


def require_columns(sources: Iterable[Source], columns: Iterable[str]) -> None:
    """Check that every file has at least one of the format's columns.

    A file without these columns would otherwise be read as nulls.

    Raises: InputError: a file has none of the columns.
    """
    wanted = list(columns)
    for source in sources:
        filled = source.list_filled()
        if filled and not (set(wanted).intersection(filled) or any(map(source.may_fill, wanted))):
            raise InputError(
                f"no row has {' or '.join(map(repr, wanted))}, the columns of the format that the "
                f"other files have: its columns are {list_names(filled)}",
                where=source.uri,
                remedy="filter files of different formats in separate runs; to leave a file out, "
                "name the others with a glob",
            )
