"""Reading shards: rows in order with their types, and rejects."""

import datetime as dt
import decimal
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.corpora import ShardLimits
from schemas.errors import InputError
from tests.support.variants import fill, fit, variants
from transforms.files import json_lines as parsing
from transforms.files import shards as reading
from transforms.files.json_lines import BOM
from transforms.files.kinds import TABLES
from transforms.files.parquet_types import choose_types
from transforms.files.planning import ShardPlan, SourcePiece, plan_shards
from transforms.files.shards import (
    RAW_LIMIT,
    Shard,
    build_row_mask,
    measure_expanded,
    read_task,
)
from transforms.files.sources import Cut, survey
from transforms.records.column_types import fits
from transforms.records.json_columns import select_columns
from transforms.records.json_messages import MESSAGES
from transforms.write import encode_parquet


def limits(rows=5_000, bytes_=32 << 20):
    """Return shard limits, possibly below a configuration's minimum; all small files share."""
    return ShardLimits.model_construct(rows=rows, bytes=bytes_, apart=0)


def choose_schema(corpus):
    """Return the schema for reading.

    For JSON Lines, it has only text and message columns.
    """
    if corpus.sources[0].kind in TABLES:
        return corpus.schema
    read = [item.name for item in corpus.schema if fits("prompt", item.type)]
    return select_columns(corpus.schema, read, ())


def read_all(path, cut=None, tasks_in=lambda tasks: tasks):
    """Survey, plan and read a path; return the schema and the shards."""
    corpus = survey([str(path)], cut or limits())
    tasks = tasks_in(plan_shards(corpus.sources, cut or limits()))
    schema = choose_schema(corpus)
    return schema, [shard for task in tasks for shard in read_task(task, schema)]


def rows_of(shards):
    """Return all shards' rows, parsed from their bytes for JSON Lines."""
    return [row for shard in shards for row in list_rows_of(shard)]


def list_rows_of(shard):
    """Return a shard's rows, whose table and lines must agree."""
    rows = shard.table.to_pylist()
    if shard.lines is None:
        return rows
    whole = [orjson.loads(line) for line in shard.lines]
    texts = [name for name in shard.table.column_names if name == "text"]
    for row, parsed in zip(rows, whole, strict=True):
        assert [row[name] for name in texts] == [parsed.get(name) for name in texts]
    return whole


def list_lines(shards):
    """Return all shards' lines."""
    return [line for shard in shards for line in shard.lines]


def list_rows(shards):
    """Return every good row's source and number."""
    return [pair for shard in shards for pair in zip(shard.sources, shard.numbers, strict=True)]


def list_rejects(shards):
    """Return all shards' rejects."""
    return [reject for shard in shards for reject in shard.rejects]


def write_groups(path, tables):
    """Write each table as a row group of a Parquet file."""
    with pq.ParquetWriter(path, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=max(1, table.num_rows))


def numbered(begin, end, width):
    """Return rows with numbers and texts of different lengths."""
    return [
        {"n": number, "text": f"{number} " + "x" * (number * 37 % (width + 1))}
        for number in range(begin, end)
    ]


@settings(max_examples=60)
@given(
    groups=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    rows=st.integers(1, 30),
    size=st.integers(100, 5_000),
    backwards=st.booleans(),
)
def test_parquet_is_read_whole_in_order(tmp_path_factory, groups, rows, size, backwards):
    """Parquet shards hold each row once, in order."""
    path = tmp_path_factory.mktemp("parquet") / "x.parquet"
    starts = [sum(groups[:index]) for index in range(len(groups))]
    schema = pa.schema([("n", pa.int64()), ("text", pa.string())])
    write_groups(
        path,
        [
            pa.Table.from_pylist(numbered(start, start + count, 80), schema)
            for start, count in zip(starts, groups, strict=True)
        ],
    )
    _, shards = read_all(path, limits(rows, size), reversed if backwards else list)
    shards.sort(key=lambda shard: shard.plan.name)
    assert rows_of(shards) == numbered(0, sum(groups), 80)
    assert list_rows(shards) == [("x.parquet", number) for number in range(sum(groups))]
    assert all(0 < shard.table.num_rows <= rows for shard in shards)


@settings(max_examples=60)
@given(
    count=st.integers(1, 60),
    rows=st.integers(1, 30),
    size=st.integers(100, 3_000),
    ending=st.sampled_from(["", ".gz", ".zst"]),
    blanks=st.sets(st.integers(0, 60), max_size=5),
    final=st.sampled_from([b"\n", b"", b"\n\n", b"\r\n"]),
)
def test_json_lines_are_read_whole_in_order(
    tmp_path_factory, json_lines, count, rows, size, ending, blanks, final
):
    """JSON Lines shards hold all rows in order."""
    path = tmp_path_factory.mktemp("lines") / f"x.jsonl{ending}"
    wanted = numbered(0, count, 80)
    written = [
        line
        for number, row in enumerate(wanted)
        for line in ([b"", b" \r"] if number in blanks else []) + [orjson.dumps(row)]
    ]
    json_lines(path, written, final)
    _, shards = read_all(path, limits(rows, size))
    assert rows_of(shards) == wanted
    assert list_rows(shards) == [(path.name, number) for number in range(count)]
    assert all(0 < shard.table.num_rows <= rows for shard in shards)


@settings(max_examples=30)
@given(
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=8),
    rows=st.integers(1, 30),
    endings=st.lists(st.sampled_from(["", ".gz"]), min_size=8),
)
def test_many_files_are_read_whole_in_order(tmp_path_factory, json_lines, counts, rows, endings):
    """Files that share or span shards are read in order."""
    folder, wanted = tmp_path_factory.mktemp("files"), []
    for index, count in enumerate(counts):
        name = f"{index}.jsonl{endings[index]}"
        json_lines(folder / name, [{"file": name, "row": row} for row in range(count)])
        wanted += [{"file": name, "row": row} for row in range(count)]
    _, shards = read_all(folder, limits(rows))
    assert rows_of(shards) == wanted
    assert list_rows(shards) == [(row["file"], row["row"]) for row in wanted]


def test_small_parquet_files_share_a_shard(tmp_path):
    """Small Parquet files become one table, and rows keep their sources."""
    for name in "ab":
        pq.write_table(pa.table({"text": [f"{name}0", f"{name}1"]}), tmp_path / f"{name}.parquet")
    _, (shard,) = read_all(tmp_path)
    assert shard.table.column("text").to_pylist() == ["a0", "a1", "b0", "b1"]
    assert list_rows([shard]) == [
        ("a.parquet", 0),
        ("a.parquet", 1),
        ("b.parquet", 0),
        ("b.parquet", 1),
    ]


TYPES = pa.schema(
    [
        ("z_last_by_name", pa.string()),
        (
            "messages",
            pa.list_(
                pa.struct(
                    [
                        ("role", pa.string()),
                        ("content", pa.large_string()),
                        ("calls", pa.list_(pa.struct([("id", pa.int8())]))),
                    ]
                )
            ),
        ),
        (
            "nested",
            pa.struct(
                [("deep", pa.struct([("er", pa.list_(pa.float32()))])), ("flag", pa.bool_())]
            ),
        ),
        ("category", pa.dictionary(pa.int32(), pa.string())),
        ("price", pa.decimal128(20, 4)),
        ("seen", pa.timestamp("us", tz="Europe/Paris")),
        ("exact", pa.timestamp("ns")),
        ("day", pa.date32()),
        ("time", pa.time64("us")),
        ("took", pa.duration("ms")),
        ("raw", pa.binary()),
        ("vector", pa.list_(pa.float32(), 2)),
        ("tags", pa.map_(pa.string(), pa.int64())),
        ("small", pa.uint8()),
        ("half", pa.float16()),
        ("nothing", pa.null()),
        pa.field("required", pa.int32(), nullable=False),
    ],
    metadata={"pandas": "{}", "by": "hand"},
)


def typed_row(number):
    """Return a row with a value of every type, or with nulls."""
    if number % 3 == 2:
        return {
            "required": number,
            "vector": [0.0, 0.0],
        }  # pyarrow can't read back a null fixed-size list
    return {
        "z_last_by_name": f"é{number}",
        "messages": [
            {"role": "user", "content": "U", "calls": [{"id": number % 100}, None]},
            None,
            {"role": None, "content": None, "calls": []},
        ],
        "nested": {"deep": {"er": [1.5, None]}, "flag": None}
        if number % 2
        else {"deep": None, "flag": True},
        "category": "ab"[number % 2],
        "price": decimal.Decimal(f"{number}.2500"),
        "seen": dt.datetime(2025, 1, 1, 12, number % 60, tzinfo=dt.UTC),
        "exact": dt.datetime(2025, 1, 1, 12, number % 60),  # noqa: DTZ001 - no zone is the test
        "day": dt.date(2025, 1, 1 + number % 28),
        "time": dt.time(1, number % 60),
        "took": dt.timedelta(milliseconds=number),
        "raw": bytes([number % 256, 0]),
        "vector": [0.5, float(number)],
        "tags": [("n", number)],
        "small": number % 256,
        "half": 0.5,
        "required": number,
    }


@pytest.mark.parametrize("group", [7, 100])
def test_types_columns_and_metadata_survive(tmp_path, group):
    """Arrow types, nulls, column order and metadata are unchanged."""
    table = pa.Table.from_pylist([typed_row(number) for number in range(30)], TYPES)
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=group)
    schema, shards = read_all(tmp_path, limits(rows=4))
    assert len(shards) > 5
    whole = pa.concat_tables([shard.table for shard in shards])
    assert schema.equals(TYPES, check_metadata=False)
    assert whole.schema.equals(TYPES, check_metadata=False)
    assert {b"pandas", b"by"} <= set(whole.schema.metadata)
    assert whole.to_pylist() == table.to_pylist()
    whole.validate(full=True)


def test_nested_json_survives(tmp_path, json_lines):
    """Rows keep their bytes, and the table has only the columns that are read."""
    rows = [
        {
            "messages": [
                {
                    "role": "user",
                    "content": "U",
                    "tool_calls": [{"function": {"name": "f", "arguments": {"x": [1]}}}],
                }
            ],
            "meta": {"a": None},
        },
        {"z": 1, "messages": [], "meta": {"a": {"b": 2.5}}, "a": True},
        {"messages": None, "z": 2.5},
    ]
    json_lines(tmp_path / "x.jsonl", rows)
    corpus = survey([str(tmp_path)], limits())
    assert corpus.schema.names == ["messages", "meta", "z", "a"]
    schema, (shard,) = read_all(tmp_path)
    assert shard.table.schema == schema == pa.schema([("messages", MESSAGES)])
    assert shard.lines == [orjson.dumps(row) for row in rows]
    assert shard.rejects == []
    (message,), *others = shard.table.column("messages").to_pylist()
    assert {name: value for name, value in message.items() if value is not None} == {
        "role": "user",
        "content": "U",
        "tool_calls": '[{"function":{"arguments":{"x":[1]},"name":"f"}}]',
    }
    assert others == [[], None]


LENIENT = (
    b'{"text": "a", "n": NaN}',
    b'{"text": "b", "n": [Infinity, -Infinity]}',
    b'{"text": "c", "n": 123456789012345678901234567890}',
    b'{"text": "d", "n": 1' + b"0" * 400 + b"}",
    b'{"text": "e", "n": "\\udc00"}',
    b'{"n": 1, "n": 2, "text": "g"}',
    b'  {"text" : "h" }\t\r',
    b'{"": {}, "text": "i", "n": {"": ""}}',
    b'{"text": "j", "deep": ' + b"[" * 1_000 + b"]" * 1_000 + b"}",
    b"{}",
    b'{"text": null}',
)


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_lines_pass_with_their_bytes(tmp_path, json_lines, ending):
    """Odd numbers, equal keys, deep nesting and white space keep their bytes."""
    json_lines(tmp_path / f"x.jsonl{ending}", LENIENT)
    _, (shard,) = read_all(tmp_path)
    assert shard.rejects == []
    assert shard.lines == list(LENIENT)
    assert shard.table.column("text").to_pylist() == [*"abcdeghij", None, None]


def test_a_row_that_repeats_a_key_that_is_read_is_a_reject(tmp_path, json_lines):
    """Rows that repeat a key that is read are rejects, and good rows keep their numbers."""
    lines = [b'{"text": "a"}', b'{"text": "b", "text": "c"}', b'{"text": 3}', b'{"text": "d"}']
    json_lines(tmp_path / "x.jsonl", lines)
    _, (shard,) = read_all(tmp_path)
    assert shard.numbers == [0, 3]
    assert shard.table.column("text").to_pylist() == ["a", "d"]
    assert [(reject.row, reject.error[:27]) for reject in shard.rejects] == [
        (1, "field 'text' occurs twice, "),
        (2, "field 'text': a number wher"),
    ]


def test_a_lone_surrogate_is_replaced_in_the_text_alone(tmp_path, json_lines):
    """A lone surrogate is scored as U+FFFD, but its bytes stay."""
    lines = [b'{"text": "a\\ud800b"}', b'{"text": "\\ud83d\\ude00"}']
    json_lines(tmp_path / "x.jsonl", lines)
    _, (shard,) = read_all(tmp_path)
    assert shard.lines == lines
    assert shard.table.column("text").to_pylist() == ["a\ufffdb", "\U0001f600"]


def test_a_byte_order_mark_is_no_part_of_a_row(tmp_path, json_lines):
    """A byte order mark at a file's start isn't part of a row."""
    for name, first in (("a", b'{"text": "a"}'), ("b", b"broken")):
        json_lines(tmp_path / f"{name}.jsonl", [BOM + first, b'{"text": "b"}'])
    _, (shard,) = read_all(tmp_path)
    assert shard.lines == [b'{"text": "a"}', b'{"text": "b"}', b'{"text": "b"}']
    assert [(reject.raw, reject.offset) for reject in shard.rejects] == [(BOM + b"broken", 0)]


def test_line_ends_of_windows_stay(tmp_path):
    """A carriage return before a line break stays."""
    (tmp_path / "x.jsonl").write_bytes(b'{"text": "a"}\r\n\r\n{"text": "b"}\r\n')
    _, (shard,) = read_all(tmp_path)
    assert shard.lines == [b'{"text": "a"}\r', b'{"text": "b"}\r']
    assert shard.numbers == [0, 1]


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
@pytest.mark.parametrize("rows", [100, 2])
def test_bad_lines_are_rejects(tmp_path, json_lines, ending, rows):
    """A line without a JSON object is a reject with its row, offset and bytes."""
    deep = b'{"text": ' + b"[" * 5_000 + b"]" * 5_000 + b"}"
    bad = [b'{"text": "cut', b"[1]", b"17", b'{"text": "\xff"}', deep, b"{}{}"]
    good = [orjson.dumps({"text": f"good {number}"}) for number in range(len(bad))]
    written = [line for pair in zip(good, bad, strict=True) for line in pair]
    path = Path(json_lines(tmp_path / f"x.jsonl{ending}", written))
    _, shards = read_all(tmp_path, limits(rows=rows))
    assert [row["text"] for row in rows_of(shards)] == [
        f"good {number}" for number in range(len(bad))
    ]
    assert [number for _, number in list_rows(shards)] == [0, 2, 4, 6, 8, 10]
    data = b"\n".join(written)
    assert [(reject.source, reject.row, reject.raw) for reject in list_rejects(shards)] == [
        (path.name, 2 * index + 1, line) for index, line in enumerate(bad)
    ]
    for reject in list_rejects(shards):
        assert data[reject.offset :].startswith(reject.raw)
    errors = [reject.error for reject in list_rejects(shards)]
    assert errors[0].startswith("not JSON: ")
    assert errors[1:3] == ["not a JSON object but a list", "not a JSON object but a number"]
    assert errors[4] == "objects and lists are nested too deeply to be parsed"
    assert all(error.startswith("not JSON: ") for error in (errors[3], errors[5]))
    assert all(shard.plan.rows == shard.table.num_rows + len(shard.rejects) for shard in shards)


def test_only_conflicts_in_columns_that_are_read_are_rejects(tmp_path, json_lines):
    """Only conflicts in columns that are read are rejects."""
    rows = [
        {"messages": [{"role": "user", "content": "text"}], "n": 1},
        {"messages": [{"role": "user", "content": [{"type": "text"}]}], "n": 2},
        {"messages": [{"role": "user", "content": "text"}], "n": "3"},
        {"messages": "text", "n": 4},
        {"messages": [{"role": "user", "content": "text"}, "text"]},
        {"messages": [{"role": 1, "content": 2, "weight": 3}], "n": {"n": [4]}},
    ]
    json_lines(tmp_path / "x.jsonl", rows)
    _, shards = read_all(tmp_path)
    assert list_lines(shards) == [orjson.dumps(rows[index]) for index in (0, 1, 2, 5)]
    assert [(reject.row, reject.error) for reject in list_rejects(shards)] == [
        (3, "field 'messages': text where the corpus has a list of messages"),
        (4, "field 'messages[1]': text where the corpus has an object"),
    ]
    assert orjson.loads(list_rejects(shards)[0].raw) == rows[3]


def test_conflicts_are_settled_over_all_files(tmp_path, json_lines):
    """If a file has the type that is rarer in the corpus, all of its rows are rejects."""
    json_lines(tmp_path / "a.jsonl", [{"text": "1"}, {"text": "2"}, {"text": "3"}])
    json_lines(tmp_path / "b.jsonl", [{"text": 1}, {"text": 2}])
    _, (shard,) = read_all(tmp_path)
    assert rows_of([shard]) == [{"text": "1"}, {"text": "2"}, {"text": "3"}]
    assert [(reject.source, reject.row) for reject in shard.rejects] == [
        ("b.jsonl", 0),
        ("b.jsonl", 1),
    ]


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_line_too_long_is_one_reject(tmp_path, json_lines, monkeypatch, ending):
    """A line beyond the limit is one reject."""
    monkeypatch.setattr(parsing, "MAX_LINE_BYTES", 200_000)
    rows = [
        {"text": "a"},
        {"text": "b" * 3_500_000},
        {"text": "c"},
        {"text": "d" * 250_000},
        {"text": "e" * 150_000},
    ]
    json_lines(tmp_path / f"x.jsonl{ending}", rows)
    _, shards = read_all(tmp_path)
    assert rows_of(shards) == [rows[0], rows[2], rows[4]]
    assert [reject.row for reject in list_rejects(shards)] == [1, 3]
    offsets = [len(orjson.dumps(rows[0])) + 1, sum(len(orjson.dumps(row)) + 1 for row in rows[:3])]
    assert [reject.offset for reject in list_rejects(shards)] == offsets
    for reject, row in zip(list_rejects(shards), (rows[1], rows[3]), strict=True):
        assert "line is longer than" in reject.error
        assert reject.raw == orjson.dumps(row)[:RAW_LIMIT]


def test_a_long_line_at_the_end(tmp_path, json_lines, monkeypatch):
    """An unfinished overlong line is one reject."""
    monkeypatch.setattr(parsing, "MAX_LINE_BYTES", 1_000)
    json_lines(tmp_path / "x.jsonl", [{"text": "a"}, b'{"text": "' + b"b" * 2_000_000], b"")
    _, shards = read_all(tmp_path)
    assert rows_of(shards) == [{"text": "a"}]
    assert [(reject.row, reject.offset) for reject in list_rejects(shards)] == [(1, 13)]


def test_a_shard_may_have_only_rejects(tmp_path, json_lines):
    """A shard of rejects has an empty table."""
    json_lines(tmp_path / "x.jsonl", [{"text": "a"}, b"broken", b"broken too"])
    schema, shards = read_all(tmp_path, limits(rows=1))
    assert [shard.table.num_rows for shard in shards] == [1, 0, 0]
    assert all(shard.table.schema == schema for shard in shards)
    assert [reject.raw for reject in list_rejects(shards)] == [b"broken", b"broken too"]


def test_a_file_that_shrank_is_an_error(tmp_path, json_lines):
    """The error for a file that lost rows names the file and the rows."""
    path = Path(json_lines(tmp_path / "x.jsonl", [{"text": "a"}] * 5))
    corpus = survey([str(path)], limits())
    path.write_bytes(b'{"text": "a"}\n')
    with pytest.raises(InputError, match=r"x\.jsonl: rows 0 to 5 can't be read") as caught:
        list(read_task(plan_shards(corpus.sources, limits())[0], corpus.schema))
    assert "changed since the survey" in caught.value.remedy


def test_a_parquet_file_that_shrank_is_an_error(tmp_path):
    """A Parquet file that lost rows is an error."""
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"text": ["a"] * 5}), path)
    corpus = survey([str(path)], limits())
    pq.write_table(pa.table({"text": ["a"]}), path)
    with pytest.raises(InputError, match="rows 0 to 5"):
        list(read_task(plan_shards(corpus.sources, limits())[0], corpus.schema))


def test_nulls_among_lists_of_a_fixed_size_are_explained(tmp_path):
    """The command for null fixed-size lists makes the file readable."""
    path = tmp_path / "x.parquet"
    sizes = pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2))
    pq.write_table(pa.table({"text": ["a", "b"], "vector": sizes}), path)
    with pytest.raises(InputError, match="have a null in a column of lists of a fixed") as caught:
        read_all(path)
    command = shlex.split(caught.value.remedy.partition(": ")[2])
    subprocess.run([sys.executable, *command[1:]], check=True)
    _, shards = read_all(path)
    assert [row["vector"] for row in rows_of(shards)] == [[1.0, 2.0], None]


def test_a_file_that_is_gone_is_an_error(tmp_path, json_lines):
    """The error for a removed file names the file."""
    path = Path(json_lines(tmp_path / "x.jsonl", [{"text": "a"}]))
    corpus = survey([str(path)], limits())
    path.unlink()
    with pytest.raises(InputError, match=r"x\.jsonl: can't be opened"):
        list(read_task(plan_shards(corpus.sources, limits())[0], corpus.schema))


@pytest.fixture
def streams(monkeypatch):
    """Collect the files that are opened, each with the number of files that are open then."""
    opened, found = reading.storage.open_raw, []

    def watched(uri):
        stream = opened(uri)
        found.append((stream, sum(not earlier.closed for earlier, _ in found)))
        return stream

    monkeypatch.setattr(reading.storage, "open_raw", watched)
    return found


def test_sources_are_closed_before_the_next_opens(tmp_path, json_lines, streams):
    """Only one of a shard's files is open at a time."""
    for number in range(40):
        json_lines(tmp_path / f"{number:02}.jsonl{'.gz' if number % 2 else ''}", [{"text": "a"}])
    corpus = survey([str(tmp_path)], limits())
    (task,) = plan_shards(corpus.sources, limits())
    streams.clear()
    (shard,) = read_task(task, corpus.schema)
    assert shard.table.num_rows == len(streams) == 40
    assert [others for _, others in streams] == [0] * 40
    assert all(stream.closed for stream, _ in streams)


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.jsonl", "x.parquet"])
def test_an_abandoned_task_closes_its_file(tmp_path, json_lines, streams, name):
    """A reader that is abandoned midway closes its file."""
    path = tmp_path / name
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(numbered(0, 50, 10)), path)
    else:
        json_lines(path, numbered(0, 50, 10))
    corpus = survey([str(path)], limits(rows=8))
    streams.clear()
    shards = read_task(plan_shards(corpus.sources, limits(rows=8))[0], choose_schema(corpus))
    assert next(shards).table.num_rows == 8
    shards.close()
    assert [stream.closed for stream, _ in streams] == [True]


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.parquet"])
def test_a_sweep_opens_its_file_once(tmp_path, json_lines, streams, name):
    """A sweep opens its file once."""
    path = tmp_path / name
    rows = numbered(0, 50, 10)
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        json_lines(path, rows)
    corpus = survey([str(path)], limits(rows=8))
    (task,) = plan_shards(corpus.sources, limits(rows=8))
    streams.clear()
    assert rows_of(read_task(task, choose_schema(corpus))) == rows
    assert len(streams) == 1


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.parquet"])
def test_a_sweep_may_begin_in_its_middle(tmp_path, json_lines, name):
    """A sweep can begin at any shard by skipping rows."""
    path, rows = tmp_path / name, numbered(0, 50, 10)
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        json_lines(path, rows)
    corpus = survey([str(path)], limits(rows=8))
    (task,) = plan_shards(corpus.sources, limits(rows=8))
    found = rows_of(read_task([task[2], task[4]], choose_schema(corpus)))
    assert found == rows[16:24] + rows[32:40]


LONG = "x" * (1 << 20)


def repeated(count, nested):
    """Return a table whose rows share one long text."""
    words = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([LONG]))
    if not nested:
        return pa.table({"text": words})
    turns = pa.StructArray.from_arrays(
        [pa.array(["assistant"] * count), words], ["role", "content"]
    )
    return pa.table(
        {"messages": pa.ListArray.from_arrays(pa.array(range(count + 1), pa.int32()), turns)}
    )


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("stored", [False, True])
def test_a_dictionary_that_expands_too_far_is_refused(tmp_path, monkeypatch, nested, stored):
    """A dictionary that expands beyond the limit is refused."""
    pq.write_table(
        repeated(5_000, nested), tmp_path / "bomb.parquet", store_schema=stored, compression="none"
    )
    pq.write_table(
        repeated(50, nested), tmp_path / "few.parquet", store_schema=stored, compression="none"
    )
    decoded = []
    decode = reading.ParquetRows._decode
    monkeypatch.setattr(
        reading.ParquetRows, "_decode", lambda rows, end: decoded.append(end) or decode(rows, end)
    )
    with pytest.raises(
        InputError,
        match=r"bomb\.parquet: rows 0 to 5000 expand to more than the [0-9,]+ bytes that "
        r"shards\.expansion allows",
    ):
        read_all(tmp_path / "bomb.parquet")
    assert len(decoded) <= 2
    schema, shards = read_all(tmp_path / "few.parquet")
    assert [shard.table.num_rows for shard in shards] == [50]
    assert measure_expanded(shards[0].table.column(schema.names[0]).combine_chunks()) >= 50 << 20


def test_lists_of_very_many_equal_values_are_refused(tmp_path):
    """A file that expands to too many equal values is refused."""
    zeros = pa.ListArray.from_arrays(
        pa.array(np.arange(1_001) * 100_000, pa.int32()), pa.array(np.zeros(100_000_000, np.int8))
    )
    pq.write_table(pa.table({"text": ["a"] * 1_000, "zeros": zeros}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="expand to more"):
        read_all(tmp_path / "a.parquet")


def test_skipped_rows_do_not_count(tmp_path):
    """Skipped rows don't count towards a shard's limit."""
    pq.write_table(
        repeated(400, False), tmp_path / "a.parquet", store_schema=False, compression="none"
    )
    cut = ShardLimits.model_construct(rows=50, bytes=1 << 40, expansion=1)
    _, shards = read_all(tmp_path / "a.parquet", cut, lambda tasks: [task[-1:] for task in tasks])
    assert [shard.numbers for shard in shards] == [list(range(350, 400))]


def test_a_higher_expansion_accepts_the_dictionary(tmp_path):
    """The configured expansion applies."""
    pq.write_table(
        repeated(100, False), tmp_path / "a.parquet", store_schema=False, compression="none"
    )
    with pytest.raises(InputError, match="expand to more"):
        read_all(tmp_path / "a.parquet", ShardLimits(expansion=1))
    assert len(rows_of(read_all(tmp_path / "a.parquet", ShardLimits(expansion=200))[1])) == 100


@given(
    st.lists(
        st.one_of(st.none(), st.lists(st.one_of(st.none(), st.text(max_size=5)), max_size=4)),
        max_size=8,
    ),
    st.integers(0, 3),
)
@settings(deadline=None)
def test_dictionaries_count_as_their_texts(lists, skipped):
    """Dictionary-encoded rows count as full texts."""
    whole = pa.array(lists, pa.list_(pa.string()))
    words = whole.flatten().dictionary_encode()
    coded = pa.ListArray.from_arrays(whole.offsets, words, mask=whole.is_null())[skipped:]
    text = sum(len((word or "").encode()) for words in lists[skipped:] for word in words or ())
    assert measure_expanded(coded) == 8 * len(coded) + text


def test_a_null_field_inside_a_list_is_read(tmp_path):
    """A null field inside a list is read."""
    rows = [
        {
            "messages": [
                {"role": role, "content": "a", "tool_calls": None} for role in ("user", "assistant")
            ]
        }
    ] * 10
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert rows_of(read_all(tmp_path / "a.parquet")[1]) == rows


@given(st.data(), st.dictionaries(st.sampled_from("xyz"), variants(), min_size=1))
@settings(max_examples=40)
def test_rows_of_any_types_are_written_as_they_were_read(tmp_path_factory, data, columns):
    """Reconcilable files give all rows in one schema."""
    folder = tmp_path_factory.mktemp("types")
    expected = []
    for number in (0, 1):
        table = pa.table({"text": ["a", "b", "c"]})
        for name, (values, *kinds) in columns.items():
            rows = data.draw(st.lists(values, min_size=3, max_size=3))
            array = pa.array([fit(row, kinds[number]) for row in rows], kinds[number])
            table = table.append_column(name, array)
        pq.write_table(table, folder / f"{number}.parquet")
        expected.append(pq.read_table(folder / f"{number}.parquet"))
    schema, shards = read_all(folder, limits(rows=4))
    kind = pa.struct(list(schema))
    rows = [fill(row, kind) for table in expected for row in table.to_pylist()]
    assert rows_of(shards) == rows
    written = [pq.read_table(pa.BufferReader(encode_parquet(shard.table))) for shard in shards]
    assert [row for table in written for row in table.to_pylist()] == rows
    assert all(table.schema.equals(written[0].schema) for table in written)
    if expected[0].schema.equals(expected[1].schema, check_metadata=True):
        assert schema == choose_types(expected[0].schema)


def list_category(name, size):
    """Return a table with a category of its own in each row, as pandas writes it."""
    words = pa.array([f"{name}{number}" for number in range(size)])
    column = pa.DictionaryArray.from_arrays(pa.array(range(size), pa.int8()), words)
    return pa.table(
        {"text": words, "kind": column, "kinds": pa.ListArray.from_arrays(range(size + 1), column)}
    )


@pytest.mark.parametrize("form", ["files", "groups", "stream"])
def test_many_categories_are_written_and_read(tmp_path, form):
    """The categories of all files, row groups or batches may exceed the index of each."""
    tables = [list_category(name, 100) for name in "ab"]
    if form == "files":
        for table in tables:
            pq.write_table(table, tmp_path / f"{table['text'][0]}.parquet")
    else:
        new = pq.ParquetWriter if form == "groups" else pa.ipc.new_stream
        with new(
            str(tmp_path / f"x.{'parquet' if form == 'groups' else 'arrow'}"), tables[0].schema
        ) as writer:
            for table in tables:
                writer.write_table(table)
    _, shards = read_all(tmp_path)
    written = [pq.read_table(pa.BufferReader(encode_parquet(shard.table))) for shard in shards]
    rows = [row for table in tables for row in table.to_pylist()]
    assert [row for table in written for row in table.to_pylist()] == rows


STRICT = pa.struct([pa.field("a", pa.string(), nullable=False), ("b", pa.int8())])
OTHERS = {
    "as wide": STRICT,
    "wider": pa.struct([pa.field("a", pa.string(), nullable=False), ("b", pa.int32())]),
    "view": pa.struct([pa.field("a", pa.string_view(), nullable=False), ("b", pa.int8())]),
    "null": pa.null(),
    "absent": None,
}


@pytest.mark.parametrize("other", OTHERS)
def test_required_fields_of_null_structs_are_written(tmp_path, other):
    """A null struct with a field that mustn't be null is written, however its files differ."""
    rows = [{"a": "x", "b": 1}, None]
    pq.write_table(
        pa.table({"text": ["a", "b"], "x": pa.array(rows, STRICT)}), tmp_path / "1.parquet"
    )
    table = pa.table({"text": ["c", "d"]})
    if kind := OTHERS[other]:
        rows += [None, None] if other == "null" else rows
        table = table.append_column("x", pa.array(rows[2:], kind))
    else:
        rows += [None, None]
    pq.write_table(table, tmp_path / "2.parquet")
    schema, (shard,) = read_all(tmp_path)
    assert schema.field("x").type.field("a").nullable == (other not in ("as wide", "view"))
    written = pq.read_table(pa.BufferReader(encode_parquet(shard.table)))
    assert written["x"].to_pylist() == rows


def test_a_null_key_is_explained(tmp_path):
    """The error for a map with a null key says what to do."""
    keys = pa.DictionaryArray.from_arrays([0, 1], pa.array(["a", None]))
    table = pa.table({"text": ["a"], "x": pa.MapArray.from_arrays([0, 2], keys, pa.array([1, 2]))})
    with pa.ipc.new_file(str(tmp_path / "x.arrow"), table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(InputError, match="a null key in a column of maps") as caught:
        read_all(tmp_path)
    assert "drop the entries without a key" in str(caught.value.remedy)


def test_files_of_other_types_share_a_shard(tmp_path):
    """Small reconcilable files become one table."""
    tables = [
        pa.table({"text": pa.array(["a"], pa.string_view()), "n": pa.array([1], pa.int8())}),
        pa.table({"n": [2], "text": pa.array(["b"], pa.large_string())}),
        pa.table({"text": pa.array(["c"]).dictionary_encode()}),
    ]
    for number, table in enumerate(tables):
        pq.write_table(table, tmp_path / f"{number}.parquet")
    schema, (shard,) = read_all(tmp_path)
    assert schema == pa.schema([("text", pa.string()), ("n", pa.int64())])
    assert shard.table.schema == schema
    assert shard.table.to_pylist() == [
        {"text": "a", "n": 1},
        {"text": "b", "n": 2},
        {"text": "c", "n": None},
    ]


def test_rows_are_whole_across_batches(tmp_path, monkeypatch):
    """Small batches neither lose nor repeat rows."""
    monkeypatch.setattr(reading, "DECODED_ROWS", 7)
    write_groups(
        tmp_path / "a.parquet",
        [
            pa.Table.from_pylist(numbered(begin, end, 30))
            for begin, end in ((0, 40), (40, 45), (45, 100))
        ],
    )
    for rows in (1, 6, 33, 100):
        assert rows_of(read_all(tmp_path / "a.parquet", limits(rows=rows))[1]) == numbered(
            0, 100, 30
        )


def test_row_mask():
    """A row mask is true at the given rows."""
    assert build_row_mask(4, [1, 3]).to_pylist() == [False, True, False, True]
    assert build_row_mask(2, []).to_pylist() == [False, False]
    assert len(build_row_mask(0, [])) == 0


def test_positions_count_every_row_of_the_pieces():
    """Positions include rejects, and continue over files."""
    pieces = tuple(
        SourcePiece(name, name, "0" * 64, "jsonl", "none", Cut(begin, 0, 0), Cut(end, 9, 0))
        for name, begin, end in (("a", 10, 14), ("b", 0, 3))
    )
    table = pa.table({"text": ["x", "y", "z"]})
    shard = Shard(ShardPlan("part-0", pieces), table, ["a", "a", "b"], [10, 13, 1])
    assert shard.positions() == [0, 3, 5]


def test_bytes_in_a_dictionary_count_once_per_use():
    """A dictionary of one image counts as many images as there are rows."""
    image = pa.array([b"x" * 1_000], pa.binary())
    coded = pa.DictionaryArray.from_arrays(pa.array([0, None, 0, 0], pa.int32()), image)
    assert measure_expanded(coded) == 3_000
    rows = pa.array([[("a", 1)], [("b", 2)]], pa.map_(pa.string(), pa.int64()))
    assert measure_expanded(rows) >= 16


def test_unparsed_rows_keep_their_bytes(tmp_path):
    """Without parsing, broken lines are rows too, and the table has nulls only."""
    path = tmp_path / "a.jsonl"
    lines = [b'{"text": "a"}', b"broken", b'{"text": "b"}', b"[]", b'{"text": 1}']
    path.write_bytes(BOM + b"\n".join(lines) + b"\n")
    corpus = survey([str(path)], ShardLimits(rows=2))
    schema = pa.schema([("text", pa.string())])
    shards = [
        shard
        for task in plan_shards(corpus.sources, ShardLimits(rows=2))
        for shard in read_task(task, schema, parsed=False)
    ]
    assert [line for shard in shards for line in shard.lines] == lines
    assert [number for shard in shards for number in shard.numbers] == list(range(5))
    assert all(not shard.rejects for shard in shards)
    assert all(shard.table.column("text").null_count == len(shard.lines) for shard in shards)


def test_unparsed_elements_are_joined_lines(tmp_path):
    """The elements of an array are rows on one line each, as they are when parsed."""
    path = tmp_path / "a.json"
    path.write_bytes(b'[{"text":\n "a"}, {"text": "b"}]')
    corpus = survey([str(path)], ShardLimits())
    (task,) = plan_shards(corpus.sources, ShardLimits())
    schema = pa.schema([("text", pa.string())])
    (parsed,), (unparsed,) = (list(read_task(task, schema, given)) for given in (True, False))
    assert parsed.lines == unparsed.lines == [b'{"text": "a"}', b'{"text": "b"}']
