"""The two passes of an audit over both corpora: one gathers a sample, the other counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import apache_beam as beam

from classifiers.lots.counts import Counts
from pipelines.auditing.corpora import AuditConfig, AuditedCorpus
from pipelines.config import make_absolute
from pipelines.engines.launch import open_pipeline
from schemas.runs import WORK
from transforms.files import storage
from transforms.identify import IdentifiedShard, IdentifyRecords
from transforms.lot_counts import CountCandidates, CountSettings
from transforms.lot_samples import Gathered, GatherSample
from transforms.read import ReadShards

SAMPLE = f"{WORK}/sample.arrow"
COUNTS = f"{WORK}/counts.npz"


class AuditSides(NamedTuple):
    """The corpus and the reference."""

    corpus: AuditedCorpus
    reference: AuditedCorpus


def gather(config: AuditConfig, sides: AuditSides, beam_options: Sequence[str] = ()) -> Gathered:
    """Gather a sample of both corpora."""
    path = _place(config, SAMPLE)
    with open_pipeline(config.engine, beam_options, "congener-audit-sample") as pipeline:
        gathered = _read(pipeline, sides) | GatherSample()
        gathered | "Write" >> beam.Map(_write, path)
    return Gathered.decode(storage.read_bytes(path))


def count(
    config: AuditConfig,
    sides: AuditSides,
    settings: CountSettings,
    beam_options: Sequence[str] = (),
) -> Counts:
    """Count candidates in all texts of both corpora."""
    path = _place(config, COUNTS)
    with open_pipeline(config.engine, beam_options, "congener-audit-counts") as pipeline:
        counted = _read(pipeline, sides) | CountCandidates(settings)
        counted | "Write" >> beam.Map(_write, path)
    return Counts.decode(storage.read_bytes(path))


def _place(config: AuditConfig, name: str) -> str:
    return storage.join(make_absolute(config.output), name)


def _write(value: Gathered | Counts, path: str) -> None:
    """Write a result where the launcher can read it, on whichever machine the work was done."""
    storage.write_bytes(path, value.encode())


def _read(
    pipeline: beam.Pipeline, sides: AuditSides
) -> tuple[beam.PCollection[IdentifiedShard], beam.PCollection[IdentifiedShard]]:
    found = []
    for name, side in zip(("Corpus", "Reference"), sides, strict=True):
        schema = side.corpus.select_schema(side.layout)
        shards = pipeline | f"Read{name}" >> ReadShards(list(side.tasks), schema)
        found.append(shards | f"Identify{name}" >> IdentifyRecords(side.layout))
    return found[0], found[1]
