"""The shard coder, which estimates a shard's size without encoding it.

Beam's default estimate encodes some elements. Encoding a large shard takes longer than deciding its
rows.
"""

from __future__ import annotations

from typing import Any

from apache_beam.coders import PickleCoder, coder_impl, registry

BYTES_PER_PLAN = 400


def estimate_size(value: Any) -> int:
    """Return a table's size for a shard, or a constant for a plan."""
    table = getattr(value, "table", None)
    return BYTES_PER_PLAN if table is None else int(table.nbytes)


class ShardCoder(PickleCoder):
    """A pickle coder that estimates a shard's size from its table."""

    def _create_impl(self) -> Any:
        pickled = PickleCoder().get_impl()
        return coder_impl.CallbackCoderImpl(pickled.encode, pickled.decode, estimate_size)


def register_shard_coder(kind: type) -> type:
    """Register the shard coder for a class, as a decorator."""
    registry.register_coder(kind, ShardCoder)
    return kind
