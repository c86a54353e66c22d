"""The counts of a generation by teacher."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from classifiers.lots.inventories import INVENTORY, Inventory, take_inventory
from classifiers.lots.samples import LotSample

FEWEST_TEXTS = 16
"""The fewest texts that a teacher needs in a generation to be counted by itself."""

MOST_TEACHERS = 16
"""How many teachers of a generation are counted by themselves, the largest ones."""

COUNTS = INVENTORY.insert(0, pa.field("teacher", pa.string()))
"""One row for each teacher and row of its inventory."""


def count_by_teacher(sample: LotSample, teachers: Sequence[str]) -> dict[str, Inventory] | None:
    """Count everything frequent in the texts of each of the largest teachers.

    `teachers` names the teacher of each text. Return None for a single teacher, whose counts are
    those of all texts.
    """
    sizes = Counter(teachers)
    if len(sizes) == 1:
        return None
    large = [name for name, size in sizes.items() if size >= FEWEST_TEXTS]
    chosen = sorted(large, key=lambda name: (-sizes[name], name))[:MOST_TEACHERS]
    names = np.array(teachers, object)
    return {name: take_inventory(sample.take(names == name)) for name in sorted(chosen)}


def encode_counts(counts: Mapping[str, Inventory]) -> bytes:
    """Return teachers' counts as Parquet. Their totals aren't in it."""
    tables = [
        item.table.add_column(0, COUNTS.field(0), pa.array([name] * len(item.table), pa.string()))
        for name, item in counts.items()
    ]
    stream = io.BytesIO()
    pq.write_table(pa.concat_tables([COUNTS.empty_table(), *tables]), stream, compression="zstd")
    return stream.getvalue()


def decode_counts(data: bytes, sizes: Mapping[str, Sequence[int]]) -> dict[str, Inventory]:
    """Read what `encode_counts` returned. `sizes` are the halves' totals and the fewest texts."""
    table = pq.read_table(io.BytesIO(data)).cast(COUNTS)
    found = {}
    for name, (learning, confirming, fewest) in sizes.items():
        own = table.filter(pc.equal(table.column("teacher"), name)).drop_columns("teacher")
        found[name] = Inventory(own.combine_chunks(), (learning, confirming), fewest)
    return found
