"""Read: from the planned tasks to shards of Arrow rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa

from transforms.files.shards import Shard, read_task
from transforms.files.sources import ShardPlan


class _Read(beam.DoFn):
    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema.serialize().to_pybytes()

    def process(self, plans: tuple[ShardPlan, ...]) -> Iterator[Shard]:
        yield from read_task(plans, pa.ipc.read_schema(pa.py_buffer(self._schema)))


@dataclass(eq=False)
class ReadShards(beam.PTransform):
    """Read the shards of the given tasks, spread over the workers.

    Only plans cross the shuffle (some hundred bytes each); a shard's rows stay where they were read.
    """

    tasks: Sequence[tuple[ShardPlan, ...]]
    schema: pa.Schema

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[Shard]:
        """Create the tasks, spread them, read."""
        return (
            pipeline
            | "Plan" >> beam.Create(list(self.tasks))
            | "Spread" >> beam.Reshuffle()
            | "Rows" >> beam.ParDo(_Read(self.schema)).with_output_types(Shard)
        )
