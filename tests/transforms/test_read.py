"""The stage that reads shards."""

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.corpora import ShardLimits
from schemas.errors import InputError
from tests.support.eager import EagerPipeline
from transforms.files.planning import plan_shards
from transforms.files.sources import survey
from transforms.read import ReadShards

LIMITS = ShardLimits(rows=7)


def describe_shard(shard):
    """Return a shard's name, rows, lines, sources, numbers and rejects."""
    return (
        shard.plan.name,
        shard.table.to_pylist(),
        shard.lines,
        shard.sources,
        shard.numbers,
        [reject.row for reject in shard.rejects],
    )


def encode(rows):
    """Return each row's JSON line."""
    return [orjson.dumps(row) for row in rows]


def test_tasks_are_read_on_beam(tmp_path, json_lines):
    """Every task's shards are read once, with rows, numbers and rejects."""
    json_lines(tmp_path / "a.jsonl", [*({"text": f"a{number}"} for number in range(10)), b"broken"])
    json_lines(tmp_path / "b.jsonl.gz", [{"text": f"b{number}"} for number in range(20)])
    corpus = survey([str(tmp_path)], LIMITS)
    tasks = plan_shards(corpus.sources, LIMITS)
    assert [len(task) for task in tasks] == [1, 1, 3]
    names = [plan.name for task in tasks for plan in task]
    a = [{"text": f"a{number}"} for number in range(10)]
    b = [{"text": f"b{number}"} for number in range(20)]
    expected = [
        (names[0], a[:7], encode(a[:7]), ["a.jsonl"] * 7, list(range(7)), []),
        (names[1], a[7:], encode(a[7:]), ["a.jsonl"] * 3, [7, 8, 9], [10]),
        *(
            (
                names[2 + part],
                b[7 * part : 7 * part + 7],
                encode(b[7 * part : 7 * part + 7]),
                ["b.jsonl.gz"] * len(b[7 * part : 7 * part + 7]),
                list(range(20))[7 * part : 7 * part + 7],
                [],
            )
            for part in range(3)
        ),
    ]
    shards = EagerPipeline() | ReadShards(tasks, corpus.schema)
    assert sorted(map(describe_shard, shards), key=lambda shard: shard[0]) == expected


def test_the_schema_reaches_the_workers(tmp_path):
    """Shards have the settled schema."""
    schema = pa.schema(
        [("text", pa.large_string()), ("a", pa.dictionary(pa.int32(), pa.string()))],
        metadata={"k": "v"},
    )
    pq.write_table(pa.Table.from_pylist([{"text": "x", "a": "y"}], schema), tmp_path / "x.parquet")
    corpus = survey([str(tmp_path)], LIMITS)
    plans = plan_shards(corpus.sources, LIMITS)
    (shard,) = EagerPipeline() | ReadShards(plans, corpus.schema)
    assert shard.table.schema.equals(schema, check_metadata=True)
    assert shard.lines is None


def test_no_tasks_give_no_shards():
    """A corpus without rows gives no shards."""
    assert (EagerPipeline() | ReadShards([], pa.schema([("text", pa.string())]))) == []


def test_an_error_reaches_the_caller(tmp_path, json_lines):
    """The error for a missing file names the file."""
    path = tmp_path / "x.jsonl"
    json_lines(path, [{"text": "a"}])
    corpus = survey([str(path)], LIMITS)
    path.unlink()
    read = ReadShards(plan_shards(corpus.sources, LIMITS), corpus.schema)
    with pytest.raises(InputError, match=r"x\.jsonl"):
        EagerPipeline() | read
