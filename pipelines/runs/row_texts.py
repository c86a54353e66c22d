"""Read the texts of a run's rows file by file, and those of its dropped rows from its input."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from pipelines.runs.finished import list_outputs
from pipelines.runs.shown_rows import build_layout
from schemas.corpora import CorpusConfig, ShardLimits
from schemas.errors import InputError
from schemas.manifests import InputFile, Manifest
from schemas.runs import is_json_lines
from transforms.files import storage
from transforms.files.json_lines import parse_line
from transforms.files.names import NamedFile
from transforms.files.planning import plan_shards
from transforms.files.shards import Shard, read_task
from transforms.files.sources import Corpus, survey_named
from transforms.poison import keep_rows
from transforms.records.formats import Layout, list_paths
from transforms.records.segments import Segments, extract_segments
from transforms.records.sides import assign_sides
from transforms.records.stored_columns import take_corpus_columns
from transforms.stored_rows import read_lines, read_table

CHANGED = "name the folder with a copy of the corpus as it was with --input"


class StoredTexts(NamedTuple):
    """A file of a run: its path, the number of its rows, and their segments."""

    path: str
    rows: int
    segments: Segments


class InputTexts(NamedTuple):
    """Rows of the input: the file and the number of each one, and their segments."""

    places: list[tuple[str, int]]
    segments: Segments


def read_stored_texts(run: str, manifest: Manifest) -> Iterator[StoredTexts]:
    """Yield the segments of the files in `clean/` and `quarantine/`, one file at a time.

    Raises: RunError: a file is missing. Raises: ValueError: a file isn't one of a run.
    """
    layout = _settle_layout(manifest)
    for folder in ("clean", "quarantine"):
        for output in list_outputs(manifest, folder):
            table = _read_columns(run, output.path, layout)
            yield StoredTexts(output.path, output.rows, _extract(table, layout))


def _settle_layout(manifest: Manifest) -> Layout:
    """Return the layout with which texts are read; a pair's rejected answer isn't trained."""
    layout = build_layout(manifest)
    return layout._replace(sides=("rejected",)) if layout.format == "preference" else layout


def _read_columns(run: str, path: str, layout: Layout) -> pa.Table:
    if not is_json_lines(path):
        heads = {name.partition(".")[0] for name in layout.columns.values()}
        return take_corpus_columns(_read_heads(run, path, heads), layout.columns)
    records: list[dict[str, Any]] = [
        parse_line(line, math.inf)[0] for line in read_lines(run, path)
    ]
    return take_corpus_columns(records, layout.columns)


def _read_heads(run: str, path: str, heads: Collection[str]) -> pa.Table:
    """Read the columns that the format reads. A column's own name may have a dot."""
    table = read_table(run, path)
    return table.select(
        [name for name in table.column_names if name in heads or "." in name]
        or table.column_names[:1]
    )


def _extract(table: pa.Table, layout: Layout) -> Segments:
    columns = {name: own for name, own in layout.columns.items() if own in table.column_names}
    own = layout._replace(columns=columns)
    return assign_sides(extract_segments(table, own), own, {})


def read_input_texts(
    manifest: Manifest, wanted: Mapping[str, Collection[int]], folder: str | None = None
) -> Iterator[InputTexts]:
    """Yield the segments of some rows of a run's input, shard by shard.

    `wanted` has the numbers of rows by the name of their file. `folder` holds the input files if
    they have moved.

    Raises: InputError: a file is missing, or isn't the one that the run read.
    """
    files = [item for item in manifest.inputs if item.name in wanted]
    limits = ShardLimits.model_validate(manifest.config["shards"])
    corpus = _survey(files, limits, manifest, folder)
    layout = _settle_layout(manifest)
    schema = corpus.select_schema(layout)
    for task in plan_shards(corpus.sources, limits):
        for shard in read_task(task, schema):
            if rows := _find_rows(shard, wanted):
                part = keep_rows(shard, rows)
                places = list(zip(part.sources, part.numbers, strict=True))
                yield InputTexts(places, _extract(part.table, layout))


def _find_rows(shard: Shard, wanted: Mapping[str, Collection[int]]) -> list[int]:
    pairs = enumerate(zip(shard.sources, shard.numbers, strict=True))
    return [row for row, (source, number) in pairs if number in wanted.get(source, ())]


def _survey(
    files: Sequence[InputFile], limits: ShardLimits, manifest: Manifest, folder: str | None
) -> Corpus:
    """Survey input files under their names.

    Raises: InputError: a file is missing, or isn't the one that the run read.
    """
    settings = CorpusConfig.model_validate(manifest.config["corpus"])
    named = [
        NamedFile(item.uri if folder is None else storage.join(folder, item.name), item.name)
        for item in files
    ]
    corpus = survey_named(named, limits, list_paths(settings))
    digests = {item.name: item.sha256 for item in files}
    for source in corpus.sources:
        if source.sha256 != digests[source.name]:
            raise InputError(
                f"isn't the file {source.name} that run {manifest.run_id} read",
                where=source.uri,
                remedy=CHANGED,
            )
    return corpus
