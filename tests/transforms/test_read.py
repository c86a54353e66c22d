"""Reading on Beam."""

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to

from pipelines.config import Engine
from pipelines.engines.launch import engine_pipeline
from schemas.corpora import ShardLimits
from schemas.errors import InputError
from transforms.files.sources import plan_shards, survey
from transforms.read import ReadShards

LIMITS = ShardLimits(rows=7)


def described(shard):
    """Return what a shard holds."""
    return (
        shard.plan.name,
        shard.table.to_pylist(),
        shard.sources,
        shard.numbers,
        [reject.row for reject in shard.rejects],
    )


def test_tasks_are_read_on_beam(tmp_path, json_lines):
    """Every task's shards come out once, with rows, places and rejects, from plain and compressed files."""
    json_lines(tmp_path / "a.jsonl", [*({"text": f"a{number}"} for number in range(10)), b"broken"])
    json_lines(tmp_path / "b.jsonl.gz", [{"text": f"b{number}"} for number in range(20)])
    corpus = survey([str(tmp_path)], LIMITS)
    tasks = plan_shards(corpus.sources, LIMITS)
    assert [len(task) for task in tasks] == [1, 1, 3]
    names = [plan.name for task in tasks for plan in task]
    a = [{"text": f"a{number}"} for number in range(10)]
    b = [{"text": f"b{number}"} for number in range(20)]
    wanted = [
        (names[0], a[:7], ["a.jsonl"] * 7, list(range(7)), []),
        (names[1], a[7:], ["a.jsonl"] * 3, [7, 8, 9], [10]),
        *(
            (
                names[2 + at],
                b[7 * at : 7 * at + 7],
                ["b.jsonl.gz"] * len(b[7 * at : 7 * at + 7]),
                list(range(20))[7 * at : 7 * at + 7],
                [],
            )
            for at in range(3)
        ),
    ]
    with engine_pipeline(Engine()) as pipeline:
        assert_that(
            pipeline | ReadShards(tasks, corpus.schema) | beam.Map(described), equal_to(wanted)
        )


def test_the_schema_travels_whole(tmp_path):
    """Types, order and metadata of the settled schema reach the workers."""
    schema = pa.schema(
        [("text", pa.large_string()), ("a", pa.dictionary(pa.int32(), pa.string()))],
        metadata={"k": "v"},
    )
    pq.write_table(pa.Table.from_pylist([{"text": "x", "a": "y"}], schema), tmp_path / "x.parquet")
    corpus = survey([str(tmp_path)], LIMITS)
    with engine_pipeline(Engine()) as pipeline:
        shards = pipeline | ReadShards(plan_shards(corpus.sources, LIMITS), corpus.schema)
        found = shards | beam.Map(
            lambda shard: (
                str(shard.table.schema.remove_metadata()),
                shard.table.schema.metadata[b"k"],
            )
        )
        assert_that(found, equal_to([(str(schema.remove_metadata()), b"v")]))


def test_no_tasks_give_no_shards():
    """A corpus without rows runs, and yields nothing."""
    with engine_pipeline(Engine()) as pipeline:
        assert_that(pipeline | ReadShards([], pa.schema([("text", pa.string())])), equal_to([]))


def test_an_error_reaches_the_caller(tmp_path, json_lines):
    """A file that vanished ends the pipeline with an error that names it."""
    path = tmp_path / "x.jsonl"
    json_lines(path, [{"text": "a"}])
    corpus = survey([str(path)], LIMITS)
    path.unlink()
    with pytest.raises(InputError, match=r"x\.jsonl"), engine_pipeline(Engine()) as pipeline:
        _ = pipeline | ReadShards(plan_shards(corpus.sources, LIMITS), corpus.schema)
