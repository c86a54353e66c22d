"""Arrow files and streams: batches, truncated files, and types that Parquet lacks."""

import io

import polars as pl
import pyarrow as pa
import pytest

from schemas.errors import InputError
from transforms.files.arrow_files import (
    ArrowReader,
    check_arrow_schema,
    holds_null_lists,
    loosen_lists,
    replace_null_values,
)

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


def test_types_that_parquet_lacks_are_refused():
    """The error for a type that Parquet lacks names the column."""
    union = pa.schema([("ok", pa.string()), ("u", pa.dense_union([pa.field("a", pa.int8())]))])
    with pytest.raises(InputError, match=r"column 'u' is dense_union.* Parquet can't hold"):
        check_arrow_schema(union, "x.arrow")
    for kind in (
        pa.dictionary(pa.int8(), pa.struct([("a", pa.int8())])),
        pa.list_(pa.dictionary(pa.int8(), pa.list_(pa.int8()))),
        pa.decimal128(5, -2),
        pa.binary(0),
    ):
        with pytest.raises(InputError, match=r"column 'u' is .* Parquet can't hold"):
            check_arrow_schema(pa.schema([("ok", pa.string()), ("u", kind)]), "x.arrow")
    with pytest.raises(InputError, match="two fields 'a'"):
        check_arrow_schema(pa.schema([("a", pa.string()), ("a", pa.string())]), "x.arrow")
    check_arrow_schema(TABLE.schema, "x.arrow")


PAIR = pa.list_(pa.int8(), 2)


@pytest.mark.parametrize(
    ("values", "kind", "loose", "found"),
    [
        ([[1, 2], [3, None]], PAIR, pa.list_(pa.int8()), False),
        ([[1, 2], None], PAIR, pa.list_(pa.int8()), True),
        ([[]], pa.list_(pa.int8(), 0), pa.list_(pa.int8()), True),
        ([{"a": [1, 2]}], pa.struct([("a", PAIR)]), pa.struct([("a", pa.list_(pa.int8()))]), False),
        ([{"a": [1, 2]}, None], pa.struct([("a", PAIR)]), None, True),
        ([[[1, 2]], [], None], pa.large_list(PAIR), pa.large_list(pa.list_(pa.int8())), False),
        ([[[1, 2], None]], pa.list_(PAIR), None, True),
        ([[("a", None)]], pa.map_("string", PAIR), pa.map_("string", pa.list_(pa.int8())), True),
        ([[1], None], pa.list_(pa.int8()), pa.list_(pa.int8()), False),
        (["a", None], pa.string(), pa.string(), False),
    ],
)
def test_null_lists_of_a_fixed_size_are_found(values, kind, loose, found):
    """Null or empty lists of a fixed size are found at any depth, and become plain lists."""
    assert holds_null_lists(pa.array(values, kind)) == found
    if loose is not None:
        assert loosen_lists(kind) == loose


def test_a_tensor_without_a_fixed_size_is_a_list():
    """An extension type keeps its mark only if its lists keep their size."""
    tensor = pa.fixed_shape_tensor(pa.float32(), [2])
    storage = pa.array([[1, 2], None], tensor.storage_type)
    assert holds_null_lists(pa.ExtensionArray.from_storage(tensor, storage))
    assert loosen_lists(tensor) == pa.list_(pa.float32())
    assert loosen_lists(pa.uuid()) == pa.uuid()


def test_a_null_in_a_dictionary_becomes_a_null_in_the_column():
    """Values and types stay the same, but no dictionary holds a null."""
    codes, words = pa.array([0, 1, None, 2], pa.int16()), pa.array(["a", None, "b"])
    coded = pa.DictionaryArray.from_arrays(codes, words, ordered=True)
    table = pa.table({"n": range(4), "coded": coded})
    found = replace_null_values(table)
    assert found.schema == table.schema
    assert found.to_pylist() == table.to_pylist()
    assert found.column("coded").chunk(0).dictionary.to_pylist() == ["a", "b"]
    assert replace_null_values(found) is found


def test_the_entry_of_another_schema_is_left_out():
    """The metadata entry in which Arrow keeps a schema is left out, and others stay."""
    table = TABLE.replace_schema_metadata({b"ARROW:schema": b"?", b"other": b"kept"})
    reader = ArrowReader(io.BytesIO(encode(table)), "x.arrow")
    assert reader.schema.metadata == {b"other": b"kept"}
