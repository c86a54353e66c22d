"""JSON Lines: lines, their offsets, and the limits on their length and on a file's size."""

import gzip
import io

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import corpora
from schemas.corpora import ShardLimits
from schemas.errors import InputError
from transforms.files import json_lines as reading
from transforms.files.json_lines import (
    BoundedStream,
    observe_line,
    open_lines,
    parse_line,
    read_lines,
)
from transforms.files.json_shapes import Shape


class Trickle(io.BytesIO):
    """A stream that returns only a few bytes at a time, as a slow one may."""

    def read(self, size=-1):
        """Give at most seven bytes."""
        return super().read(min(7, size) if size >= 0 else 7)


LINE = st.binary(max_size=30).map(lambda data: data.replace(b"\n", b""))


@given(st.lists(LINE, max_size=8), st.booleans(), st.booleans())
def test_lines_are_at_their_offsets(parts, ended, trickle):
    """Every line that isn't blank is yielded with its offset, whatever the stream's blocks."""
    data = b"\n".join(parts) + (b"\n" if ended and parts else b"")
    found = list(read_lines(Trickle(data) if trickle else io.BytesIO(data)))
    assert [line for _, line in found] == [part for part in data.split(b"\n") if part.strip()]
    assert all(data[offset : offset + len(line)] == line for offset, line in found)


@given(st.lists(LINE, max_size=8), st.booleans(), st.integers(1, 20))
def test_a_long_line_is_cut_and_the_rest_is_found(parts, trickle, longest):
    """A line beyond the limit is cut behind it, and all lines keep their offsets."""
    data = b"\n".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "MAX_LINE_BYTES", longest)
        found = list(read_lines(Trickle(data) if trickle else io.BytesIO(data)))
    wanted = [
        part for part in data.split(b"\n") if part.strip() or (trickle and len(part) > longest)
    ]
    assert len(found) == len(wanted)
    for (offset, line), part in zip(found, wanted, strict=True):
        assert data[offset : offset + len(line)] == line
        assert (
            line == part
            if len(part) <= longest
            else (len(line) > longest and part.startswith(line))
        )


def test_lines_without_an_object_shape_nothing():
    """Broken lines, numbers and lists have no effect on the schema."""
    shape = Shape()
    for line in (b"{broken", b"3", b'["a"]', b'{"a": 1}', b'\xff{"b": 1}'):
        observe_line(shape, line)
    assert list(shape.fields) == ["a"]


KIND = pa.struct([("text", pa.string()), ("n", pa.int64())])


@pytest.mark.parametrize(
    ("line", "value", "error"),
    [
        (b'{"text": "a", "n": 1}', {"text": "a", "n": 1}, None),
        (b' {"text": null}\r', {"text": None}, None),
        (b'\xef\xbb\xbf{"text": "a"}', {"text": "a"}, None),
        (b'{"n": 1, "n": 2}', {"n": 2}, None),
        (b"null", None, "not a JSON object but null"),
    ],
)
def test_lines_are_parsed(line, value, error):
    """White space around a line is ignored, and the last of equal keys counts."""
    assert parse_line(line, KIND) == (value, error)


@given(st.binary(max_size=40))
def test_parsing_never_fails(data):
    """Whatever the bytes, the result is a fitting value or the reason for a reject."""
    value, error = parse_line(data, KIND)
    assert error or isinstance(value, dict)


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_files_are_opened_decompressed(tmp_path, compression):
    """A file is decompressed as its compression says, not as its name does."""
    data = b'{"text": "a"}\n' * 3
    path = tmp_path / "x.bin"
    packed = {
        "none": data,
        "gzip": gzip.compress(data),
        "zstd": pa.compress(data, codec="zstd", asbytes=True),
    }
    path.write_bytes(packed[compression])
    with open_lines(str(path), compression) as stream:
        assert stream.read(1 << 20) == data


def test_a_stream_is_bounded_by_the_size_of_its_file(monkeypatch):
    """Bytes up to the limit are read, and the next one is an error that names the file."""
    monkeypatch.setattr(corpora, "EXPANSION_FLOOR", 10)
    limits = ShardLimits(expansion=2)
    stream = BoundedStream(io.BytesIO(b"a" * 20), "x.gz", 10, limits)
    assert (stream.read(15), stream.read(15), stream.read(15)) == (b"a" * 15, b"a" * 5, b"")
    stream = BoundedStream(io.BytesIO(b"a" * 21), "x.gz", 10, limits)
    assert stream.read(20) == b"a" * 20
    with pytest.raises(InputError, match=r"x\.gz: has 10 bytes and expands to more than 20"):
        stream.read(1)


def test_a_line_too_long_is_no_row(monkeypatch):
    """A line beyond the limit doesn't shape the schema, and is a reject with the reason."""
    monkeypatch.setattr(reading, "MAX_LINE_BYTES", 10)
    shape = Shape()
    observe_line(shape, b'{"abc": 12}')
    assert not shape.fields
    value, error = parse_line(b'{"abc": 12}', KIND)
    assert value is None
    assert error.startswith("line is longer than")
    assert parse_line(b'{"n": 123}', KIND) == ({"n": 123}, None)
