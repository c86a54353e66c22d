"""The read stage, which reads the shards of planned tasks as Arrow tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa

from transforms.files.planning import ShardPlan
from transforms.files.shards import Shard, read_task


class _Read(beam.DoFn):
    def __init__(self, schema: pa.Schema, parsed: bool) -> None:
        self._schema, self._parsed = schema.serialize().to_pybytes(), parsed

    def process(self, plans: tuple[ShardPlan, ...]) -> Iterator[Shard]:
        schema = pa.ipc.read_schema(pa.py_buffer(self._schema))
        yield from read_task(plans, schema, self._parsed)


@dataclass(eq=False)
class ReadShards(beam.PTransform):
    """Read the tasks' shards, spreading the tasks over the workers.

    Only the small plans are shuffled. A shard's rows stay on the worker that reads them. JSON Lines
    aren't parsed unless `parsed` is set (see `read_task`).
    """

    tasks: Sequence[tuple[ShardPlan, ...]]
    schema: pa.Schema
    parsed: bool = True

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[Shard]:
        """Create, spread and read the tasks."""
        return (
            pipeline
            | "Plan" >> beam.Create(list(self.tasks))
            | "Spread" >> beam.Reshuffle()
            | "Rows" >> beam.ParDo(_Read(self.schema, self.parsed)).with_output_types(Shard)
        )
