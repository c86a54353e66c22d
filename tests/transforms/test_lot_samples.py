"""Samples of two corpora: limits, numbers, and independence of the order of shards."""

import itertools

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest

from tests.support.eager import EagerPipeline
from transforms import lot_samples as module
from transforms.lot_records import RECORDS, LotRecords
from transforms.lot_samples import (
    GatherCorpus,
    Gathered,
    GatherSample,
    LotKey,
    build_sample,
    choose_lots,
    limit_sample,
    pair_lots,
)


def build(count, own=True, seed=0, length=10, teacher="atlas"):
    """Return texts with random keys."""
    dice = np.random.default_rng(seed)
    columns = [
        pa.array(dice.integers(0, 1 << 40, count).astype(np.uint64)),
        pa.array(dice.integers(0, 1 << 40, count).astype(np.uint64)),
        pa.array([own] * count),
        pa.array([True] * count),
        pa.array([f"Question {number}?" for number in range(count)], pa.large_string()),
        pa.array(["x" * length] * count, pa.large_string()),
        pa.array([teacher] * count),
        pa.array(["-"] * count),
    ]
    return LotRecords(pa.Table.from_arrays(columns, schema=RECORDS), rejects=1, silent=2)


def test_the_smallest_keys_are_kept():
    """Each corpus has its texts with the smallest keys, in their order."""
    table = pa.concat_tables([build(50, True, 1).table, build(80, False, 2).table])
    found = limit_sample(table, most=20)
    for own in (True, False):
        keys = sorted(row["key"] for row in table.to_pylist() if row["own"] == own)
        kept = [row["key"] for row in found.to_pylist() if row["own"] == own]
        assert kept == keys[:20]
    assert found.column("key").to_pylist() == sorted(found.column("key").to_pylist())


def test_characters_are_limited():
    """Long texts fill the sample sooner, and a single one always fits."""
    assert limit_sample(build(50, length=100).table, characters=1_000).num_rows == 10
    assert limit_sample(build(5, length=100).table, characters=10).num_rows == 1


def test_the_order_of_shards_does_not_matter(monkeypatch):
    """However shards are grouped, the sample and the numbers are the same."""
    limit = module.limit_sample
    monkeypatch.setattr(module, "limit_sample", lambda table: limit(table, most=15))
    parts = [(build(20, True, seed), True) for seed in range(3)]
    parts += [(build(20, False, seed + 5, teacher="borealis"), False) for seed in range(2)]
    results = set()
    for order in itertools.islice(itertools.permutations(parts), 0, 120, 17):
        left, right = Gathered(), Gathered()
        for item in order[:2]:
            left.add(*item)
        for item in order[2:]:
            right.add(*item)
        left.merge(right)
        results.add(left.encode())
    assert len(results) == 1
    found = Gathered.decode(results.pop())
    assert found.table.num_rows == 30
    assert (found.count_texts(own=True), found.count_texts(own=False)) == (60, 40)
    assert found.lots[LotKey(own=False, fields=("borealis", "-"))] == 40
    assert (found.rejects[True], found.silent[False]) == (3, 4)


def test_a_sample_is_read_as_it_was_written():
    """The stream has the table and all numbers, also those of an empty sample."""
    gathered = Gathered()
    assert Gathered.decode(gathered.encode()).table.num_rows == 0
    gathered.add(build(5), own=True)
    read = Gathered.decode(gathered.encode())
    assert read.table.equals(gathered.table)
    assert (read.lots, read.rejects, read.silent) == (
        gathered.lots,
        gathered.rejects,
        gathered.silent,
    )


def test_long_texts_are_shortened_in_the_sample():
    """A sampled text has at most so many characters."""
    gathered = Gathered()
    gathered.add(build(3, length=module.LONGEST_TEXT + 50), own=True)
    lengths = {len(text) for text in gathered.table.column("text").to_pylist()}
    assert lengths == {module.LONGEST_TEXT}


@pytest.mark.parametrize("count", [1, 3])
def test_the_transform_gathers_both_corpora(make_identified, count):
    """The pipeline gives one sample of all shards of both sides."""

    def build_shards(word):
        return [
            make_identified(
                [
                    {
                        "messages": [
                            {"role": "user", "content": f"{number}-{index}?"},
                            {"role": "assistant", "content": f"{word} {number}"},
                        ]
                    }
                    for number in range(4)
                ],
                name=f"part-{index}",
            )
            for index in range(count)
        ]

    def expand(pipeline):
        corpus = pipeline | "A" >> beam.Create(build_shards("heron"))
        reference = pipeline | "B" >> beam.Create(build_shards("egret"))
        return (corpus, reference) | GatherSample()

    (found,) = EagerPipeline().run(expand)
    assert found.count_texts(own=True) == found.count_texts(own=False) == 4 * count
    rows = found.table.to_pylist()
    assert all(row["text"].startswith("heron") == row["own"] for row in rows)
    assert len({row["key"] for row in rows}) == 4 * count


def test_one_corpus_is_gathered_alone(make_identified):
    """A sample of a single corpus has its texts as the corpus's own."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"{number}?"},
                {"role": "assistant", "content": f"heron {number}"},
            ]
        }
        for number in range(5)
    ]

    def expand(pipeline):
        return pipeline | beam.Create([make_identified(rows, name="part")]) | GatherCorpus()

    (found,) = EagerPipeline().run(expand)
    assert found.count_texts(own=True) == 5
    assert found.count_texts(own=False) == 0


def test_some_teachers_texts_are_gathered_alone(make_identified):
    """The sample has only their texts, and all lots are counted."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"{number}?"},
                {"role": "assistant", "content": f"heron {number}"},
            ],
            "teacher": ("atlas", "borealis", "cygnus")[number % 3],
        }
        for number in range(9)
    ]

    def expand(pipeline):
        shards = pipeline | beam.Create([make_identified(rows, name="part")])
        return shards | GatherCorpus(("atlas", "cygnus", "dove"))

    (found,) = EagerPipeline().run(expand)
    assert sorted(found.table.column("teacher").to_pylist()) == ["atlas"] * 3 + ["cygnus"] * 3
    assert found.count_texts(own=True) == 9


def test_the_largest_lots_are_counted():
    """Lots of the corpus come first, then those of the reference, each the largest first."""
    gathered = Gathered()
    for number in range(80):
        gathered.lots[LotKey(own=True, fields=(f"t{number}", "-"))] = number + 1
    gathered.lots[LotKey(own=False, fields=("cedar", "-"))] = 999
    lots = choose_lots(gathered)
    assert len(lots) == 64
    assert lots[0].fields == ("t79", "-")
    assert all(lot.own for lot in lots)


def test_an_empty_sample_has_no_texts():
    """A sample of nothing is built without an error."""
    sample = build_sample(Gathered(), ())
    assert len(sample) == 0


def test_lots_of_the_same_kind_are_paired():
    """A lot of the corpus has the number of the reference's lot with the same fields."""
    names = [(True, "atlas"), (True, "borealis"), (False, "borealis"), (False, "delta")]
    lots = [LotKey(own, (teacher, "-")) for own, teacher in names]
    assert pair_lots(lots) == {1: 2}
    assert pair_lots(lots[:2]) == {}
