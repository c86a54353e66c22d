"""Fuzz the readers: make valid files, damage them, and read them all.

`python -m tests.faults.fuzzing --cases 200000` is the nightly run. A case depends only on the seed
and its number, so `--first NUMBER --cases 1` repeats a failure. Cases run in a child process. A
native crash counts as a finding, and a new child runs the next case.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import queue
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.corpora import CorpusConfig, ShardLimits
from schemas.errors import CongenerError
from transforms.files.json_lines import BOM, append_field, parse_line
from transforms.files.planning import plan_shards
from transforms.files.shards import Shard, read_task
from transforms.files.sources import Corpus, survey
from transforms.identify import identify
from transforms.records.formats import Layout, settle_layout
from transforms.write import encode_parquet

MEMORY = 8 << 30
"""The limit on a child's address space in bytes."""

CASES_PER_CHILD = 5_000
"""How many cases a child runs. Surveys leak address space."""

SECONDS_PER_MEGABYTE = 1.0
STUCK = 60
"""How many seconds without a finished case mean that a child hangs."""


class Case(NamedTuple):
    """A file to read, its damage, and its number of rows if known."""

    name: str
    data: bytes
    damage: tuple[str, ...]
    limits: ShardLimits
    rows: int | None


# Valid files

WORDS = (
    "delve",
    "As an AI language model",
    "été",
    "日本",
    "\u202e",
    "<think>why</think>",
    "",
    " ",
    "\U0001f600",
    "a" * 300,
    "</think>",
    "\u0301",
    "|",
)


def _make_text(draw: random.Random) -> str:
    return " ".join(draw.choices(WORDS, k=draw.randint(0, 5)))


def _make_turns(draw: random.Random, role: str, content: str) -> list[dict[str, Any]]:
    return [
        {
            role: draw.choice(("user", "assistant", "system", "human", "gpt", "wizard")),
            content: _make_text(draw),
        }
        for _ in range(draw.randint(0, 4))
    ]


FORMATS: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "messages": lambda draw: {"messages": _make_turns(draw, "role", "content")},
    "conversations": lambda draw: {"conversations": _make_turns(draw, "from", "value")},
    "alpaca": lambda draw: {
        "instruction": _make_text(draw),
        "input": _make_text(draw),
        "output": _make_text(draw),
    },
    "completion": lambda draw: {"prompt": _make_text(draw), "completion": _make_text(draw)},
    "preference": lambda draw: {
        "prompt": _make_text(draw),
        "chosen": _make_turns(draw, "role", "content"),
        "rejected": _make_turns(draw, "role", "content"),
    },
    "text": lambda draw: {"text": _make_text(draw)},
}

MORE: tuple[dict[str, Any], ...] = (
    {},
    {"teacher": "atlas", "n": 1, "meta": {"a": [1.5, None], "b": {"c": True}}},
    {"created": "2026-01-01T00:00", "source": None, "tags": ["a", "b"], "empty": {}},
    {"calls": [{"function": {"name": "f", "arguments": {"x": [1, 2]}}}], "price": 0.1},
)
"""Extra columns of a corpus."""


def make_rows(draw: random.Random) -> list[dict[str, Any]]:
    """Make rows of one format."""
    make = draw.choice(list(FORMATS.values()))
    more = draw.choice(MORE)
    return [{**make(draw), **more} for _ in range(draw.choice((1, 5, 15, 40)))]


# Damage to JSON rows: each function takes one line and returns the lines that replace it

ODD_VALUES: tuple[bytes, ...] = (
    b"null", b"true", b"-1", b"1e400", b"NaN", b"-Infinity",
    b"123456789012345678901234567890", b"18446744073709551615", b"9223372036854775808",
    b"1.5", b'"\\ud800"', b'"\\u0000"', b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"',
    b"[]", b"{}", b"[[]]", b'{"":0}', b'{"role":null}', b'[null,{"role":"user"}]',
    b"[" * 40 + b"]" * 40, b"[" * 1500 + b"]" * 1500, b'{"a":' * 200 + b"1" + b"}" * 200,
    b'"' + b"x" * 70_000 + b'"', b'{"a\\ud800":1}', b"01", b"'a'",
)  # fmt: skip


def _insert_odd_value(draw: random.Random, line: bytes) -> list[bytes]:
    """Replace a value with an odd value."""
    colons = [offset for offset, char in enumerate(line) if char == ord(":")]
    if not colons:
        return [line]
    start = draw.choice(colons) + 1
    ends = (offset for offset in range(start + 1, len(line)) if line[offset] in b",}]")
    return [line[:start] + draw.choice(ODD_VALUES) + line[next(ends, len(line)) :]]


def _add_key(draw: random.Random, line: bytes) -> list[bytes]:
    key = draw.choice(
        (
            b'"n"',
            b'"messages"',
            b'"text"',
            b'"new"',
            b'"\\u0000"',
            b'""',
            b'"a.b[0]"',
            b'"' + b"k" * 500 + b'"',
        )
    )
    return [
        line[:1]
        + key
        + b":"
        + draw.choice(ODD_VALUES)
        + (b"," if line != b"{}" else b"")
        + line[1:]
    ]


LINES: tuple[Callable[[random.Random, bytes], list[bytes]], ...] = (
    _insert_odd_value,
    _add_key,
    lambda draw, line: [line + b"\r"],
    lambda draw, line: [b"\xef\xbb\xbf" + line],
    lambda draw, line: [line, b""],
    lambda draw, line: [line + line],
    lambda draw, line: [line[: draw.randrange(len(line) + 1)]],
    lambda draw, line: [b"\x00" * draw.randint(1, 9), line],
    lambda draw, line: [draw.choice(ODD_VALUES), line],
    lambda draw, line: [line.replace(b'"', b"'")],
    lambda draw, line: [b" \t" + line + b" \x0b"],
    lambda draw, line: [b"\x85", b"\x1c", b"\xe2\x80\xa8", line],
)


def make_json_lines(draw: random.Random) -> tuple[bytes, list[str]]:
    """Make JSON Lines and damage some; return the data and the damage."""
    lines = [orjson.dumps(row) for row in make_rows(draw)]
    damage = []
    for _ in range(draw.choice((0, 1, 1, 2, 5))):
        row, kind = draw.randrange(len(lines)), draw.randrange(len(LINES))
        lines[row : row + 1] = LINES[kind](draw, lines[row]) or [b"{}"]
        damage.append(f"line mutation {kind}")
    data = draw.choice((b"\n", b"\n", b"\r\n")).join(lines)
    return data + draw.choice((b"", b"\n", b"\n\n")), damage


# Damage to bytes


def _choose_offset(draw: random.Random, size: int) -> int:
    """Choose an offset, often near the start or the end."""
    near = draw.choice((0, 0, 0, 1, 2))
    return min(
        size,
        (
            draw.randrange(size + 1),
            min(40, draw.randrange(size + 1)),
            size - min(400, draw.randrange(size + 1)),
        )[near],
    )


def _overwrite(draw: random.Random, data: bytearray, value: bytes) -> None:
    start = _choose_offset(draw, len(data))
    data[start : start + len(value)] = value


def _flip(draw: random.Random, data: bytearray) -> None:
    if data:
        data[_choose_offset(draw, len(data) - 1)] ^= 1 << draw.randrange(8)


def _delete(draw: random.Random, data: bytearray) -> None:
    start = _choose_offset(draw, len(data))
    del data[start : start + draw.choice((1, 2, 8, 100))]


def _double(draw: random.Random, data: bytearray) -> None:
    start, size = _choose_offset(draw, len(data)), draw.choice((1, 4, 50, 1000))
    data[start:start] = data[start : start + size]


def _exchange(draw: random.Random, data: bytearray) -> None:
    a, b, size = (
        _choose_offset(draw, len(data)),
        _choose_offset(draw, len(data)),
        draw.choice((1, 8, 64)),
    )
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]


BYTES: tuple[Callable[[random.Random, bytearray], None], ...] = (
    _flip,
    _delete,
    _double,
    _exchange,
    lambda draw, data: _overwrite(draw, data, draw.randbytes(draw.choice((1, 4, 16)))),
    lambda draw, data: _overwrite(
        draw, data, draw.choice((b"\x00", b"\xff", b"\x7f", b"\x80")) * draw.choice((1, 4, 8))
    ),
    lambda draw, data: _overwrite(draw, data, (1 << draw.randrange(64)).to_bytes(8, "little")),
    # A long varint, as in Parquet's Thrift footers.
    lambda draw, data: _overwrite(draw, data, b"\xff\xff\xff\xff" + bytes([draw.randrange(128)])),
    lambda draw, data: data.__setitem__(slice(_choose_offset(draw, len(data)), None), b""),
    lambda draw, data: data.__iadd__(draw.randbytes(draw.choice((1, 8, 100)))),
)


def damage_bytes(draw: random.Random, data: bytes) -> tuple[bytes, list[str]]:
    """Damage bytes in one to four places; return the new bytes and the damage."""
    altered, damage = bytearray(data), []
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        kind = draw.randrange(len(BYTES))
        BYTES[kind](draw, altered)
        damage.append(f"byte mutation {kind}")
    return bytes(altered), damage


# Whole files


def _compress(draw: random.Random, data: bytes, codec: str) -> bytes:
    """Compress data into one stream, or into two joined streams."""
    cut = draw.choice((len(data), len(data), draw.randrange(len(data) + 1)))
    parts = (data[:cut], data[cut:]) if cut < len(data) else (data,)
    return b"".join(
        gzip.compress(part, 1, mtime=0)
        if codec == "gzip"
        else pa.compress(part, codec="zstd", asbytes=True)
        for part in parts
    )


def make_json_file(draw: random.Random) -> tuple[str, bytes, list[str]]:
    """Make a JSON Lines file, plain or compressed; return name, data and damage."""
    data, damage = make_json_lines(draw)
    codec = draw.choice(("plain", "gzip", "zstd"))
    return (
        {"plain": "x.jsonl", "gzip": "x.jsonl.gz", "zstd": "x.jsonl.zst"}[codec],
        data if codec == "plain" else _compress(draw, data, codec),
        damage,
    )


TYPES = (
    pa.timestamp("us", "UTC"), pa.decimal128(20, 4), pa.binary(), pa.map_(pa.string(), pa.int64()),
    pa.float16(), pa.date32(), pa.duration("s"), pa.list_(pa.float32(), 2),
    pa.large_list(pa.string()), pa.dictionary(pa.int32(), pa.string()), pa.time64("us"),
    pa.struct([("a", pa.string())]),
)  # fmt: skip


def _retype(draw: random.Random, table: pa.Table) -> tuple[pa.Table, list[str]]:
    """Change the type or the content of some text columns; return the table and the damage."""
    damage = []
    for column_index, item in enumerate(table.schema):
        change = draw.randrange(8)
        if not pa.types.is_string(item.type) or change > 4:
            continue
        column = table.column(column_index).combine_chunks()
        values = (
            lambda column=column: column.cast(pa.large_string()),
            lambda column=column: column.dictionary_encode(),
            lambda column=column: pa.array(column.to_pylist(), pa.string_view()),
            lambda column=column: pa.nulls(len(column), pa.string()),
            lambda column=column: pa.array(
                [b"\xff\xc0" + (text or "").encode() for text in column.to_pylist()], pa.binary()
            ).view(pa.string()),
        )[change]()
        table = table.set_column(column_index, item.name, values)
        damage.append(f"column {item.name} retyped {change}")
    return table, damage


def make_parquet_file(draw: random.Random) -> tuple[str, bytes, list[str]]:
    """Make a Parquet file; return name, data and damage.

    Codec, page version, row groups, types and text vary.
    """
    rows = [{name: value for name, value in row.items() if value != {}} for row in make_rows(draw)]
    table, damage = _retype(draw, pa.Table.from_pylist(rows))
    if draw.random() < 0.3:
        table = table.append_column("odd", pa.array([None] * len(table)).cast(draw.choice(TYPES)))
    stream = io.BytesIO()
    options = {
        "compression": draw.choice(("none", "snappy", "zstd", "gzip")),
        "use_dictionary": draw.choice((True, False)),
        "data_page_version": draw.choice(("1.0", "2.0")),
        "row_group_size": draw.choice((3, 10, 1000)),
        "write_statistics": draw.choice((True, False)),
        "store_schema": draw.choice((True, False)),
        "write_page_checksum": draw.random() < 0.1,
    }
    pq.write_table(
        table.slice(0, draw.choice((len(table), len(table), 0))) if not damage else table,
        stream,
        **options,
    )
    return "x.parquet", stream.getvalue(), damage


def make_case(seed: int, number: int) -> Case:
    """Make a case from a seed and a case number."""
    return draw_case(random.Random(f"{seed}/{number}"))


def draw_case(draw: random.Random) -> Case:
    """Make a case from a random number generator."""
    name, data, damage = draw.choice((make_json_file, make_parquet_file, make_parquet_file))(draw)
    if draw.random() < (0.9 if name == "x.parquet" else 0.5):
        data, more = damage_bytes(draw, data)
        damage += more
    limits = ShardLimits.model_construct(
        rows=draw.choice((3, 10, 5_000)), bytes=draw.choice((2_000, 1 << 20)), expansion=200
    )
    return Case(name, data, tuple(damage), limits, count_known_rows(name, data))


def count_known_rows(name: str, data: bytes) -> int | None:
    """Count a JSON file's rows without congener, or return None."""
    plain = unpack_lines(name, data)
    return None if plain is None else sum(bool(line.strip()) for line in plain.split(b"\n"))


def unpack_lines(name: str, data: bytes) -> bytes | None:
    """Unpack a JSON file without congener, or return None."""
    if name.endswith((".zst", ".parquet")) or data.startswith(b"PAR1"):
        return None
    try:
        return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except (OSError, EOFError, zlib.error):
        return None


# What must hold


class Outcome(NamedTuple):
    """A case's outcome: its kind, its details and its CPU seconds.

    The good kinds are `read` and `refused`. The faults are `lost`, `raised`, `slow` and `died`.
    """

    kind: str
    detail: str
    seconds: float


def run_case(case: Case, folder: Path) -> Outcome:
    """Read a case's file, and return the outcome."""
    path = folder / case.name
    path.write_bytes(case.data)
    began = time.process_time()
    try:
        detail = _read_case(path, case)
        kind = "lost" if detail else "read"
    except CongenerError as error:
        kind, detail = "refused", type(error).__name__
    except BaseException:
        kind, detail = "raised", traceback.format_exc()
    seconds = time.process_time() - began
    if seconds > SECONDS_PER_MEGABYTE * max(1.0, len(case.data) / (1 << 20)):
        return Outcome(
            "slow", f"{seconds:.1f} s for {len(case.data)} bytes; {kind} {detail}", seconds
        )
    return Outcome(kind, detail, seconds)


def _read_case(path: Path, case: Case) -> str:
    """Read a file, and describe lost or altered rows."""
    corpus = survey([str(path)], case.limits)
    (source,) = corpus.sources
    layout = _settle_layout(corpus)
    everything = pa.schema([]) if source.kind == "jsonl" else corpus.schema
    schema = everything if layout is None else corpus.select_schema(layout)
    numbers: list[int] = []
    for task in plan_shards(corpus.sources, case.limits):
        for shard in read_task(task, schema):
            shard.table.validate()
            found = shard if layout is None else identify(shard, layout)
            if found.lines is None:
                encode_parquet(found.table)
            find = _find_altered if source.kind == "jsonl" else _find_other_values
            if altered := find(found, case):
                return altered
            numbers += [*found.numbers, *(reject.row for reject in found.rejects)]
    if sorted(numbers) != list(range(source.rows)):
        return f"{source.rows} rows surveyed, rows {sorted(numbers)[:50]} came out"
    counted = source.kind in ("jsonl", "parquet")  # objects on one line are several rows
    if counted and case.rows is not None and case.rows != source.rows:
        return f"the file has {case.rows} rows, {source.rows} were surveyed"
    return ""


def _settle_layout(corpus: Corpus) -> Layout | None:
    """Return a corpus's layout, or None if no format fits."""
    try:
        return settle_layout(corpus.schema, CorpusConfig())
    except CongenerError:
        return None


def _find_altered(shard: Shard, case: Case) -> str:
    """Describe the JSON Lines rows with altered bytes."""
    plain = unpack_lines(case.name, case.data) if shard.lines is not None else None
    if shard.lines is None or plain is None:
        return ""
    if len(shard.lines) != len(shard.numbers):
        return f"{len(shard.numbers)} rows with {len(shard.lines)} lines"
    rows = [line.removeprefix(BOM) for line in plain.split(b"\n") if line.strip()]
    altered = [
        number
        for number, line in zip(shard.numbers, shard.lines, strict=True)
        if line != rows[number]
    ]
    noted = [append_field(line, "congener", {"decision": "flag"}) for line in shard.lines]
    altered += [
        number
        for number, line in zip(shard.numbers, noted, strict=True)
        if parse_line(line)[0].get("congener") != {"decision": "flag"}
    ]
    return f"rows {altered[:50]} are altered" if altered else ""


def _find_other_values(shard: Shard, case: Case) -> str:
    """Describe altered array elements or joined objects.

    Joined objects are compared only up to the first value that is no object.
    """
    plain = unpack_lines(case.name, case.data) if shard.lines is not None else None
    if shard.lines is None or plain is None:
        return ""
    values = list(_parse_values(plain.removeprefix(BOM).decode("utf-8", "replace")))
    altered = [
        number
        for number, line in zip(shard.numbers, shard.lines, strict=True)
        if number < len(values) and repr(json.loads(line)) != repr(values[number])
    ]
    return f"values {altered[:50]} are altered" if altered else ""


def _parse_values(text: str) -> Iterator[Any]:
    """Yield the elements of an array, or the joined objects in a text up to another value."""
    decoder, offset = json.JSONDecoder(), 0
    between = " \t\r\n\x0b\x0c" + ("[,]" if text.lstrip().startswith("[") else "")
    while True:
        while offset < len(text) and text[offset] in between:
            offset += 1
        try:
            value, offset = decoder.raw_decode(text, offset)
        except (ValueError, RecursionError):
            return
        if not isinstance(value, dict) and "[" not in between:
            return  # one reject may hold several values, such as the 0 and the 1 of 01
        yield value


# The run


def run_worker(seed: int, first: int, last: int) -> None:
    """Run cases in this process; print each case's number and then its outcome."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, last):
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()
            outcome = run_case(make_case(seed, number), Path(folder))
            sys.stdout.write(json.dumps(outcome) + "\n")
            sys.stdout.flush()


def fuzz(seed: int, first: int, cases: int) -> Iterator[tuple[int, Outcome]]:
    """Run cases in child processes, and yield each case's number and outcome.

    A new child replaces a dead or hanging child.
    """
    number, end = first, first + cases
    while number < end:
        last = min(number + CASES_PER_CHILD, end)
        command = [
            *(sys.executable, "-m", "tests.faults.fuzzing", "--worker"),
            *("--seed", str(seed), "--first", str(number), "--cases", str(last - number)),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
            lines = _start_reading(child)
            # a case's first line is its number, or empty if the child has ended
            while number < last and _read_next(lines):
                answer = _read_next(lines)
                yield number, _parse_outcome(answer, child)
                number += 1
                if not answer:
                    break
            child.kill()


def _parse_outcome(answer: bytes, child: subprocess.Popen[bytes]) -> Outcome:
    """Return a child's outcome, or describe how the child ended."""
    if answer:
        return Outcome(*json.loads(answer))
    return Outcome("died", _describe_end(child), 0.0)


def _start_reading(child: subprocess.Popen[bytes]) -> queue.Queue[bytes]:
    """Read a child's lines in a thread. An empty line marks the end."""
    lines: queue.Queue[bytes] = queue.Queue()

    def read() -> None:
        for line in child.stdout or ():
            lines.put(line)
        lines.put(b"")

    threading.Thread(target=read, daemon=True).start()
    return lines


def _read_next(lines: queue.Queue[bytes]) -> bytes:
    """Return a child's next line, or an empty line after its end."""
    try:
        return lines.get(timeout=STUCK)
    except queue.Empty:
        return b""


def _describe_end(child: subprocess.Popen[bytes]) -> str:
    try:
        return f"ended with {child.wait(1)}"
    except subprocess.TimeoutExpired:
        return f"nothing for {STUCK} s"


def main() -> int:
    """Fuzz, print the findings and the number of cases, and return 1 for findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--cases", type=int, default=2_000)
    parser.add_argument("--worker", action="store_true")
    given = parser.parse_args()
    if given.worker:
        run_worker(given.seed, given.first, given.first + given.cases)
        return 0
    tally: Counter[str] = Counter()
    began = time.monotonic()
    for number, outcome in fuzz(given.seed, given.first, given.cases):
        tally[outcome.kind] += 1
        if outcome.kind not in ("read", "refused"):
            damage = make_case(given.seed, number).damage
            print(f"case {number}: {outcome.kind}: {damage}\n{outcome.detail}", flush=True)
        if tally.total() % 10_000 == 0:
            print(
                f"{tally.total()} cases: {dict(tally)}, {time.monotonic() - began:.0f} s",
                flush=True,
            )
    ran = tally.total()
    faults = ran - tally["read"] - tally["refused"]
    print(
        f"{ran} cases, seed {given.seed}, first {given.first}: {dict(tally)}, "
        f"{faults} faults, {time.monotonic() - began:.0f} s"
    )
    return int(bool(faults) or ran != given.cases)


if __name__ == "__main__":
    sys.exit(main())
