"""Parents: earlier runs whose clean rows are the input, and the notes in these rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import orjson
import pyarrow as pa

from pipelines.config import make_absolute
from schemas.errors import InputError, RowError
from schemas.notices import Notice, list_names
from schemas.outputs import CLEAN_EXTRA
from schemas.runs import MANIFEST
from transforms.files import storage
from transforms.files.json_lines import NOTE_SIGN
from transforms.files.kinds import TABLES
from transforms.files.samples import Sample
from transforms.files.sources import Corpus, Source
from transforms.notes import is_note_type, read_line_note

CLEAN = "/clean/"


def find_parents(sources: Iterable[Source]) -> dict[str, str]:
    """Return the folders and ids of runs whose clean files are among the sources.

    A run counts if its manifest lists a source with the source's digest.
    """
    found: dict[str, str] = {}
    manifests: dict[str, tuple[str, set[tuple[str, str]]]] = {}
    for source in sources:
        for run, path in _split_uri(make_absolute(source.uri)):
            if run not in manifests:
                manifests[run] = _read_outputs(run)
            run_id, outputs = manifests[run]
            if (path, source.sha256) in outputs:
                found[run] = run_id
    return found


def _split_uri(uri: str) -> Iterator[tuple[str, str]]:
    """Yield each folder that may be a file's run, and the file's path below its `clean/`."""
    parts = uri.split(CLEAN)
    for index in range(1, len(parts)):
        yield CLEAN.join(parts[:index]), CLEAN.join(parts[index:])


def _read_outputs(run: str) -> tuple[str, set[tuple[str, str]]]:
    """Return a run's id, and the paths and digests of its clean files."""
    uri = storage.join(run, MANIFEST)
    try:
        manifest = orjson.loads(storage.read_bytes(uri)) if storage.exists(uri) else {}
        outputs = [(item["path"], item["sha256"]) for item in manifest.get("outputs", ())]
        run_id = str(manifest.get("run_id", ""))
    except (ValueError, LookupError, TypeError, AttributeError, InputError):
        return "", set()  # a damaged manifest, or something else
    prefix = CLEAN.removeprefix("/")
    return run_id, {
        (path.removeprefix(prefix), digest) for path, digest in outputs if path.startswith(prefix)
    }


def describe_parents(
    parents: Mapping[str, str], corpus: Corpus, sample: Sample
) -> Iterator[Notice]:
    """Yield a notice that names the parents, as far as they are known.

    A copy of a run's clean rows is recognised by their field `congener`, which doesn't name the
    run.
    """
    if not parents and not _has_notes(corpus, sample):
        return
    which = list_names([f"{run} ({run_id})" for run, run_id in parents.items()])
    unknown = "their field `congener` shows it, but not which run it was"
    yield Notice(
        "the input has clean rows of an earlier run, whose flags and masks are kept: "
        f"{which or unknown}"
    )


def _has_notes(corpus: Corpus, sample: Sample) -> bool:
    """Return whether the input has a column of notes, or a sampled line has a note."""
    name = CLEAN_EXTRA.name
    if name in corpus.schema.names:
        return not pa.types.is_null(corpus.schema.field(name).type)
    lines = (line for shard in sample.shards for line in shard.lines or ())
    return any(NOTE_SIGN in line and read_line_note(line) is not None for line in lines)


def require_notes(corpus: Corpus, sample: Sample) -> None:
    """Check that a `congener` column holds an earlier run's notes.

    Raises: InputError: the column holds something else.
    """
    name = CLEAN_EXTRA.name
    if name not in corpus.schema.names:
        return
    remedy = "rename or drop the column"
    if corpus.sources[0].kind in TABLES and not is_note_type(corpus.schema.field(name).type):
        raise InputError(
            f"the corpus already has a column {name!r}, which congener adds",
            where=corpus.sources[0].uri,
            remedy=remedy,
        )
    for shard in sample.shards:
        for source, number, line in zip(
            shard.sources, shard.numbers, shard.lines or (), strict=False
        ):
            try:
                read_line_note(line)
            except RowError as error:
                raise InputError(
                    f"the corpus already has a column {name!r}, which congener adds",
                    where=f"{source} row {number}",
                    remedy=remedy,
                ) from error
