"""JSON Lines: offsets, parsing and limits."""

import gzip
import hashlib
import io
import json
import math
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.files import json_lines as reading
from transforms.files.json_lines import (
    MAX_PYTHON_DEPTH,
    JsonLines,
    append_field,
    decode_lines,
    observe_line,
    parse_line,
    read_lines,
)
from transforms.records.json_columns import ColumnKinds


class Trickle(io.BytesIO):
    """A stream that returns only a few bytes at a time."""

    def read(self, size=-1):
        """Return at most seven bytes."""
        return super().read(min(7, size) if size >= 0 else 7)


LINE = st.binary(max_size=30).map(lambda data: data.replace(b"\n", b""))


@given(st.lists(LINE, max_size=8), st.booleans(), st.booleans())
def test_lines_are_at_their_offsets(parts, ended, trickle):
    """Every nonblank line has its offset, however few bytes a read returns."""
    data = b"\n".join(parts) + (b"\n" if ended and parts else b"")
    found = list(read_lines(Trickle(data) if trickle else io.BytesIO(data)))
    assert [line for _, line in found] == [part for part in data.split(b"\n") if part.strip()]
    assert all(data[offset : offset + len(line)] == line for offset, line in found)


@given(st.lists(LINE, max_size=8), st.booleans(), st.integers(1, 20))
def test_a_long_line_is_cut_and_the_rest_is_found(parts, trickle, longest):
    """A long line is cut just past the limit, and all lines keep their offsets."""
    data = b"\n".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "MAX_NOTED_BYTES", longest)
        found = list(read_lines(Trickle(data) if trickle else io.BytesIO(data)))
    wanted = [part for part in data.split(b"\n") if part.strip()]
    starts = [offset for offset, _ in found]
    assert starts == sorted(set(starts))
    for offset, line in found:
        end = data.find(b"\n", offset)
        whole = data[offset : end if end >= 0 else len(data)]
        assert line == whole or (longest < len(line) < len(whole) and whole.startswith(line))
        if whole in wanted:
            wanted.remove(whole)
        else:  # a long line may have words beyond the place where it is cut
            assert len(whole) > longest
    assert wanted == []


def test_a_line_of_many_blocks_is_copied_once(monkeypatch):
    """Reading a line takes memory in proportion to its length, and later lines are found."""
    monkeypatch.setattr(reading, "BLOCK_BYTES", 10)
    data = b"a" * 1_000 + b"\n" + b" " * 1_000 + b"\nb"
    assert list(read_lines(io.BytesIO(data))) == [(0, b"a" * 1_000), (2_002, b"b")]


NOTE = b',"congener":{"decision":"mask","weight":1.0,"masks":[]}}'


@pytest.mark.parametrize(
    ("line", "is_read"),
    [
        (b'{"text":"' + b"a" * 80 + b'"' + NOTE, True),
        (b'{"text":"' + b"a" * 100 + b'"' + NOTE, False),
        (b'{"text":"' + b"a" * 80 + b'","other":"' + b"b" * 30 + b'"}', False),
        (b'{"text":"' + b"a" * 60 + b'\\"congener\\"' + b"b" * 30 + b'"}', False),
        (b'{"text":{"congener":"' + b"a" * 100 + b'"}}', False),
        (b'{"text":"' + b"a" * 80 + b'"' + NOTE.replace(b"[]", b"[1" + b",1" * 200 + b"]"), False),
    ],
)
def test_a_note_does_not_count_towards_the_length_of_a_row(monkeypatch, line, is_read):
    """A row that a note makes too long is read, up to the longest line with a note."""
    monkeypatch.setattr(reading, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(reading, "MAX_NOTED_BYTES", 400)
    assert len(line) > 100
    assert parse_line(line) == ((json.loads(line), None) if is_read else ({}, reading.TOO_LONG))
    assert parse_line(line, 1_000) == (json.loads(line), None)


def test_lines_without_an_object_are_not_counted():
    """Lines without an object don't affect the schema, and have a reason."""
    kinds = ColumnKinds()
    lines = (b"{broken", b"3", b'["a"]', b'{"a": 1}', b'\xff{"b": 1}')
    errors = [observe_line(kinds, line) for line in lines]
    assert list(kinds.counts) == ["a"]
    assert [error is None for error in errors] == [False, False, False, True, False]


@pytest.mark.parametrize(
    ("line", "value", "error"),
    [
        (b'{"text": "a", "n": 1}', {"text": "a", "n": 1}, None),
        (b' {"text": null}\r', {"text": None}, None),
        (b'\xef\xbb\xbf{"text": "a"}', {"text": "a"}, None),
        (b'{"n": 1, "n": 2}', {"n": 2}, None),
        (b'{"": {}}', {"": {}}, None),
        (b'{"n": [Infinity, -Infinity]}', {"n": [math.inf, -math.inf]}, None),
        (b'{"s": "\\ud800"}', {"s": "\ud800"}, None),
        (b'{"n": 12345678901234567890123}', {"n": 12345678901234567890123.0}, None),
        (b"null", {}, "not a JSON object but null"),
        (b"[]", {}, "not a JSON object but a list"),
        (b'"a"', {}, "not a JSON object but text"),
        (b"NaN", {}, "not a JSON object but a number"),
    ],
)
def test_lines_are_parsed(line, value, error):
    """White space is ignored, the last of equal keys wins, and `NaN` is read."""
    assert parse_line(line) == (value, error)


def test_a_line_is_utf_8_for_both_parsers():
    """UTF-16 and invalid UTF-8 are rejected."""
    for data in ('{"n": NaN}'.encode("utf-16-le"), b'{"n": NaN, "s": "\xed\xa0\x80"}'):
        value, error = parse_line(data)
        assert (value, error[:10]) == ({}, "not JSON: ")


def test_numbers_are_the_same_beside_one_that_only_python_parses():
    """Integers beyond 64 bits become floats in both parsers."""
    numbers = b'"a": 7, "b": 2.5, "c": 12345678901234567890123'
    plain, error = parse_line(b"{%s}" % numbers)
    assert error is None
    lenient, error = parse_line(b'{%s, "d": NaN, "e": %s}' % (numbers, b"9" * 9_999))
    assert error is None
    assert math.isnan(lenient.pop("d"))
    assert lenient.pop("e") == math.inf
    assert lenient == plain
    assert [type(value) for value in plain.values()] == [int, float, float]


@given(
    st.integers(-(2**70), 2**70)
    | st.sampled_from([-(2**63), -(2**63) - 1, 2**63, 2**64 - 1, 2**64, 10**400])
)
def test_both_parsers_read_the_same_integers(number):
    """Both parsers read the same integers."""
    plain, error = parse_line(b'{"n": %d}' % number)
    lenient, _ = parse_line(b'{"n": %d, "x": NaN}' % number)
    assert error is None
    assert (lenient["n"], type(lenient["n"])) == (plain["n"], type(plain["n"]))


def nest(levels, inside=b"1"):
    """Return an object with this many levels of lists."""
    return b'{"x": ' + b"[" * levels + inside + b"]" * levels + b"}"


@pytest.mark.parametrize(
    ("line", "passes"),
    [
        (nest(1_000), True),
        (nest(MAX_PYTHON_DEPTH - 1, b"NaN"), True),
        (nest(MAX_PYTHON_DEPTH, b"NaN"), False),
        (nest(100_000), False),
        (b"[" * 1_000_000, False),
        (b'{"x": "' + b'\\"[' * 100_000 + b'", "y": NaN}', True),
        (b'{"x": "' + b"[" * 100_000 + b'", "y": [NaN]}', True),
        (b'{"x": [%s NaN]}' % (b"[]," * 10_000), True),
    ],
)
def test_the_limit_of_depth_is_fixed(line, passes):
    """The limit on depth doesn't depend on the call stack."""

    def parse_below(calls):
        return parse_below(calls - 1) if calls else parse_line(line)

    for calls in (0, 300):
        value, error = parse_below(calls)
        assert (error is None) is passes
        if not passes:
            assert value == {}
            assert error == "objects and lists are nested too deeply to be parsed"


@given(st.binary(max_size=40))
def test_parsing_never_fails(data):
    """Any bytes give an object or a reason."""
    value, error = parse_line(data)
    assert value == {} if error else isinstance(value, dict)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=3), VALUES), st.sampled_from([None, 1]), st.booleans())
def test_everything_that_python_writes_is_parsed(row, indent, ascii_only):
    """Every line of `json.dumps` is parsed with the same text."""
    text = json.dumps(row, indent=indent, ensure_ascii=ascii_only).replace("\n", " ")
    value, error = parse_line(text.encode("utf-8", "surrogatepass"))
    if error is None:
        assert list(value) == list(row)
        assert [item for item in value.values() if isinstance(item, str)] == [
            item for item in row.values() if isinstance(item, str)
        ]
    else:
        assert "\\ud" not in text
        assert any("\ud800" <= character <= "\udfff" for character in text)


@pytest.mark.parametrize(
    ("line", "noted"),
    [
        (b"{}", b'{"congener":{"n":1}}'),
        (b"{ }\r", b'{"congener":{"n":1} }\r'),
        (b'{"a": 1}', b'{"a": 1,"congener":{"n":1}}'),
        (b' {"a": {} } \t', b' {"a": {},"congener":{"n":1} } \t'),
        (b'{"a": "{"}', b'{"a": "{","congener":{"n":1}}'),
        (b'{"a": NaN, "a": "\\ud800"}\r', b'{"a": NaN, "a": "\\ud800","congener":{"n":1}}\r'),
    ],
)
def test_a_field_is_appended_before_the_closing_brace(line, noted):
    """A field is added at the end, and the row's other bytes stay."""
    assert append_field(line, "congener", {"n": 1}) == noted
    value, error = parse_line(noted)
    assert (value.pop("congener"), error) == ({"n": 1}, None)
    assert repr(value) == repr(parse_line(line)[0])


SPACE = st.text(" \t\r", max_size=3)


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=4), SPACE, SPACE, SPACE)
def test_an_appended_field_leaves_the_others(row, before, inside, after):
    """A note is added to any row, with any white space."""
    line = f"{before}{json.dumps(row)[:-1]}{inside}}}{after}".encode()
    noted = append_field(line, "note", {"k": ["v"]})
    value, error = parse_line(noted)
    assert error is None
    assert value["note"] == {"k": ["v"]}
    begin = next(
        index for index, byte in enumerate(noted) if line[index : index + 1] != b"%c" % byte
    )
    assert noted[:begin] + noted[begin + len(noted) - len(line) :] == line


def test_scores_are_rounded():
    """Floats are rounded like scores at any depth, and integers stay."""
    value = {"score": np.float32(0.8647), "masks": [{"at": float(np.float32(0.1))}], "row": 12345}
    noted = append_field(b"{}", "congener", value)
    assert noted == b'{"congener":{"score":0.8647,"masks":[{"at":0.1}],"row":12345}}'


ROWS = [b'{"a": 1}', b'{"b": "\xc3\xa9"}\r', b" { } "]


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_encoded_lines_are_decoded(compression):
    """Encoded lines are decoded according to the suffix."""
    lines = JsonLines(ROWS, compression)
    assert lines.num_rows == 3
    assert (
        lines.suffix == {"none": ".jsonl", "gzip": ".jsonl.gz", "zstd": ".jsonl.zst"}[compression]
    )
    assert decode_lines(lines.encode(), lines.suffix) == ROWS
    many = JsonLines(ROWS * 50_000, compression)
    assert decode_lines(many.encode(), many.suffix) == many.lines


def test_files_are_read_by_other_programs():
    """The encoded bytes are valid gzip, zstd or plain files."""
    plain = b"".join(row + b"\n" for row in ROWS)
    assert JsonLines(ROWS, "none").encode() == plain
    assert gzip.decompress(JsonLines(ROWS, "gzip").encode()) == plain
    data = JsonLines(ROWS, "zstd").encode()
    assert pa.decompress(data, len(plain), codec="zstd", asbytes=True) == plain


PRINT_DIGEST = """
import hashlib
from transforms.files.json_lines import JsonLines
for name in ("gzip", "zstd"):
    print(hashlib.sha256(JsonLines([b'{"a": 1}'] * 9, name).encode()).hexdigest())
"""


def test_encoded_bytes_are_the_same_in_every_process():
    """Archives contain no time, name or other trace of the process."""
    command = [sys.executable, "-c", PRINT_DIGEST]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    lines = [b'{"a": 1}'] * 9
    assert found == [digest(JsonLines(lines, name).encode()) for name in ("gzip", "zstd")]


def digest(data):
    """Return the SHA-256 digest of some bytes in hex."""
    return hashlib.sha256(data).hexdigest()


def test_a_suffix_of_another_kind_is_an_error():
    """A file that isn't JSON Lines isn't decoded."""
    with pytest.raises(KeyError):
        decode_lines(b"PAR1", ".parquet")


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_lines_that_were_cut_are_an_error(compression):
    """A file without a final line break is incomplete."""
    cut = {
        "none": b'{"a": 1}\n{"b"',
        "gzip": gzip.compress(b'{"a": 1}\n{"b"'),
        "zstd": pa.compress(b'{"a": 1}\n{"b"', codec="zstd", asbytes=True),
    }
    with pytest.raises(ValueError, match="no line break"):
        decode_lines(cut[compression], JsonLines([], compression).suffix)
    assert decode_lines(b"", ".jsonl") == []


def test_a_damaged_archive_is_an_error():
    """A changed byte in an archive is an error."""
    data = bytearray(JsonLines(ROWS * 99, "gzip").encode())
    data[len(data) // 2] ^= 0xFF
    with pytest.raises((OSError, pa.ArrowException)):
        decode_lines(bytes(data), ".jsonl.gz")


def test_a_line_too_long_is_no_row(monkeypatch):
    """A line beyond the limit is rejected and doesn't affect the schema."""
    monkeypatch.setattr(reading, "MAX_LINE_BYTES", 10)
    kinds = ColumnKinds()
    error = observe_line(kinds, b'{"abc": 12}')
    assert not kinds.counts
    assert error.startswith("the line is longer than")
    assert parse_line(b'{"abc": 12}') == ({}, error)
    assert parse_line(b'{"n": 123}') == ({"n": 123}, None)
