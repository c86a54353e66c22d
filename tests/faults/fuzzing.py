"""Fuzzing of the readers: valid files of every kind and format, mutated in structure or in bytes, and read to the end.

`python -m tests.faults.fuzzing --cases 200000` is the nightly run. A case is made from seed and number alone, so that a
failure is repeated with `--first NUMBER --cases 1`. Cases run in a child process: a native crash is a finding like any
other, and the run goes on behind it.
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
from transforms.files.shards import Shard, read_task
from transforms.files.sources import plan_shards, survey
from transforms.identify import identify
from transforms.records.formats import settle_layout
from transforms.write import parquet_bytes

MEMORY = 8 << 30
"""Bytes of address space that a child may take: an allocation that a file's damage asks for fails instead of filling the machine."""

CASES_PER_CHILD = 5_000
"""Cases after which a fresh child goes on: every survey's threads leave some address space behind, of which a child has little."""

SECONDS_PER_MEGABYTE = 1.0
STUCK = 60
"""Seconds without a finished case after which a child is taken for hung, whatever the machine is busy with."""


class Case(NamedTuple):
    """A file to read, what was done to it, and how many rows it has if that is known."""

    name: str
    data: bytes
    done: tuple[str, ...]
    limits: ShardLimits
    rows: int | None


# Valid files.

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


def _text(draw: random.Random) -> str:
    return " ".join(draw.choices(WORDS, k=draw.randint(0, 5)))


def _turns(draw: random.Random, role: str, content: str) -> list[dict[str, Any]]:
    return [
        {
            role: draw.choice(("user", "assistant", "system", "human", "gpt", "wizard")),
            content: _text(draw),
        }
        for _ in range(draw.randint(0, 4))
    ]


FORMATS: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "messages": lambda draw: {"messages": _turns(draw, "role", "content")},
    "conversations": lambda draw: {"conversations": _turns(draw, "from", "value")},
    "alpaca": lambda draw: {
        "instruction": _text(draw),
        "input": _text(draw),
        "output": _text(draw),
    },
    "completion": lambda draw: {"prompt": _text(draw), "completion": _text(draw)},
    "preference": lambda draw: {
        "prompt": _text(draw),
        "chosen": _turns(draw, "role", "content"),
        "rejected": _turns(draw, "role", "content"),
    },
    "text": lambda draw: {"text": _text(draw)},
}

MORE: tuple[dict[str, Any], ...] = (
    {},
    {"teacher": "atlas", "n": 1, "meta": {"a": [1.5, None], "b": {"c": True}}},
    {"created": "2026-01-01T00:00", "source": None, "tags": ["a", "b"], "empty": {}},
    {"calls": [{"function": {"name": "f", "arguments": {"x": [1, 2]}}}], "price": 0.1},
)
"""Other columns that a corpus may have."""


def valid_rows(draw: random.Random) -> list[dict[str, Any]]:
    """Make some rows of one format."""
    make = draw.choice(list(FORMATS.values()))
    more = draw.choice(MORE)
    return [{**make(draw), **more} for _ in range(draw.choice((1, 5, 15, 40)))]


# Mutations of JSON rows: each takes a line and returns lines.

ODD_VALUES: tuple[bytes, ...] = (
    b"null", b"true", b"-1", b"1e400", b"NaN", b"-Infinity", b"123456789012345678901234567890", b"18446744073709551615", b"9223372036854775808",
    b"1.5", b'"\\ud800"', b'"\\u0000"', b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b"[]", b"{}", b"[[]]", b'{"":0}', b'{"role":null}', b'[null,{"role":"user"}]',
    b"[" * 40 + b"]" * 40, b"[" * 1500 + b"]" * 1500, b'{"a":' * 200 + b"1" + b"}" * 200, b'"' + b"x" * 70_000 + b'"', b'{"a\\ud800":1}', b"01", b"'a'",
)  # fmt: skip


def _odd_value(draw: random.Random, line: bytes) -> list[bytes]:
    """Put an odd value where some value stands."""
    colons = [place for place, char in enumerate(line) if char == ord(":")]
    if not colons:
        return [line]
    at = draw.choice(colons) + 1
    end = next((place for place in range(at + 1, len(line)) if line[place] in b",}]"), len(line))
    return [line[:at] + draw.choice(ODD_VALUES) + line[end:]]


def _more_keys(draw: random.Random, line: bytes) -> list[bytes]:
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
    _odd_value,
    _more_keys,
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


def json_lines(draw: random.Random) -> tuple[bytes, list[str]]:
    """Make JSON Lines with some rows mutated."""
    lines = [orjson.dumps(row) for row in valid_rows(draw)]
    done = []
    for _ in range(draw.choice((0, 1, 1, 2, 5))):
        at, place = draw.randrange(len(lines)), draw.randrange(len(LINES))
        lines[at : at + 1] = LINES[place](draw, lines[at]) or [b"{}"]
        done.append(f"line mutation {place}")
    return draw.choice((b"\n", b"\n", b"\r\n")).join(lines) + draw.choice(
        (b"", b"\n", b"\n\n")
    ), done


# Mutations of bytes.


def _place(draw: random.Random, size: int) -> int:
    """Choose a place, often near the ends, where headers and footers stand."""
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
    at = _place(draw, len(data))
    data[at : at + len(value)] = value


def _flip(draw: random.Random, data: bytearray) -> None:
    if data:
        data[_place(draw, len(data) - 1)] ^= 1 << draw.randrange(8)


def _delete(draw: random.Random, data: bytearray) -> None:
    at = _place(draw, len(data))
    del data[at : at + draw.choice((1, 2, 8, 100))]


def _double(draw: random.Random, data: bytearray) -> None:
    at, size = _place(draw, len(data)), draw.choice((1, 4, 50, 1000))
    data[at:at] = data[at : at + size]


def _exchange(draw: random.Random, data: bytearray) -> None:
    a, b, size = _place(draw, len(data)), _place(draw, len(data)), draw.choice((1, 8, 64))
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
    lambda draw, data: _overwrite(
        draw, data, b"\xff\xff\xff\xff" + bytes([draw.randrange(128)])
    ),  # a long varint, in Thrift's footers
    lambda draw, data: data.__setitem__(slice(_place(draw, len(data)), None), b""),
    lambda draw, data: data.__iadd__(draw.randbytes(draw.choice((1, 8, 100)))),
)


def mutated(draw: random.Random, data: bytes) -> tuple[bytes, list[str]]:
    """Damage bytes in one to four places."""
    altered, done = bytearray(data), []
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        place = draw.randrange(len(BYTES))
        BYTES[place](draw, altered)
        done.append(f"byte mutation {place}")
    return bytes(altered), done


# Whole files.


def _packed(draw: random.Random, data: bytes, codec: str) -> bytes:
    """Compress, as one stream or as two after each other."""
    cut = draw.choice((len(data), len(data), draw.randrange(len(data) + 1)))
    parts = (data[:cut], data[cut:]) if cut < len(data) else (data,)
    return b"".join(
        gzip.compress(part, 1, mtime=0)
        if codec == "gzip"
        else pa.compress(part, codec="zstd", asbytes=True)
        for part in parts
    )


def json_file(draw: random.Random) -> tuple[str, bytes, list[str]]:
    """Make a file of JSON Lines, plain or compressed."""
    data, done = json_lines(draw)
    codec = draw.choice(("plain", "gzip", "zstd"))
    return (
        {"plain": "x.jsonl", "gzip": "x.jsonl.gz", "zstd": "x.jsonl.zst"}[codec],
        data if codec == "plain" else _packed(draw, data, codec),
        done,
    )


TYPES = (
    pa.timestamp("us", "UTC"), pa.decimal128(20, 4), pa.binary(), pa.map_(pa.string(), pa.int64()), pa.float16(), pa.date32(), pa.duration("s"),
    pa.list_(pa.float32(), 2), pa.large_list(pa.string()), pa.dictionary(pa.int32(), pa.string()), pa.time64("us"), pa.struct([("a", pa.string())]),
)  # fmt: skip


def _retyped(draw: random.Random, table: pa.Table) -> tuple[pa.Table, list[str]]:
    """Change the types of some text columns, or what is in them."""
    done = []
    for place, item in enumerate(table.schema):
        change = draw.randrange(8)
        if not pa.types.is_string(item.type) or change > 4:
            continue
        column = table.column(place).combine_chunks()
        values = (
            lambda column=column: column.cast(pa.large_string()),
            lambda column=column: column.dictionary_encode(),
            lambda column=column: pa.array(column.to_pylist(), pa.string_view()),
            lambda column=column: pa.nulls(len(column), pa.string()),
            lambda column=column: pa.array(
                [b"\xff\xc0" + (text or "").encode() for text in column.to_pylist()], pa.binary()
            ).view(pa.string()),
        )[change]()
        table = table.set_column(place, item.name, values)
        done.append(f"column {item.name} retyped {change}")
    return table, done


def parquet_file(draw: random.Random) -> tuple[str, bytes, list[str]]:
    """Make a Parquet file: any codec, page version and row groups, some columns of odd types or with invalid text."""
    table, done = _retyped(
        draw,
        pa.Table.from_pylist(
            [
                {name: value for name, value in row.items() if value != {}}
                for row in valid_rows(draw)
            ]
        ),
    )
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
        table.slice(0, draw.choice((len(table), len(table), 0))) if not done else table,
        stream,
        **options,
    )
    return "x.parquet", stream.getvalue(), done


def make_case(seed: int, number: int) -> Case:
    """Make a case from the run's seed and its number."""
    return made_with(random.Random(f"{seed}/{number}"))


def made_with(draw: random.Random) -> Case:
    """Make a case with this source of chance."""
    name, data, done = draw.choice((json_file, parquet_file, parquet_file))(draw)
    if draw.random() < (0.9 if name == "x.parquet" else 0.5):
        data, more = mutated(draw, data)
        done += more
    limits = ShardLimits.model_construct(
        rows=draw.choice((3, 10, 5_000)), bytes=draw.choice((2_000, 1 << 20)), expansion=200
    )
    return Case(name, data, tuple(done), limits, known_rows(name, data))


def known_rows(name: str, data: bytes) -> int | None:
    """Count the rows of a JSON file without congener, as far as it is whole; of Parquet nothing is known."""
    if name.endswith((".zst", ".parquet")) or data.startswith(b"PAR1"):
        return None
    try:
        plain = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except (OSError, EOFError, zlib.error):
        return None
    return sum(bool(line.strip()) for line in plain.split(b"\n"))


# What must hold.


class Outcome(NamedTuple):
    """How a case ended: `read`, `refused`, or a fault with its description; and what it took."""

    kind: str
    detail: str
    seconds: float


def run_case(case: Case, folder: Path) -> Outcome:
    """Read a case's file to the end."""
    path = folder / case.name
    path.write_bytes(case.data)
    began = time.process_time()
    try:
        detail = _read(path, case)
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


def _read(path: Path, case: Case) -> str:
    """Read a file; return what is wrong with the rows that come out, nothing if all are accounted for."""
    corpus = survey([str(path)], case.limits)
    (source,) = corpus.sources
    numbers: list[int] = []
    for task in plan_shards(corpus.sources, case.limits):
        for shard in read_task(task, corpus.schema):
            shard.table.validate()
            found = _identified(shard)
            parquet_bytes(found.table)
            numbers += [*found.numbers, *(reject.row for reject in found.rejects)]
    if sorted(numbers) != list(range(source.rows)):
        return f"{source.rows} rows surveyed, rows {sorted(numbers)[:50]} came out"
    if case.rows is not None and case.rows != source.rows:
        return f"the file has {case.rows} rows, {source.rows} were surveyed"
    return ""


def _identified(shard: Shard) -> Shard:
    """Take a shard apart if its columns have a format; without one a run is refused, and the rows are there all the same."""
    try:
        return identify(shard, settle_layout(shard.table.schema, CorpusConfig())).shard
    except CongenerError:
        return shard


# The run.


def worker(seed: int, first: int, last: int) -> None:
    """Run cases in this process, a line of JSON before and after each."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, last):
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()
            outcome = run_case(make_case(seed, number), Path(folder))
            sys.stdout.write(json.dumps(outcome) + "\n")
            sys.stdout.flush()


class Finding(NamedTuple):
    """A case that went wrong."""

    number: int
    outcome: Outcome


def fuzz(seed: int, first: int, cases: int) -> Iterator[tuple[int, Outcome]]:
    """Run cases in children, and yield each one's number and outcome; a child that dies or hangs is replaced by another."""
    at, end = first, first + cases
    while at < end:
        last = min(at + CASES_PER_CHILD, end)
        command = [
            sys.executable,
            "-m",
            "tests.faults.fuzzing",
            "--seed",
            str(seed),
            "--first",
            str(at),
            "--cases",
            str(last - at),
            "--worker",
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
            lines = _lines(child)
            while at < last and _next(
                lines
            ):  # the case's number: nothing when the child ended before it
                told = _next(lines)
                yield (
                    at,
                    Outcome(*json.loads(told)) if told else Outcome("died", _ending(child), 0.0),
                )
                at += 1
                if not told:
                    break
            child.kill()


def _lines(child: subprocess.Popen[bytes]) -> queue.Queue[bytes]:
    """Read a child's lines in a thread of their own; an empty one is its end."""
    lines: queue.Queue[bytes] = queue.Queue()

    def read() -> None:
        for line in child.stdout or ():
            lines.put(line)
        lines.put(b"")

    threading.Thread(target=read, daemon=True).start()
    return lines


def _next(lines: queue.Queue[bytes]) -> bytes:
    """Return a child's next line; nothing when it has ended, or hangs."""
    try:
        return lines.get(timeout=STUCK)
    except queue.Empty:
        return b""


def _ending(child: subprocess.Popen[bytes]) -> str:
    try:
        return f"ended with {child.wait(1)}"
    except subprocess.TimeoutExpired:
        return f"nothing for {STUCK} s"


def main() -> int:
    """Fuzz, print what was found and how many cases ran; return 1 if anything was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--cases", type=int, default=2_000)
    parser.add_argument("--worker", action="store_true")
    given = parser.parse_args()
    if given.worker:
        worker(given.seed, given.first, given.first + given.cases)
        return 0
    tally: Counter[str] = Counter()
    began = time.monotonic()
    for number, outcome in fuzz(given.seed, given.first, given.cases):
        tally[outcome.kind] += 1
        if outcome.kind not in ("read", "refused"):
            print(
                f"case {number}: {outcome.kind}: {make_case(given.seed, number).done}\n{outcome.detail}",
                flush=True,
            )
        if tally.total() % 10_000 == 0:
            print(
                f"{tally.total()} cases: {dict(tally)}, {time.monotonic() - began:.0f} s",
                flush=True,
            )
    ran, faults = (
        tally.total(),
        sum(count for kind, count in tally.items() if kind not in ("read", "refused")),
    )
    print(
        f"{ran} cases, seed {given.seed}, first {given.first}: {dict(tally)}, {faults} faults, {time.monotonic() - began:.0f} s"
    )
    return int(bool(faults) or ran != given.cases)


if __name__ == "__main__":
    sys.exit(main())
