"""Arrow files and streams: batches, truncated files, and types that Parquet lacks."""

import io

import polars as pl
import pyarrow as pa
import pytest

from schemas.errors import InputError
from transforms.files.arrow_files import ArrowReader

TABLE = pa.table({"text": ["a", "b", None], "n": [1, 2, 3]})


class Unseekable(io.BytesIO):
    """Bytes that can only be read from start to finish."""

    def seekable(self) -> bool:
        """Return False."""
        return False


def encode(table: pa.Table, stream: bool = True, codec: str | None = None) -> bytes:
    """Return a table as an Arrow stream or file of one-row batches."""
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=codec)
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(sink, table.schema, options=options) as writer:
        writer.write_table(table, 1)
    return sink.getvalue()


def read(data: bytes) -> list[pa.RecordBatch]:
    """Return all batches."""
    return list(ArrowReader(io.BytesIO(data), "x.arrow").read_batches())


@pytest.mark.parametrize("codec", [None, "zstd", "lz4"])
@pytest.mark.parametrize("stream", [True, False])
def test_batches_are_read_in_order(stream, codec):
    """Streams, files and compressed buffers give the same batches."""
    batches = read(encode(TABLE, stream, codec))
    assert len(batches) == 3
    assert pa.Table.from_batches(batches) == TABLE


def test_dictionaries_and_views_are_read():
    """Dictionary-encoded text is read, and views become plain text."""
    table = pa.table({"d": pa.array(["x", "y"]).dictionary_encode()})
    assert pa.Table.from_batches(read(encode(table))).to_pylist() == [{"d": "x"}, {"d": "y"}]
    views = pa.table({"v": pa.array(["x"], pa.string_view())})
    reader = ArrowReader(io.BytesIO(encode(views)), "x")
    assert reader.schema.field("v").type == pa.string()
    assert reader.own_schema.field("v").type == pa.string_view()


def test_a_file_with_its_schema_in_the_footer_is_read_from_its_end():
    """Files in Polars' layout are read, unless they are compressed."""
    frame = pl.DataFrame({"text": ["a", "b"], "kind": ["x", "y"]}).cast({"kind": pl.Categorical})
    sink = io.BytesIO()
    frame.write_ipc(sink)
    data = sink.getvalue()
    reader = ArrowReader(io.BytesIO(data), "x.arrow")
    assert pa.Table.from_batches(reader.read_batches()).to_pylist() == frame.to_dicts()
    assert reader.schema.field("kind").type.value_type in (pa.string(), pa.large_string())
    with pytest.raises(InputError, match="whose schema is at its end"):
        ArrowReader(io.BufferedReader(Unseekable(data)), "x.arrow.gz")
    for size in range(8, len(data), 7):
        with pytest.raises((InputError, pa.ArrowException, OSError)):
            read(data[:size])


@pytest.mark.parametrize("stream", [True, False])
def test_every_cut_is_an_error(stream):
    """A file that is cut anywhere is an error."""
    data = encode(TABLE, stream)
    for size in range(8, len(data) - 1):
        with pytest.raises((InputError, pa.ArrowException, OSError)):
            read(data[:size])


def test_data_after_the_end_is_an_error():
    """Two streams in one file are an error."""
    with pytest.raises(InputError, match="goes on after Arrow's end mark") as caught:
        read(encode(TABLE) * 2)
    assert caught.value.where == "x.arrow"


def test_damaged_offsets_are_an_error():
    """Offsets outside the text are an error."""
    table = pa.table({"text": ["abcdefgh" * 4]})
    data = encode(table)
    offset = data.index((32).to_bytes(4, "little") + b"\0\0\0\0")
    changed = data[:offset] + (1 << 30).to_bytes(4, "little") + data[offset + 4 :]
    with pytest.raises((pa.ArrowException, OSError)):
        read(changed)


INVALID = pa.array([b"a", b"\xff" * 20, None])
ODD = {
    "text": INVALID.view(pa.string()),
    "large": INVALID.cast(pa.large_binary()).view(pa.large_string()),
    "view": INVALID.cast(pa.binary_view()).view(pa.string_view()),
    "coded": pa.DictionaryArray.from_arrays([0, 1, 0], INVALID.slice(0, 2).view(pa.string())),
    "map": pa.MapArray.from_arrays([0, 1, 2, 3], ["a", "b", "c"], INVALID.view(pa.string())),
    "fixed": pa.FixedSizeListArray.from_arrays(INVALID.view(pa.string()), 1),
    "lists": pa.LargeListArray.from_arrays([0, 1, 2, 3], INVALID.view(pa.string())),
    "clock": pa.array([0, -1, None], pa.int64()).view(pa.time64("us")),
    "day": pa.array([0, 1, None], pa.int64()).view(pa.date64()),
}


@pytest.mark.parametrize("name", ODD)
def test_values_do_not_condemn_their_file(name):
    """Invalid UTF-8 and out-of-range times don't make the whole file unreadable."""
    column = ODD[name]
    table = pa.table({"x": pa.StructArray.from_arrays([column], ["a"]), "y": column})
    (batch,) = read(encode(table.combine_chunks(), codec="zstd"))[1:2]
    assert batch.column("y").equals(column.slice(1, 1))
    with pytest.raises(pa.ArrowInvalid):
        batch.validate(full=True)


def test_damage_beside_invalid_text_is_still_an_error():
    """Offsets outside a text are found even beside invalid UTF-8."""
    table = pa.table({"text": pa.array([b"\xff" * 32]).view(pa.string())})
    data = encode(table)
    offset = data.index((32).to_bytes(4, "little") + b"\0\0\0\0")
    changed = data[:offset] + (1 << 30).to_bytes(4, "little") + data[offset + 4 :]
    with pytest.raises((pa.ArrowException, OSError)):
        read(changed)


def test_the_entry_of_another_schema_is_left_out():
    """The metadata entry in which Arrow keeps a schema is left out, and others stay."""
    table = TABLE.replace_schema_metadata({b"ARROW:schema": b"?", b"other": b"kept"})
    reader = ArrowReader(io.BytesIO(encode(table)), "x.arrow")
    assert reader.schema.metadata == {b"other": b"kept"}
