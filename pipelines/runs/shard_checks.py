"""Check that each shard's files in a finished run agree with the shard's ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.runs.finished import read_json_lines, read_table
from schemas.corpora import FormatName
from schemas.digests import RECORD_ID_HEX, compute_merkle_root, digest_bytes
from schemas.errors import InputError, RunError
from schemas.ledgers import hash_ledger_rows
from schemas.manifests import Manifest
from schemas.outputs import LEDGERS, ROW_KEY, SPANS
from schemas.receipts import Output
from schemas.runs import (
    ALIGNED_FOLDERS,
    CORPUS_FOLDERS,
    FOLDER_OF_DECISION,
    is_json_lines,
    parse_path,
    shard_path,
)
from schemas.scores import COMBINED, fires, score_column, split_side
from transforms.files.stems import build_stem
from transforms.records.companions import find_in_records
from transforms.records.formats import Layout
from transforms.records.segments import digest_rows, extract_segments
from transforms.records.stored_columns import take_corpus_columns

OPTIONAL_FOLDERS = ("vectors",)
"""The folders that some runs lack."""

READ_ERRORS = (
    pa.ArrowException,
    LookupError,
    TypeError,
    ValueError,
    OSError,
    InputError,
    RunError,
)
"""Errors that are raised if a file has another format."""


class Finding(NamedTuple):
    """A difference from the manifest: the file and the problem."""

    where: str
    problem: str


class _Shard(NamedTuple):
    """A shard to check: its ledger, and its files keyed by folder."""

    run: str
    manifest: Manifest
    files: Mapping[str, Output]
    ledger: pa.Table
    key: bytes | None

    def read(self, folder: str) -> pa.Table:
        return read_table(self.run, self.files[folder])

    @property
    def ledger_path(self) -> str:
        return self.files["ledger"].path


def check_shards(run: str, manifest: Manifest, key: bytes | None = None) -> Iterator[Finding]:
    """Yield the differences between every shard's ledger and its other files.

    `key` is the key of the run's digests, or None.
    """
    by_shard: dict[str, dict[str, Output]] = {}
    for output in manifest.outputs:
        file = parse_path(output.path)
        by_shard.setdefault(file.shard, {})[file.folder] = output
    for shard, root in manifest.shards:
        files = by_shard.get(shard, {})
        if "ledger" in files:
            yield from _guard(files["ledger"], _check_ledger(run, manifest, files, root, key))
        elif files or root != compute_merkle_root([]).hex():
            yield Finding(shard_path("ledger", shard), "isn't in the manifest")


def _guard(output: Output, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the findings about a file, and one more for an unreadable file."""
    try:
        yield from findings
    except READ_ERRORS as error:
        yield Finding(output.path, f"can't be read as a file of a run: {error!r}")


def _check_ledger(
    run: str, manifest: Manifest, files: Mapping[str, Output], root: str, key: bytes | None
) -> Iterator[Finding]:
    """Check a shard's ledger, then check the shard's other files against it."""
    ledger = read_table(run, files["ledger"])
    if not any(ledger.schema.equals(schema) for schema in LEDGERS):
        yield Finding(files["ledger"].path, "doesn't have the columns of a ledger")
        return
    if compute_merkle_root(hash_ledger_rows(ledger)).hex() != root:
        yield Finding(files["ledger"].path, "its rows don't give the shard's Merkle root")
    shard = _Shard(run, manifest, files, ledger, key)
    for folder in dict.fromkeys(FOLDER_OF_DECISION.values()):
        yield from _guard(files.get(folder, files["ledger"]), _check_rows(shard, folder))
    found = [
        finding
        for folder in ALIGNED_FOLDERS
        for finding in _guard(files.get(folder, files["ledger"]), _check_aligned(shard, folder))
    ]
    yield from found
    if not found:
        yield from _check_floor(shard)


def _check_rows(shard: _Shard, folder: str) -> Iterator[Finding]:
    """Check that a folder has the rows that the ledger assigns to it, unchanged and in order."""
    decisions = [name for name, other in FOLDER_OF_DECISION.items() if other == folder]
    chosen = pc.is_in(shard.ledger.column("decision"), value_set=pa.array(decisions))
    expected = shard.ledger.filter(chosen)
    if folder not in shard.files:
        if expected.num_rows:
            problem = f"assigns {expected.num_rows} rows to {folder}/, which has no file for them"
            yield Finding(shard.ledger_path, problem)
        return
    output = shard.files[folder]
    table: Any = (
        read_json_lines(shard.run, output.path)
        if is_json_lines(output.path)
        else shard.read(folder)
    )
    if not len(table) == expected.num_rows == output.rows:
        counts = f"the ledger assigns it {expected.num_rows}, the manifest counts {output.rows}"
        yield Finding(output.path, f"has {len(table)} rows; {counts}")
    elif not _is_numbered(expected, output.path):
        yield Finding(shard.ledger_path, f"doesn't assign the rows of {output.path} in their order")
    elif not _has_own_stem(shard, output.path):
        yield Finding(output.path, "isn't where the rows of its source belong")
    elif folder == "rejects":
        digests = expected.column("content_digest").to_pylist()
        yield from _check_rejects(output, table, digests, shard.key)
    else:
        digests = expected.column("content_digest").to_pylist()
        yield from _check_content(shard, output, table, digests)


def _is_numbered(rows: pa.Table, path: str) -> bool:
    """Return whether the ledger rows name every row of one file in order."""
    paths, indexes = rows.column("output").to_pylist(), rows.column("output_row").to_pylist()
    return set(paths) <= {path} and indexes == list(range(rows.num_rows))


def _has_own_stem(shard: _Shard, path: str) -> bool:
    """Return whether a file has its source's stem. Outside corpus folders, the result is True."""
    file = parse_path(path)
    source = shard.ledger.column("source")[0].as_py()
    return file.folder not in CORPUS_FOLDERS or file.stem == build_stem(source)


def _check_content(
    shard: _Shard, output: Output, table: Any, digests: Sequence[str]
) -> Iterator[Finding]:
    """Check published or quarantined rows against the ledger's digests."""
    identity = shard.manifest.identity
    corpus = take_corpus_columns(table, identity.columns)
    columns = {name: own for name, own in identity.columns.items() if own in corpus.column_names}
    layout = Layout(
        cast("FormatName", identity.format), columns, {}, transcripts=identity.transcripts
    )
    segments = extract_segments(corpus, layout)
    if isinstance(table, pa.Table):
        found = digest_rows(table, segments, layout, key=shard.key)
    else:
        companions = find_in_records(enumerate(table), columns)
        found = digest_rows(corpus, segments, layout, companions, table.__getitem__, shard.key)
    for row, (digest, expected) in enumerate(zip(found, digests, strict=True)):
        if digest != expected:
            record = expected[:RECORD_ID_HEX]
            problem = f"row {row} isn't the record {record}, which the ledger has there"
            yield Finding(output.path, problem)


def _check_rejects(
    output: Output, table: pa.Table, digests: Sequence[str], key: bytes | None
) -> Iterator[Finding]:
    """Check the bytes of rejects against the ledger's digests."""
    raws = table.column("raw").to_pylist()
    for row, (raw, expected) in enumerate(zip(raws, digests, strict=True)):
        if digest_bytes(raw, key) != expected:
            yield Finding(output.path, f"row {row} isn't the reject that the ledger has")


def _check_aligned(shard: _Shard, folder: str) -> Iterator[Finding]:
    """Check that a folder has a row for every ledger row, in the same order.

    In `spans/`, check the spans too.
    """
    if folder not in shard.files:
        if folder not in OPTIONAL_FOLDERS:
            yield Finding(shard.ledger_path, f"has no file beside it in {folder}/")
        return
    table, keys = shard.read(folder), [name for name, _ in ROW_KEY]
    if not table.select(keys).equals(shard.ledger.select(keys)):
        yield Finding(shard.files[folder].path, "doesn't have the ledger's rows in its order")
    elif folder == "spans":
        yield from _check_spans(shard, table)


def _check_spans(shard: _Shard, table: pa.Table) -> Iterator[Finding]:
    """Check that the span of every reason in the ledger is stored."""
    path = shard.files["spans"].path
    if not table.schema.equals(SPANS):
        yield Finding(path, "doesn't have the columns of a file of spans")
        return
    spans = table.column("spans").combine_chunks()
    reasons = shard.ledger.column("reasons").combine_chunks()
    for row in np.flatnonzero(pc.list_value_length(reasons).to_numpy(zero_copy_only=False)):
        stored = spans[int(row)].as_py()
        for reason in reasons[int(row)].as_py():
            if not (is_by_person(reason) or any(_is_evidence(span, reason) for span in stored)):
                trait = reason["trait"]
                yield Finding(path, f"row {row} has no span for its reason of {trait}")


def is_by_person(reason: Mapping[str, Any]) -> bool:
    """Return whether no score gave a reason, but an exception for the row."""
    return reason["threshold"] == 0 and not reason.get("field_path")


def _is_evidence(span: Mapping[str, Any], reason: Mapping[str, Any]) -> bool:
    """Return whether a stored span belongs to a reason.

    A reason with a combined score doesn't name the best signal.
    """
    fields = ["trait", "field_path", "start", "end"]
    (signal, side), stored = split_side(reason["signal"]), split_side(span["signal"])
    is_named = side == stored[1] if signal == COMBINED else (signal, side) == stored
    return is_named and all(span[name] == reason[name] for name in fields)


def _check_floor(shard: _Shard) -> Iterator[Finding]:
    """Check that every combined score at or above the run's span floor has a span."""
    scores, spans = shard.read("scores"), shard.read("spans").column("spans").combine_chunks()
    rows = pc.list_parent_indices(spans).to_numpy()
    traits = np.array(pc.struct_field(pc.list_flatten(spans), "trait").to_pylist(), object)
    for trait in (rule.trait for rule in shard.manifest.thresholds):
        if score_column(trait) not in scores.column_names:
            continue  # another check reports the missing column
        values = scores.column(score_column(trait)).to_numpy().astype(np.float32)
        reached = np.flatnonzero(fires(values, shard.manifest.span_floor))
        lacking = np.setdiff1d(reached, rows[traits == trait])
        if lacking.size:
            count = f"{lacking.size} scores of {trait} that reach the span floor"
            problem = f"has no span for {count}; the first is in row {lacking[0]}"
            yield Finding(shard.files["spans"].path, problem)
