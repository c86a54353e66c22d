"""Surveys of single files: rows, cuts, schemas and limits."""

import bz2
import gzip
import io
import json
import lzma
import shlex
import subprocess
import sys
from itertools import pairwise

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import corpora
from schemas.corpora import ShardLimits
from schemas.errors import InputError
from transforms.files.planning import plan_shards
from transforms.files.shards import read_task
from transforms.files.sources import survey, survey_file
from transforms.files.surveys import Cut, cut_groups

WIDE = ShardLimits()
ROWS = [{"messages": [{"role": "user", "content": f'"{n}]",\n\\'}], "n": n} for n in range(40)]
PACKERS = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def limits(rows: int, size: int) -> ShardLimits:
    """Return shard limits, possibly below a configuration's minimum."""
    return ShardLimits.model_construct(rows=rows, bytes=size, expansion=200)


def encode_arrow(table: pa.Table, rows: int = 7, stream: bool = True) -> bytes:
    """Return a table as an Arrow stream or file in batches."""
    sink = io.BytesIO()
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(sink, table.schema) as writer:
        writer.write_table(table, rows)
    return sink.getvalue()


def read_shards(path, size: ShardLimits):
    """Return a path's corpus and all of its shards."""
    corpus = survey([str(path)], size)
    tasks = plan_shards(corpus.sources, size)
    return corpus, [shard for task in tasks for shard in read_task(task, corpus.schema)]


JSON_TEXTS = {
    "array on one line": json.dumps(ROWS),
    "array with an object a line": "[" + ",\n".join(map(json.dumps, ROWS)) + "]\n",
    "array with white space before it": "\r\n\n\n\n  " + json.dumps(ROWS, indent="\t"),
    "array behind a mark": "\ufeff\r\n" + json.dumps(ROWS, indent=2),
    "indented objects": "\n".join(json.dumps(row, indent=2) for row in ROWS),
    "objects without a break": "".join(map(json.dumps, ROWS)),
    "lines": "\n".join(map(json.dumps, ROWS)),
}


@pytest.mark.parametrize("packed", PACKERS)
@pytest.mark.parametrize("text", JSON_TEXTS)
def test_every_form_of_json_gives_its_rows_as_lines(tmp_path, text, packed):
    """Arrays and joined objects lose no row, and each row is one line."""
    data = JSON_TEXTS[text].encode()
    (tmp_path / f"x.json{packed}").write_bytes(PACKERS[packed](data))
    corpus, shards = read_shards(tmp_path, limits(9, 10_000))
    assert corpus.sources[0].rows == len(ROWS)
    assert len(shards) == 5
    lines = [line for shard in shards for line in shard.lines]
    assert [json.loads(line) for line in lines] == ROWS
    assert not any(b"\n" in line or b"\r" in line for line in lines)
    if "indent" not in text and "before" not in text and "mark" not in text:
        assert lines == [json.dumps(row).encode() for row in ROWS]


@pytest.mark.parametrize("packed", PACKERS)
@pytest.mark.parametrize("stream", [True, False])
def test_arrow_gives_its_rows(tmp_path, stream, packed):
    """Arrow streams and files are read in full, with cuts inside batches."""
    table = pa.Table.from_pylist(ROWS)
    (tmp_path / f"x{packed}").write_bytes(PACKERS[packed](encode_arrow(table, 13, stream)))
    corpus, shards = read_shards(tmp_path / f"x{packed}", limits(5, 1 << 20))
    assert corpus.sources[0].kind == "arrow"
    assert pa.concat_tables(shard.table for shard in shards).to_pylist() == ROWS
    assert all(shard.lines is None for shard in shards)


@pytest.mark.parametrize("packed", PACKERS)
def test_csv_gives_its_rows(tmp_path, packed):
    """CSV values are read as unchanged text."""
    data = b'\xef\xbb\xbfinstruction,output\n"a ""b""\n, c",007\n\n,1.50\nx,NaN\n'
    (tmp_path / f"x.csv{packed}").write_bytes(PACKERS[packed](data))
    corpus, shards = read_shards(tmp_path, limits(2, 10_000))
    rows = [row for shard in shards for row in shard.table.to_pylist()]
    assert [tuple(row.values()) for row in rows] == [
        ('a "b"\n, c', "007"),
        ("", "1.50"),
        ("x", "NaN"),
    ]
    assert corpus.schema.names == ["instruction", "output"]
    assert [shard.numbers for shard in shards] == [[0, 1], [2]]


@pytest.mark.parametrize("packed", [ending for ending in PACKERS if ending])
@pytest.mark.parametrize("text", ["array on one line", "indented objects"])
def test_the_limit_on_expansion_holds_for_every_compression(tmp_path, monkeypatch, packed, text):
    """A file that expands beyond its limit is refused."""
    monkeypatch.setattr(corpora, "EXPANSION_FLOOR", 1 << 10)
    path = tmp_path / f"x.json{packed}"
    path.write_bytes(PACKERS[packed](JSON_TEXTS[text].encode() * (1 if "array" in text else 9)))
    with pytest.raises(InputError, match=r"expands to more than .*shards\.expansion"):
        survey_file(str(path), "x", ShardLimits(expansion=1))


@pytest.mark.parametrize("packed", PACKERS)
@pytest.mark.parametrize("name", ["x.json", "x.arrow", "x.csv"])
def test_a_cut_file_is_never_a_shorter_corpus(tmp_path, packed, name):
    """The error for a truncated file names the file."""
    data = JSON_TEXTS["array with an object a line"].encode().rstrip()[:-1]
    if name == "x.arrow":
        data = encode_arrow(pa.Table.from_pylist(ROWS))[:-8]
    if name == "x.csv":
        data = b'text\na\n"b\nc\nd\n'
    path = tmp_path / f"{name}{packed}"
    path.write_bytes(PACKERS[packed](data))
    problem = "ends inside its array|ends without Arrow's end mark|aren't balanced"
    with pytest.raises(InputError, match=problem) as caught:
        survey_file(str(path), "x", WIDE)
    assert caught.value.where == str(path)


def test_a_table_without_good_rows_is_refused(tmp_path):
    """The error for a table of bad rows gives the first reason."""
    (tmp_path / "x.csv").write_bytes(b"a,b\n1\n")
    with pytest.raises(InputError, match=r"no row below its header: line 2: has 1 values for 2"):
        survey([str(tmp_path)], WIDE)


GROUPS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 5_000)), max_size=12)


@given(GROUPS, st.integers(1, 50), st.integers(1, 4_000))
def test_cuts_of_groups_cover_every_row_once(groups, rows, size):
    """Cuts cover every row once and keep within the limits."""
    cuts = list(cut_groups(groups, limits(rows, size)))
    total = sum(count for count, _ in groups)
    assert cuts[0] == Cut(0, 0, 0)
    assert cuts[-1].row == total
    starts = [sum(count for count, _ in groups[:end]) for end in range(len(groups) + 1)]
    for one, two in pairwise(cuts):
        assert 0 < two.row - one.row <= rows
        assert two.byte - one.byte <= size + len(groups) or two.row - one.row == 1
        assert starts[one.group] <= one.row, (
            "a shard begins in, or after the start of, the group that it is read from"
        )
    if len(groups) and total <= rows and sum(size for _, size in groups) <= size:
        assert len(cuts) <= 2


@given(
    texts=st.lists(st.integers(0, 300), min_size=1, max_size=40),
    rows=st.integers(1, 20),
    size=st.integers(40, 900),
)
def test_cuts_of_lines_cover_every_row_once(tmp_path_factory, json_lines, texts, rows, size):
    """Cuts of JSON Lines keep within the limits, unless a line exceeds them."""
    path = tmp_path_factory.mktemp("lines") / "x.jsonl"
    written = [orjson.dumps({"text": "a" * length}) for length in texts]
    json_lines(path, written)
    source = survey_file(str(path), "x.jsonl", limits(rows, size))
    data = path.read_bytes()
    assert source.cuts[0] == Cut(0, 0, 0)
    assert source.cuts[-1].row == source.rows == len(texts)
    for one, two in pairwise(source.cuts):
        assert 0 < two.row - one.row <= rows
        assert data[one.byte :].startswith(written[one.row])
        assert two.byte - one.byte <= size + 1 or two.row - one.row == 1


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (b"{'text': 'a', 'n': None}\n", "python -c 'import ast, json, sys;"),
        (b'{"text": "a"} {"text": "b"}\n', "write one object per line: jq -c . FILE"),
        (b"one text\nanother\n", "jq -Rc"),
        (b'"a"\n"b"\n', "give each text a name: jq -c '{text: .}' FILE"),
        (b'["a", "b"]', "give each text a name: jq -c '.[] | {text: .}' FILE"),
        (b"GGUF\x03\x00\x00\x00", "if it is compressed, decompress it"),
        ("\xfcber\n".encode("latin-1"), "iconv -f ENCODING -t UTF-8"),
        ("\xfcber".encode() + b"\n", "jq -Rc"),
        (b"{}\n", "if the file is empty, remove it"),
        (b"(" * 5_000, "jq -Rc"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_file_without_rows_gets_a_remedy_that_fits(tmp_path, content, remedy):
    """The remedy depends on the first value: Python, several values, text, or no text."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match="has no JSON object with a field") as caught:
        survey([str(path)], ShardLimits())
    assert remedy in caught.value.remedy


def test_python_objects_are_written_as_json_by_the_remedy(tmp_path):
    """The remedy's command writes the rows as JSON."""
    path = tmp_path / "a.jsonl"
    path.write_text("{'text': \"it's\", 'n': None}\n{'text': 'b'}\n")
    with pytest.raises(InputError) as caught:
        survey([str(path)], ShardLimits())
    words = shlex.split(caught.value.remedy.partition(": ")[2])
    command = [sys.executable, *words[1 : words.index("<")]]
    with path.open() as file:
        found = subprocess.run(command, stdin=file, capture_output=True, check=True)
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    assert rows == [{"text": "it's", "n": None}, {"text": "b"}]
