"""How shards are coded, and sized without being coded."""

import pyarrow as pa
from apache_beam.coders import registry

from transforms.coders import BYTES_PER_PLAN, ShardCoder, rough_size
from transforms.decide import DecidedShard
from transforms.files.shards import Shard
from transforms.files.sources import ShardPlan
from transforms.identify import IdentifiedShard
from transforms.score import ScoredShard


def shard() -> Shard:
    """Return a shard of three rows."""
    return Shard(ShardPlan("part-0", ()), pa.table({"text": ["a", "b", "c"]}), ["f"] * 3, [0, 1, 2])


def test_every_stage_of_a_shard_has_the_coder():
    """Beam codes shards, at whichever stage, with ours."""
    for kind in (Shard, IdentifiedShard, ScoredShard, DecidedShard):
        assert isinstance(registry.get_coder(kind), ShardCoder)


def test_the_size_is_the_tables_and_needs_no_coding():
    """A shard's size comes from its table, however deep it is wrapped; what has none is small."""
    inner = shard()
    identified = IdentifiedShard(inner, None, [], [])
    decided = DecidedShard(ScoredShard(identified, None, 0, 0), [])
    assert rough_size(inner) == rough_size(identified) == rough_size(decided) == inner.table.nbytes
    assert rough_size("plan") == BYTES_PER_PLAN
    assert ShardCoder().get_impl().estimate_size(inner) == inner.table.nbytes


def test_round_trip():
    """A coded shard is the same shard."""
    impl = ShardCoder().get_impl()
    again = impl.decode(impl.encode(shard()))
    assert again.table.equals(shard().table)
    assert again.plan == shard().plan
