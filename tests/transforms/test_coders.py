"""The shard coder, which sizes shards without encoding them."""

import pickle

import pyarrow as pa
import pytest
from apache_beam.coders import registry

from transforms.coders import BYTES_PER_PLAN, ShardCoder, estimate_size, register_shard_coder
from transforms.decide import DecidedShard
from transforms.files.planning import ShardPlan
from transforms.files.shards import Shard
from transforms.identify import IdentifiedShard
from transforms.score import ScoredShard


def build_shard(kind=Shard, **fields):
    """Return a shard of three rows."""
    table = pa.table({"text": ["a", "b", "c"]})
    return kind(ShardPlan("part-0", ()), table, ["f"] * 3, [0, 1, 2], **fields)


@pytest.mark.parametrize("kind", [Shard, IdentifiedShard, ScoredShard, DecidedShard])
def test_every_stage_of_a_shard_has_the_coder(kind):
    """Every stage's shards have the shard coder."""
    assert isinstance(registry.get_coder(kind), ShardCoder)


def test_registering_returns_the_class():
    """The decorator registers a class and returns it."""

    class Registered:
        """A class to register."""

    assert register_shard_coder(Registered) is Registered
    assert isinstance(registry.get_coder(Registered), ShardCoder)


def test_the_size_is_that_of_the_table():
    """A shard's size is its table's size at every stage."""
    shard = build_shard()
    identified = build_shard(IdentifiedShard, segments=None, digests=[], lots=[], columns={})
    assert estimate_size(shard) == estimate_size(identified) == shard.table.nbytes > 0
    assert estimate_size("plan") == BYTES_PER_PLAN


def test_the_size_needs_no_encoding(monkeypatch):
    """Beam sizes a shard without pickling it."""
    shard, coder = build_shard(), ShardCoder().get_impl()
    monkeypatch.setattr(pickle, "dumps", lambda *_: pytest.fail("the shard was encoded"))
    monkeypatch.setattr(Shard, "__reduce_ex__", lambda *_: pytest.fail("the shard was encoded"))
    assert coder.estimate_size(shard) == shard.table.nbytes


def test_shards_survive_encoding():
    """Encoding and decoding leave a shard unchanged."""
    coder, shard = ShardCoder().get_impl(), build_shard()
    decoded = coder.decode(coder.encode(shard))
    assert decoded.table.equals(shard.table)
    assert (decoded.plan, decoded.sources, decoded.numbers, decoded.rejects) == (
        shard.plan,
        shard.sources,
        shard.numbers,
        shard.rejects,
    )
