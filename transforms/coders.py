"""How shards are coded where a runner must; above all, how large they are without coding them to find out.

Beam samples the size of elements by encoding them, which for a shard of thousands of rows takes longer than deciding it.
"""

from __future__ import annotations

from typing import Any

from apache_beam.coders import PickleCoder, coder_impl, registry

BYTES_PER_PLAN = 400


def rough_size(value: Any) -> int:
    """Return about how many bytes a shard holds at whichever stage it is: its table's, which dwarf the rest."""
    for inside in ("scored", "identified", "shard"):
        value = getattr(value, inside, value)
    table = getattr(value, "table", None)
    return BYTES_PER_PLAN if table is None else int(table.nbytes)


class ShardCoder(PickleCoder):
    """Pickle, with the size taken from the shard's table."""

    def _create_impl(self) -> Any:
        pickled = PickleCoder().get_impl()
        return coder_impl.CallbackCoderImpl(pickled.encode, pickled.decode, rough_size)


def coded(kind: type) -> type:
    """Register the shard coder for a class; a decorator."""
    registry.register_coder(kind, ShardCoder)
    return kind
