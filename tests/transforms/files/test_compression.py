"""Compressed files: signatures, reading, damage, and zstd windows."""

import bz2
import gzip
import io
import lzma
import random

import pyarrow as pa
import pytest
import zstandard

from schemas import corpora
from schemas.corpora import ShardLimits
from schemas.errors import InputError
from transforms.files import compression as module
from transforms.files.compression import (
    BoundedStream,
    find_compression,
    open_decompressed,
    read_window,
)

DATA = random.Random(3).randbytes(200_000) + b"a" * 200_000


def pack_zstd_long(data: bytes, log: int = 28) -> bytes:
    """Return data in a zstd frame with a long window."""
    settings = zstandard.ZstdCompressionParameters.from_level(1, window_log=log)
    packer = zstandard.ZstdCompressor(compression_params=settings).compressobj()
    return packer.compress(data) + packer.flush()


SKIPPABLE = b"\x5f\x2a\x4d\x18\x04\0\0\0size"
PACKED = {
    "none": [DATA],
    "gzip": [gzip.compress(DATA), gzip.compress(DATA[:9]) + gzip.compress(DATA[9:])],
    "zstd": [
        pa.compress(DATA, codec="zstd", asbytes=True),
        SKIPPABLE + pa.compress(DATA, codec="zstd", asbytes=True),
        pack_zstd_long(DATA),
        SKIPPABLE + pack_zstd_long(DATA[:9]) + SKIPPABLE + pack_zstd_long(DATA[9:]),
    ],
    "bz2": [bz2.compress(DATA), bz2.compress(DATA[:9]) + bz2.compress(DATA[9:])],
    "xz": [lzma.compress(DATA), lzma.compress(DATA[:9]) + lzma.compress(DATA[9:])],
}
FILES = [(name, data) for name, files in PACKED.items() for data in files]


def read_all(path, compression, max_bytes=1 << 30) -> bytes:
    """Return a file's decompressed content, read in odd blocks."""
    with open_decompressed(str(path), compression, max_bytes) as stream:
        return b"".join(iter(lambda: stream.read(77_777), b""))


@pytest.mark.parametrize(("compression", "data"), FILES)
def test_files_are_recognised_and_read(tmp_path, compression, data):
    """A file's first bytes show its compression, and the whole file is read."""
    (tmp_path / "x").write_bytes(data)
    assert find_compression(data) == compression
    assert read_all(tmp_path / "x", compression) == DATA


@pytest.mark.parametrize("text", [b"BZh", b"BZhello", b"{}", b"", b"\xfd7zX"])
def test_similar_beginnings_are_not_compressed(text):
    """Text that begins like a signature isn't compressed."""
    assert find_compression(text) == "none"


@pytest.mark.parametrize(("compression", "data"), [item for item in FILES if item[0] != "none"])
def test_a_cut_file_is_an_error(tmp_path, compression, data):
    """The error for a truncated file names the compression."""
    (tmp_path / "x").write_bytes(data[:-9])
    with pytest.raises(OSError, match=f"{compression}: "):
        read_all(tmp_path / "x", compression)


@pytest.mark.parametrize(("compression", "data"), [item for item in FILES if item[0] != "none"])
def test_rubbish_behind_a_file_is_an_error(tmp_path, compression, data):
    """Trailing bytes are an error."""
    (tmp_path / "x").write_bytes(data + b"rubbish that is long enough")
    with pytest.raises(OSError, match=f"{compression}: "):
        read_all(tmp_path / "x", compression)


def test_padding_behind_xz_is_no_rubbish(tmp_path):
    """Zeros may follow an xz stream."""
    (tmp_path / "x").write_bytes((lzma.compress(DATA) + b"\0" * 8) * 2)
    assert read_all(tmp_path / "x", "xz") == DATA * 2


@pytest.mark.parametrize("compression", ["gzip", "bz2", "xz"])
def test_a_damaged_file_is_an_error(tmp_path, compression):
    """A file's checksum reveals a changed byte."""
    data = bytearray(PACKED[compression][0])
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(OSError, match=f"{compression}: "):
        read_all(tmp_path / "x", compression)


def test_a_window_may_be_as_large_as_the_file_may_become(tmp_path):
    """A zstd window beyond the limit on the expanded size is refused."""
    (tmp_path / "x").write_bytes(pack_zstd_long(DATA, log=30))
    assert read_window(io.BytesIO((tmp_path / "x").read_bytes())) == 1 << 30
    assert read_all(tmp_path / "x", "zstd", 1 << 30) == DATA
    with pytest.raises(OSError, match="zstd: "):
        read_all(tmp_path / "x", "zstd", 1 << 20)


def test_a_damaged_frame_has_no_window():
    """A truncated zstd frame has no known window."""
    stream = io.BytesIO(b"\x28\xb5\x2f\xfd")
    assert read_window(stream) == 0
    assert stream.tell() == 0


def test_long_windows_take_little_memory(tmp_path):
    """A long window is decoded in parts."""
    (tmp_path / "x").write_bytes(pack_zstd_long(b"a" * (300 << 20)))
    with (tmp_path / "x").open("rb") as stream:
        decoder = module._LongWindows(stream, 1 << 30)
        sizes = {len(decoder._held) for _ in iter(lambda: decoder.read(1 << 20), b"")}
    assert max(sizes) < 32 << 20


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    """A missing file is an input error."""
    with pytest.raises(InputError, match="can't be opened"):
        open_decompressed(str(tmp_path / "none"), "gzip", 1)


def test_a_stream_is_bounded_by_the_size_of_its_file(monkeypatch):
    """A file at the size limit is read, and one more byte is an error."""
    monkeypatch.setattr(corpora, "EXPANSION_FLOOR", 10)
    limits = ShardLimits(expansion=2)
    stream = BoundedStream(io.BytesIO(b"a" * 20), "x.gz", 10, limits)
    assert (stream.read(15), stream.read(15), stream.read(15)) == (b"a" * 15, b"a" * 5, b"")
    stream = BoundedStream(io.BytesIO(b"a" * 21), "x.gz", 10, limits)
    assert stream.read(20) == b"a" * 20
    with pytest.raises(InputError, match=r"x\.gz: has 10 bytes and expands to more than 20"):
        stream.readinto(bytearray(1))
