"""Merged schemas, and tables converted to them."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from tests.support.variants import fill, fit, variants
from transforms.files.shared_schemas import (
    Absence,
    Difference,
    SchemaUnion,
    TypeConflictError,
    conform,
    convert_columns,
    count_absent,
    has_types,
    join_tables,
    list_differences,
    merge_schemas,
    merge_types,
)


def build_valid(rows, kind):
    """Return an array, or skip the example if Arrow builds a bad one."""
    array = pa.array(rows, kind)
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        reject()
    return array


@given(st.data(), variants())
def test_two_types_are_merged_without_loss(data, drawn):
    """Rows of either type keep equal values in the merged type."""
    values, one, other = drawn
    tables = []
    for kind in (one, other):
        rows = [fit(value, kind) for value in data.draw(st.lists(values, max_size=4))]
        tables.append(pa.table({"c": build_valid(rows, kind)}))
    for first, second in (tables, tables[::-1]):
        shared = merge_schemas(first.schema, second.schema)
        for table in (first, second):
            found = conform(table, shared)
            found.validate(full=True)
            assert has_types(found.schema, shared)
            expected = [fill(row, shared.field("c").type) for row in table["c"].to_pylist()]
            assert found["c"].to_pylist() == expected


@given(st.data(), variants())
def test_slices_and_files_are_brought_into_a_schema(tmp_path_factory, data, drawn):
    """Conversion keeps values, even in a slice or from a file."""
    values, one, other = drawn
    rows = [fit(value, one) for value in data.draw(st.lists(values, min_size=1, max_size=6))]
    table = pa.table({"c": build_valid(rows, one)})
    shared = merge_schemas(table.schema, pa.schema([("c", other)]))
    whole = conform(table, shared)
    start = data.draw(st.integers(0, len(rows)))
    assert conform(table.slice(start), shared).to_pylist() == whole.slice(start).to_pylist()
    path = tmp_path_factory.mktemp("file") / "x.parquet"
    pq.write_table(whole, path)
    assert pq.read_table(path).to_pylist() == whole.to_pylist()


@pytest.mark.parametrize(
    ("one", "other", "merged"),
    [
        (pa.string(), pa.string_view(), pa.string()),
        (pa.binary(3), pa.binary(), pa.binary()),
        (pa.uint32(), pa.int8(), pa.int64()),
        (pa.uint8(), pa.uint64(), pa.uint64()),
        (pa.time32("s"), pa.time64("ns"), pa.time64("ns")),
        (pa.duration("s"), pa.duration("ms"), pa.duration("ms")),
        (pa.list_(pa.int8(), 2), pa.list_(pa.int8(), 3), pa.list_(pa.int8())),
        (pa.list_(pa.int8(), 2), pa.list_(pa.int16(), 2), pa.list_(pa.int16(), 2)),
        (
            pa.dictionary(pa.int8(), pa.string()),
            pa.dictionary(pa.int32(), pa.string()),
            pa.string(),
        ),
        (pa.map_(pa.string(), pa.int8()), pa.null(), pa.map_(pa.string(), pa.int8())),
        (
            pa.map_(pa.string(), pa.int8()),
            pa.map_(pa.string(), pa.int16()),
            pa.map_(pa.string(), pa.int16()),
        ),
        (pa.decimal128(5, 1), pa.decimal128(5, 2), pa.decimal128(6, 2)),
        (pa.decimal128(30, 0), pa.decimal128(20, 19), pa.decimal256(49, 19)),
        (pa.json_(), pa.string(), pa.string()),
        (pa.uuid(), pa.binary(16), pa.binary(16)),
    ],
)
def test_the_narrowest_type_that_holds_both(one, other, merged):
    """Merging gives the narrowest type for both, in either order."""
    assert merge_types(one, other) == merge_types(other, one) == merged


@pytest.mark.parametrize(
    ("one", "other", "plain"),
    [
        (pa.string(), pa.large_string(), pa.string()),
        (pa.string_view(), pa.large_string(), pa.string()),
        (pa.binary(), pa.large_binary(), pa.binary()),
        (pa.binary(3), pa.large_binary(), pa.large_binary()),
        (pa.list_(pa.string()), pa.large_list(pa.large_string()), pa.list_(pa.string())),
        (pa.list_(pa.int8(), 2), pa.large_list(pa.int8()), pa.large_list(pa.int8())),
    ],
)
def test_of_two_widths_of_offsets_the_first_counts(one, other, plain):
    """The first file's offset width wins."""
    assert merge_types(one, other) == plain
    assert merge_types(other, one) == (plain if plain == other else other)


@pytest.mark.parametrize("zone", ["+00:00", "Etc/UTC", "GMT"])
def test_the_names_of_utc_are_one_zone(zone):
    """The first file's name for UTC is used."""
    one, other = pa.timestamp("us", "UTC"), pa.timestamp("ms", zone)
    assert merge_types(one, other) == one
    found = conform(pa.table({"t": pa.array([5], other)}), pa.schema([("t", one)]))
    assert found["t"].cast(pa.int64()).to_pylist() == [5_000]


def test_maps_extensions_and_dictionaries_are_brought_into_a_type():
    """Conversion keeps values and nulls."""
    pairs, number = [("a", 1)], b"0123456789abcdef"
    uuids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([number, None], pa.binary(16)))
    texts = pa.array(["x", None], pa.string_view())
    columns = {
        "m": (pa.array([pairs, None], pa.map_(pa.string(), pa.int8())), [pairs, None]),
        "u": (uuids, [number, None]),
        "d": (texts.dictionary_encode(), ["x", None]),
    }
    shared = pa.schema(
        [
            ("m", pa.map_(pa.large_string(), pa.int32())),
            ("u", pa.binary(16)),
            ("d", pa.dictionary(pa.int32(), pa.string())),
        ]
    )
    found = conform(pa.table({name: array for name, (array, _) in columns.items()}), shared)
    found.validate(full=True)
    assert found.schema == shared
    assert {name: found[name].to_pylist() for name in columns} == {
        name: values for name, (_, values) in columns.items()
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.string(), pa.int64()),
        (pa.string(), pa.binary()),
        (pa.int64(), pa.float64()),
        (pa.int64(), pa.uint64()),
        (pa.bool_(), pa.int8()),
        (pa.timestamp("s"), pa.timestamp("s", "UTC")),
        (pa.date32(), pa.timestamp("s")),
        (pa.decimal128(38, 0), pa.decimal256(70, 60)),
        (pa.map_(pa.string(), pa.int8()), pa.struct([("a", pa.int8())])),
        (pa.list_(pa.string()), pa.string()),
        (pa.struct([("a", pa.int8())]), pa.string()),
    ],
)
def test_types_that_nothing_holds_without_loss(one, other):
    """The error for a conflict names both types and the field's path."""
    with pytest.raises(TypeConflictError) as caught:
        merge_types(one, other)
    assert (caught.value.one, caught.value.other) == (one, other)
    nested = [
        pa.schema([("x", pa.int8()), ("c", pa.list_(pa.field("item", pa.struct([("f", kind)]))))])
        for kind in (one, other)
    ]
    with pytest.raises(TypeConflictError) as caught:
        merge_schemas(*nested)
    assert caught.value.path == ("c", "item", "f")


def test_columns_of_either_are_kept():
    """The first schema sets the order and metadata, and missing fields are nullable."""
    one = pa.schema(
        [pa.field("a", pa.string(), nullable=False), pa.field("b", pa.int8(), nullable=False)],
        {"made by": "one"},
    )
    other = pa.schema(
        [pa.field("b", pa.int8(), nullable=False), pa.field("c", pa.int8(), nullable=False)]
    )
    shared = merge_schemas(one, other)
    assert shared.names == ["a", "b", "c"]
    assert [item.nullable for item in shared] == [True, False, True]
    assert shared.metadata == {b"made by": b"one"}
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["b", "c"])
    assert conform(table, shared).to_pylist() == [{"a": None, "b": 1, "c": 2}]


def test_a_time_without_a_place_is_an_error():
    """A time beyond nanoseconds is an error."""
    table = pa.table({"c": pa.array([10**11], pa.timestamp("s"))})
    with pytest.raises(pa.ArrowInvalid):
        conform(table, pa.schema([("c", pa.timestamp("ns"))]))


def test_differences_are_named_by_path():
    """Each difference has both types, and another order is reported."""
    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    other = pa.struct([("content", pa.large_string()), ("role", pa.string()), ("n", pa.int8())])
    one = pa.schema([("id", pa.int8()), ("messages", pa.list_(message))])
    two = pa.schema(
        [
            ("messages", pa.large_list(pa.field("element", other))),
            pa.field("id", pa.int64(), nullable=False),
        ]
    )
    shared = merge_schemas(one, two)
    assert list(list_differences(one, shared)) == [
        Difference("id", "int8", "int64"),
        Difference("messages[].n", "absent", "int8"),
    ]
    assert list(list_differences(two, shared)) == [
        Difference("", "columns in a different order", ""),
        Difference("id", "int64 not null", "int64"),
        Difference("messages", "items named 'element'", "items named 'item'"),
        Difference("messages", "large_list", "list"),
        Difference("messages[]", "fields in a different order", ""),
        Difference("messages[].content", "large_string", "string"),
    ]
    assert list(list_differences(shared, shared)) == []


def test_a_union_keeps_the_order_and_counts_leaves():
    """Columns are in order of arrival, and a column that some schema lacks is nullable."""
    union = SchemaUnion()
    required = pa.field("a", pa.int8(), nullable=False)
    pair = pa.struct([("x", pa.int8()), ("y", pa.list_(pa.string()))])
    union.add(pa.schema([required, ("b", pair)], {"k": "v"}))
    assert union.leaves == 3
    assert union.settle().field("a") == required
    union.add(pa.schema([("c", pa.null()), required], {"other": "metadata"}))
    union.add(pa.schema([("b", pa.struct([("z", pa.int8())]))]))
    assert union.leaves == 5
    schema = union.settle()
    assert schema.names == ["a", "b", "c"]
    assert schema.field("a").nullable
    assert [item.name for item in schema.field("b").type] == ["x", "y", "z"]
    assert schema.metadata == {b"k": b"v"}


def test_absent_columns_are_counted_with_the_first_file_that_lacks_them():
    """Each column that some files lack is listed once."""
    schemas = [pa.schema([(name, pa.int8()) for name in names]) for names in ("ab", "abc", "a")]
    shared = pa.schema([(name, pa.int8()) for name in "abc"])
    assert list(count_absent(schemas, shared)) == [
        Absence(Difference("b", "absent", "int8"), 2, 1),
        Absence(Difference("c", "absent", "int8"), 0, 2),
    ]


def test_joined_tables_have_nulls_where_they_lack_a_column():
    """Joined tables keep the order of rows, with nulls for missing columns."""
    schema = pa.schema([("a", pa.int64()), ("b", pa.list_(pa.string())), ("c", pa.string())])
    parts = [{"a": [1, 2]}, {"b": [["x"]], "a": [3]}, {"b": [None]}, {"a": [4], "b": [[]]}]
    tables = [convert_columns(pa.table(part), schema) for part in parts]
    joined = join_tables(tables, schema)
    joined.validate(full=True)
    assert joined.schema == schema
    assert joined.to_pydict() == {
        "a": [1, 2, 3, None, 4],
        "b": [None, None, ["x"], None, []],
        "c": [None] * 5,
    }
    assert join_tables([], schema) == schema.empty_table()
    assert join_tables([schema.empty_table()] * 2, schema).num_rows == 0
