"""Hostile input: every row gets a decision, or an error stops the run."""

import bz2
import gzip
import io
import json
import lzma
import os
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from pipelines.cli.main import find_cause
from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.inspection import View, inspect_as_dicts, print_inspection
from pipelines.report import write_report
from pipelines.verify import verify_run
from schemas.errors import BudgetError, CongenerError, InputError
from schemas.runs import EVIDENCE_FOLDERS, WITHDRAWN
from tests.support.runs import read_lines
from transforms.files import json_lines
from transforms.files.footers import MAX_FIELDS
from transforms.files.json_lines import decode_lines

pytestmark = pytest.mark.faults

TELLTALE = "As an AI language model developed by OpenAI, I delve into a rich tapestry."


def build_chat(answer, **more):
    """Return a row of two messages."""
    return {
        "messages": [
            {"role": "user", "content": "Question?"},
            {"role": "assistant", "content": answer},
        ],
        **more,
    }


GOOD = [json.dumps(build_chat(f"Plain answer number {number}.")).encode() for number in range(3)]


@pytest.fixture
def filter_files(tmp_path):
    """Return a function that writes and filters files, and returns the manifest.

    The function also verifies, inspects and reports the run.
    """

    def run(files, **changes):
        corpus = tmp_path / "in"
        for name, data in files.items():
            (corpus / name).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(data, pa.Table):
                pq.write_table(data, corpus / name)
            elif isinstance(data, bytes):
                (corpus / name).write_bytes(data)
            else:
                lines = (line if isinstance(line, bytes) else line.encode() for line in data)
                (corpus / name).write_bytes(b"".join(line + b"\n" for line in lines))
        output = str(tmp_path / "run")
        given = {
            "input": (str(corpus),),
            "output": output,
            "signals": ("lexicon", "repetition"),
            **changes,
        }
        manifest = run_filter(FilterConfig.model_validate(given))
        assert manifest.conservation.holds()
        assert verify_run(output, inputs=True) == []
        print_inspection(Console(file=io.StringIO()), output, View())
        json.dumps(inspect_as_dicts(output, View()), allow_nan=False)
        write_report(output)
        return manifest

    return run


@pytest.fixture
def refuse_files(filter_files, tmp_path):
    """Return a function that filters bad files, and returns the error."""

    def run(files, **changes):
        with pytest.raises(InputError) as caught:
            filter_files(files, **changes)
        assert not (tmp_path / "run").exists()
        assert caught.value.remedy
        return caught.value

    return run


def read_rejects(tmp_path):
    """Return each reject's row, offset, error and bytes."""
    tables = [
        pq.read_table(path).to_pylist()
        for path in sorted((tmp_path / "run" / "rejects").glob("*.parquet"))
    ]
    return [
        (row["row"], row["offset"], row["error"], row["raw"]) for rows in tables for row in rows
    ]


BAD = {
    "invalid UTF-8": (b'{"messages": [{"role": "assistant", "content": "caf\xe9"}]}', "not JSON"),
    "overlong UTF-8": (b'{"messages": [{"role": "assistant", "content": "\xc0\x80"}]}', "not JSON"),
    "a raw NUL": (b'{"messages": [{"role": "assistant", "content": "a\x00b"}]}', "not JSON"),
    "ten thousand lists": (
        b'{"messages": [], "x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        "nested too deeply",
    ),
    "ten thousand objects": (
        b'{"messages": [], "y": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
        "nested too deeply",
    ),
    "tool calls of a hundred lists": (
        b'{"messages": [{"role": "assistant", "tool_calls": ' + b"[" * 100 + b"]" * 100 + b"}]}",
        "field 'messages[0].tool_calls': more than 64 nested objects and lists",
    ),
    "another type": (
        b'{"messages": "text"}',
        "field 'messages': text where the corpus has a list of messages",
    ),
    "a message that is a number": (
        b'{"messages": [{"role": "user"}, 7]}',
        "field 'messages[1]': a number where the corpus has an object",
    ),
    "a truncated line": (b'{"messages": [{"role"', "not JSON"),
    "two objects on a line": (b'{"messages": []}{"messages": []}', "not JSON"),
    "a list": (b"[1, 2]", "not a JSON object but a list"),
}


def test_bad_lines_are_rejects_with_their_offset(filter_files, tmp_path):
    """Each bad line is a reject with row, byte offset, error and bytes."""
    lines = [json.dumps(build_chat("One.", n=1)).encode()]
    for data, _ in BAD.values():
        lines += [data, GOOD[0]]
    manifest = filter_files({"a.jsonl": lines})
    assert manifest.conservation.by_decision == {"keep": len(BAD) + 1, "reject": len(BAD)}
    found = read_rejects(tmp_path)
    offsets = [sum(len(line) + 1 for line in lines[:row]) for row in range(len(lines))]
    assert [(row, offset, raw) for row, offset, _, raw in found] == [
        (row, offsets[row], lines[row][: 64 << 10]) for row in range(1, len(lines), 2)
    ]
    for (_, _, error, _), (name, (_, reason)) in zip(found, BAD.items(), strict=True):
        assert reason in error, name
        assert len(error) < 500, name


def test_a_line_of_a_hundred_megabytes_is_one_reject(filter_files, tmp_path):
    """An overlong line is one reject, and the rows after it are read."""
    long = (
        b'{"messages": [{"role": "assistant", "content": "'
        + b"delve " * (100_000_000 // 6)
        + b'"}]}'
    )
    manifest = filter_files({"a.jsonl": [*GOOD, long, *GOOD]})
    assert manifest.conservation.by_decision == {"keep": 6, "reject": 1}
    ((row, offset, error, raw),) = read_rejects(tmp_path)
    assert (row, offset, error, raw) == (
        3,
        sum(len(line) + 1 for line in GOOD),
        "the line is longer than 64 MiB",
        long[: 64 << 10],
    )


def test_a_row_that_its_note_makes_too_long_is_filtered_again(filter_files, tmp_path, monkeypatch):
    """A row that a note pushes over the longest row is still read from `clean/`."""
    text = "As an AI language model, I can't. " * 5
    row = json.dumps({"text": text}).encode()
    monkeypatch.setattr(json_lines, "MAX_LINE_BYTES", len(row))
    monkeypatch.setattr(json_lines, "MAX_NOTED_BYTES", 10 * len(row))
    options = {"traits": ("ai-disclaimer",), "signals": ("lexicon",)}
    filter_files({"a.jsonl": [row, b'{"text": "Plain."}']}, **options)
    clean = read_lines(tmp_path / "run", "clean")
    (tmp_path / "run").rename(tmp_path / "first")
    assert clean[0].startswith(row[:-1])
    assert len(clean[0]) > len(row)
    again = {"input": (str(tmp_path / "first" / "clean"),), **options}
    assert filter_files({}, **again).conservation.by_decision == {"keep": 1, "mask": 1}
    assert read_lines(tmp_path / "run", "clean") == clean


ODD_BUT_GOOD = {
    "a NUL by escape": json.dumps(build_chat("a\0b")),
    "one key twice that isn't read": json.dumps(build_chat("x"))[:-1] + ', "n": 1, "n": 2}',
    "no messages": '{"messages": []}',
    "messages that are null": '{"messages": null}',
    "no key at all": "{}",
    "a message that is null": '{"messages": [null]}',
    "a message without anything": '{"messages": [{}]}',
    "a message without content": '{"messages": [{"role": "assistant"}]}',
    "a message without a role": '{"messages": [{"content": "x"}]}',
    "a role that nobody knows": '{"messages": [{"role": "wizard", "content": "x"}]}',
    "right-to-left": json.dumps(build_chat("\u202eabc\u202c \u2066שלום\u2069"), ensure_ascii=False),
    "nothing but zero width": json.dumps(build_chat("\u200b\u200d\ufeff"), ensure_ascii=False),
    "odd keys": json.dumps(
        build_chat("x", **{"": 1, "a.b[0]": 2, "\x1b[31m": 3, "</script>": 4, "\0": 5})
    ),
}


def test_odd_rows_are_kept(filter_files, tmp_path):
    """Rows with empty conversations, missing content or unknown roles keep their bytes."""
    lines = [
        line if isinstance(line, bytes) else line.encode()
        for line in (*GOOD, *ODD_BUT_GOOD.values())
    ]
    manifest = filter_files({"a.jsonl": lines})
    assert manifest.conservation.by_decision == {"keep": len(lines)}
    assert read_lines(tmp_path / "run", "clean") == lines


ODD_FIELDS = {
    "a lone surrogate": rb'"note": "a\ud800b"',
    "a lone surrogate in a key": rb'"\udfff": 1',
    "NaN": b'"n": NaN',
    "infinity": b'"n": -Infinity',
    "a number that overflows": b'"n": 1e999',
    "thirty digits": b'"n": 123456789012345678901234567890',
    "five thousand digits": b'"n": ' + b"9" * 5_000,
    "one beyond 64 bits": b'"n": 9223372036854775808',
    "text where others have numbers": b'"n": "text"',
    "an object where others have numbers": b'"n": {"n": [{}, null, 1.50]}',
    "four hundred lists": b'"x": ' + b"[" * 400 + b"]" * 400,
    "nine hundred lists": b'"x": ' + b"[" * 900 + b"]" * 900,
    "sixty objects": b'"y": ' + b'{"a":' * 60 + b"1" + b"}" * 60,
    "a key twice": b'"n": 1, "n": 2',
    "white space": b'"n" :\t 1 ',
    "escapes": rb'"\u006e": "\u00e9\/"',
    "a teacher that is an object": b'"teacher": {"name": "atlas"}',
    "a date that is a number": b'"created": 1767225600',
    "ten thousand keys": b", ".join(b'"k%d": %d' % (number, number) for number in range(10_000)),
}
"""Fields in a line that no format reads."""


def add_field(line, field):
    """Append a field to an object's line."""
    return line[:-1] + b", " + field + b"}"


def test_odd_fields_pass_through_with_their_bytes(filter_files, tmp_path):
    """Unread fields affect no decision, and keep their bytes."""
    held = json.dumps(build_chat(TELLTALE)).encode()
    lines = [add_field(line, field) for field in ODD_FIELDS.values() for line in (GOOD[0], held)]
    policy = tmp_path / "policy.yaml"
    policy.write_text("traits: {vendor-identity: {threshold: 0.5, action: quarantine}}\n")
    manifest = filter_files({"a.jsonl": lines}, traits=("vendor-identity",), policy=str(policy))
    half = len(ODD_FIELDS)
    assert manifest.conservation.by_decision == {"keep": half, "quarantine": half}
    assert read_lines(tmp_path / "run", "clean") == lines[::2]
    for line, found in zip(lines[1::2], read_lines(tmp_path / "run", "quarantine"), strict=True):
        assert found.startswith(line[:-1].rstrip() + b',"congener":{"record_id":')


ODD_TEXTS = {
    "a lone surrogate": rb'"content": "a\ud800b"',
    "a name that is a number": b'"content": "x", "name": 7',
    "a content that is a number": b'"content": 7',
    "a content that is NaN": b'"content": NaN',
    "parts of every kind": b'"content": ["a", 1, null, {"text": "b"}, {"text": 2}, [["c"]]]',
    "a part alone": b'"content": {"type": "text", "text": "b"}',
    "calls that are a number": b'"tool_calls": 1e999',
    "calls of sixty lists": b'"tool_calls": ' + b"[" * 60 + b"]" * 60,
    "both spellings": b'"content": "x", "from": "gpt", "value": "y"',
}
"""Odd but readable message fields."""


def test_odd_messages_are_kept_with_their_bytes(filter_files, tmp_path):
    """A row with message fields of other types than text keeps its bytes."""
    lines = [
        b'{"messages": [{"role": "assistant", ' + field + b"}]}" for field in ODD_TEXTS.values()
    ]
    manifest = filter_files({"a.jsonl": [*GOOD, *lines]})
    assert manifest.conservation.by_decision == {"keep": len(GOOD) + len(lines)}
    assert read_lines(tmp_path / "run", "clean") == [*GOOD, *lines]


def test_a_file_that_no_row_can_be_read_of_stops_the_run(filter_files, tmp_path):
    """If all rows of a file are rejects, the error gives the first reason."""
    bad = [json.dumps({"messages": f"text {number}"}) for number in range(3)]
    with pytest.raises(BudgetError, match=r"b\.jsonl: all 3 rows are rejects") as caught:
        filter_files({"a.jsonl": [*GOOD, *GOOD], "b.jsonl": bad})
    assert "row 0: field 'messages': text where the corpus has a list" in str(caught.value)
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left == {*EVIDENCE_FOLDERS, WITHDRAWN}


def test_a_telltale_is_found_in_odd_surroundings(filter_files):
    """Direction marks, zero-width characters and odd line ends don't hide a text."""
    rows = [
        build_chat(f"\u202e{TELLTALE}\u202c"),
        build_chat(f"\u200b{TELLTALE}\u200b"),
        build_chat(f"{TELLTALE}\r\n"),
    ]
    manifest = filter_files(
        {
            "a.jsonl": b"\xef\xbb\xbf"
            + b"\r\n".join(json.dumps(row, ensure_ascii=False).encode() for row in rows)
        }
    )
    assert "keep" not in manifest.conservation.by_decision
    assert manifest.conservation.rows_in == 3


WAYS = {
    "CRLF": ("a.jsonl", b"\r\n".join(GOOD)),
    "no newline at the end": ("a.jsonl", b"\n".join(GOOD)),
    "blank lines": ("a.jsonl", b"\n \n".join(GOOD) + b"\n\n"),
    "a byte order mark": ("a.jsonl", b"\xef\xbb\xbf" + b"\n".join(GOOD)),
    "gzip members": ("a.jsonl.gz", b"".join(gzip.compress(line + b"\n") for line in GOOD)),
    "gzip members cut inside lines": (
        "a.jsonl.gz",
        gzip.compress(b"\n".join(GOOD)[:50]) + gzip.compress(b"\n".join(GOOD)[50:]),
    ),
    "zstd frames": (
        "a.jsonl.zst",
        b"".join(pa.compress(line + b"\n", "zstd", asbytes=True) for line in GOOD),
    ),
    "a skippable frame": (
        "a.jsonl.zst",
        b"\x50\x2a\x4d\x18\x01\0\0\0x" + pa.compress(b"\n".join(GOOD), "zstd", asbytes=True),
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_files_are_read_as_they_are_written(filter_files, tmp_path, way):
    """Rows survive any line ends, byte order marks and multi-part archives unchanged."""
    name, data = WAYS[way]
    assert filter_files({name: data}).conservation.by_decision == {"keep": 3}
    (path,) = (tmp_path / "run" / "clean").iterdir()
    assert path.name.endswith(name.removeprefix("a"))
    lines = decode_lines(path.read_bytes(), name.removeprefix("a"))
    assert [line.rstrip(b"\r") for line in lines] == GOOD


PACKED = gzip.compress(b"\n".join(GOOD) * 50)
ZSTD = pa.compress(b"\n".join(GOOD), "zstd", asbytes=True)


def build_parquet(**options):
    """Write a small Parquet file to memory."""
    stream = io.BytesIO()
    pq.write_table(
        pa.table({"text": [f"row {number}" for number in range(500)]}), stream, **options
    )
    return stream.getvalue()


STOPS = {
    "a truncated gzip": ({"a.jsonl.gz": PACKED[:-9]}, "can't be read: gzip: "),
    "a truncated zstd": ({"a.jsonl.zst": ZSTD[:-5]}, "can't be read: zstd: "),
    "rubbish behind gzip": ({"a.jsonl.gz": PACKED + b"rubbish!"}, "can't be read: gzip: "),
    "rubbish behind zstd": ({"a.jsonl.zst": ZSTD + b"rubbish!"}, "can't be read: zstd: "),
    "a truncated bzip2": ({"a.jsonl.bz2": bz2.compress(GOOD[0])[:-9]}, "can't be read: bz2: "),
    "rubbish behind xz": ({"a.jsonl.xz": lzma.compress(GOOD[0]) + b"rubbish!"}, "read: xz: "),
    "an xz bomb": (
        {"a.jsonl.xz": lzma.compress(GOOD[0] + b"\n" + b" " * (80 << 20))},
        "expands to more than",
    ),
    "a gzip bomb": (
        {"a.jsonl.gz": gzip.compress(GOOD[0] + b"\n" + b" " * (80 << 20), 9)},
        "expands to more than",
    ),
    "a zstd bomb": (
        {"a.jsonl.zst": pa.compress(GOOD[0] + b"\n" + b"x" * (80 << 20), "zstd", asbytes=True)},
        "expands to more than",
    ),
    "no footer": ({"a.parquet": build_parquet()[:-20]}, "can't be read as Parquet"),
    "a damaged footer": (
        {"a.parquet": build_parquet()[:-60] + b"\xff" * 40 + build_parquet()[-20:]},
        "can't be read as Parquet",
    ),
    "a footer longer than the file": (
        {"a.parquet": build_parquet()[:-8] + b"\xff\xff\xff\x7fPAR1"},
        "can't be read as Parquet",
    ),
    "text in bytes": ({"a.parquet": pa.table({"text": [b"a"]})}, "no known format fits"),
    "another type": (
        {"a.parquet": pa.table({"text": ["a"]}), "b.parquet": pa.table({"text": [1]})},
        "has 'text' as string",
    ),
    "one name twice": (
        {"a.parquet": pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["text", "text"])},
        "two fields 'text'",
    ),
    "a column that is taken": (
        {"a.jsonl": [json.dumps(build_chat("x", congener=1))]},
        "already has a column 'congener'",
    ),
    "UTF-16": ({"a.jsonl": GOOD[0].decode().encode("utf-16")}, "is UTF-16"),
    "nothing": ({"a.jsonl": b""}, "is empty"),
    "blank lines alone": ({"a.jsonl": b"\n\n \n"}, "has no JSON object with a field"),
}


@pytest.mark.parametrize("kind", STOPS)
def test_damage_of_a_whole_file_stops_the_run_before_any_work(refuse_files, tmp_path, kind):
    """The error for a damaged file or a compression bomb names the file, and nothing is written."""
    files, problem = STOPS[kind]
    began = time.process_time()
    error = refuse_files(files)
    assert problem in str(error)
    assert time.process_time() - began < 20
    if "congener" not in problem and "no known format" not in problem:
        assert str(tmp_path / "in" / "a.") in str(error)


def test_a_dictionary_that_unfolds_too_far_stops_the_run_before_anything_is_published(
    filter_files, tmp_path
):
    """The error for a small file that repeats a long text 5,000 times names file and rows."""
    words = pa.DictionaryArray.from_arrays(
        pa.array([0] * 5_000, pa.int32()), pa.array(["x" * (1 << 20)])
    )
    with pytest.raises(Exception, match=r"a\.parquet") as caught:
        filter_files({"a.parquet": pa.table({"text": words})})
    found = find_cause(caught.value)
    assert isinstance(found, InputError)
    assert "rows 0 to 1000 expand to more than" in str(found)
    assert "raise shards.expansion" in str(found)
    assert not (tmp_path / "run" / "manifest.json").exists()


def test_a_table_of_very_many_columns_is_refused_at_once(refuse_files):
    """A table of fifty thousand columns is refused at once."""
    table = pa.table({"text": ["a"], **{f"c{number}": [1] for number in range(50_000)}})
    error = refuse_files({"a.parquet": table})
    assert f"has 50,001 columns, more than {MAX_FIELDS:,}" in error.problem


def test_a_raised_expansion_lets_a_file_in(filter_files):
    """A higher `shards.expansion` lets a compression bomb be read."""
    data = gzip.compress(GOOD[0] + b"\n" + b"x" * (80 << 20), 9)
    manifest = filter_files({"a.jsonl.gz": data}, shards={"expansion": 2_000})
    assert manifest.conservation.by_decision == {"keep": 1, "reject": 1}


@pytest.mark.parametrize(
    "options", [{"compression": "none", "write_page_checksum": True}, {"compression": "snappy"}]
)
def test_damaged_pages_stop_the_run_with_file_and_rows(filter_files, tmp_path, options):
    """The error for damaged pages names the file and the rows."""
    data = bytearray(build_parquet(use_dictionary=False, **options))
    offset = data.index(b"row 300") if b"row 300" in data else len(data) // 3
    data[offset : offset + 4] = b"\xff\xff\xff\xff"
    with pytest.raises(Exception, match=r"a\.parquet") as caught:
        filter_files({"a.parquet": bytes(data)})
    found = find_cause(caught.value)
    assert isinstance(found, CongenerError)
    assert "rows 0 to 500 can't be read" in str(found)
    assert not (tmp_path / "run" / "manifest.json").exists()


TEXTS = ["Plain.", TELLTALE, None]
TURN = pa.struct([("role", pa.string()), ("content", pa.string())])
TURNS = [build_chat(text)["messages"] for text in TEXTS]
TYPES = {
    "dictionary": pa.table({"text": pa.array(TEXTS).dictionary_encode()}),
    "large string": pa.table({"text": pa.array(TEXTS, pa.large_string())}),
    "string view": pa.table({"text": pa.array(TEXTS, pa.string_view())}),
    "large list": pa.table({"messages": pa.array(TURNS, pa.large_list(TURN))}),
    "odd columns beside": pa.table(
        {
            "text": TEXTS,
            "m": pa.array([[("a", 1)]] * 3, pa.map_(pa.string(), pa.int64())),
            "n": pa.nulls(3),
            "f": [float("nan")] * 3,
        }
    ),
}


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_of_text_is_read(filter_files, tmp_path, kind):
    """Dictionaries, large strings and views are read as text."""
    manifest = filter_files({"a.parquet": TYPES[kind]})
    decisions = dict(manifest.conservation.by_decision)
    assert (decisions.pop("keep"), sum(decisions.values())) == (2, 1), "the telltale is found"
    clean = pq.read_table(next((tmp_path / "run" / "clean").iterdir()))
    read = pq.read_schema(tmp_path / "in" / "a.parquet")
    assert [clean.schema.field(item.name).type for item in read] == [
        pa.string() if item.type == pa.string_view() else item.type for item in read
    ]


def encode_arrow(table):
    """Return a table as an Arrow stream of two batches."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, 2)
    return sink.getvalue()


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_invalid_text_in_a_table_is_a_reject(filter_files, tmp_path, kind):
    """Rows with invalid UTF-8 are rejects in any column."""
    broken = pa.array([b"fine", b"caf\xe9", b"fine", b"fine"], pa.binary()).view(pa.string())
    beside = pa.array([b"fine", b"fine", b"\xff", b"fine"], pa.binary()).view(pa.string())
    table = pa.table({"text": broken, "note": beside})
    data = table if kind == "parquet" else encode_arrow(table)
    manifest = filter_files({f"a.{kind}": data})
    assert manifest.conservation.by_decision == {"keep": 2, "reject": 2}
    assert [row for row, *_ in read_rejects(tmp_path)] == [1, 2]


def test_a_value_that_parquet_cannot_hold_is_a_reject(filter_files, tmp_path):
    """Times and dates that Parquet can't hold become rejects."""
    numbers = {
        "at": ([1 << 62, 0, 1 << 50, 0], pa.timestamp("s")),
        "day": ([0, 1, 86_400_000 * 5_000_000, 0], pa.date64()),
        "clock": ([0, 0, -5, 0], pa.time64("us")),
        "old": ([0, 0, -(1 << 62), 0], pa.timestamp("us", "UTC")),
    }
    columns = {name: pa.array(found).view(kind) for name, (found, kind) in numbers.items()}
    table = pa.table({"text": ["a", "b", "c", "d"], **columns})
    manifest = filter_files({"a.arrow": encode_arrow(table)})
    assert manifest.conservation.by_decision == {"keep": 2, "reject": 2}
    assert [row for row, *_ in read_rejects(tmp_path)] == [0, 1]
    clean = pq.read_table(next((tmp_path / "run" / "clean").iterdir()))
    assert clean["text"].to_pylist() == ["c", "d"]
    assert clean["at"].cast(pa.int64()).to_pylist() == [1000 << 50, 0]
    assert clean["day"].cast(pa.int32()).to_pylist() == [5_000_000, 0]
    assert clean["clock"].cast(pa.int64()).to_pylist() == [-5, 0]
    assert clean["old"].cast(pa.int64()).to_pylist() == [-(1 << 62), 0]


def test_no_rows_at_all_are_a_run(filter_files):
    """Tables without rows give a run without rows."""
    empty = pa.table({"text": pa.array([], pa.string())})
    assert filter_files({"a.parquet": empty, "b.parquet": empty}).conservation.rows_in == 0


NAMES = (
    "a b.jsonl",
    "new\nline.jsonl",
    "..jsonl",
    "sub/x..jsonl",
    "\x1b[31mred.jsonl",
    "[a]*?.jsonl",
    "{}$(id);`x`.jsonl",
    "\u202egpj.jsonl",
    "ünï.jsonl",
    "a" * 200 + ".jsonl",
)


def test_odd_file_names_are_names(filter_files, tmp_path):
    """Odd file names are recorded unchanged, but output names have no odd characters."""
    files = {
        name: [json.dumps(build_chat(f"Answer {number}."))] for number, name in enumerate(NAMES)
    }
    manifest = filter_files(files)
    assert {source.name for source in manifest.inputs} == set(NAMES) - {"..jsonl"}, (
        "names that begin with a dot are left out, as documented"
    )
    made = [
        path.relative_to(tmp_path / "run").as_posix()
        for path in (tmp_path / "run").rglob("*")
        if path.is_file()
    ]
    assert "manifest.json" in made
    odd = set("*?[]{}$\\`'\"<>|;&!#:")
    assert all(path.isprintable() and not odd & set(path) for path in made)
    assert not any(name.startswith(".") for path in made for name in path.split("/"))
    assert {path.name for path in tmp_path.iterdir()} == {"in", "run"}


def test_a_link_that_leads_nowhere_stops_the_run(filter_files, refuse_files, tmp_path):
    """The error for a looping link names the link."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "loop.jsonl").symlink_to("loop.jsonl")
    error = catch_error(filter_files, {"a.jsonl": GOOD})
    assert "loop.jsonl: is a broken link to loop.jsonl: Too many levels" in str(error)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read every file")
def test_an_unreadable_file_stops_the_run(filter_files, tmp_path):
    """The error for an unreadable file names the file."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.jsonl").touch(0o000)
    assert "b.jsonl: can't be opened: Permission denied" in str(
        catch_error(filter_files, {"a.jsonl": GOOD})
    )


def catch_error(filter_files, files):
    """Filter bad files, and return the error."""
    with pytest.raises(InputError) as caught:
        filter_files(files)
    return caught.value


MARKS = "e" + "\u0301\u0327" * 100_000


@pytest.mark.parametrize(
    "text",
    [MARKS, "<think>a</think>b " * 20_000, "a" * 4_000_000 + "</think>" + TELLTALE],
    ids=["marks", "thoughts", "long"],
)
def test_texts_that_are_costly_to_take_apart_are_read_in_time(filter_files, text):
    """Long runs of combining marks or thoughts take linear time."""
    began = time.process_time()
    assert (
        filter_files({"a.jsonl": [*GOOD, json.dumps(build_chat(text))]}).conservation.rows_in == 4
    )
    assert time.process_time() - began < 60
