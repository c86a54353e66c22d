"""Types that Parquet lacks, and nulls that it can't hold, in Arrow columns."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from schemas.errors import InputError
from transforms.files.parquet_types import (
    allows_all_nulls,
    check_types,
    choose_types,
    holds_forbidden_nulls,
    holds_null_lists,
    loosen_lists,
    replace_null_values,
)
from transforms.records.plain_values import list_values

CODES = st.lists(st.none() | st.integers(0, 3), min_size=12, max_size=12)
SHAPES = ("list", "large", "view", "long", "pair", "struct", "map", "keys", "opaque")


def wrap(array, shape, gaps):
    """Return an array of nested values with some nulls, which take all values of `array`."""
    size = len(array)
    ends = list(range(0, size + 1, 2))
    mask = pa.array([gaps[row % len(gaps)] for row in range(size)])
    half = mask[: size // 2]
    null_key = pa.DictionaryArray.from_arrays([1] * size, pa.array([None, "key"]))
    views = (ends[-2::-1], [2] * len(half), array)
    makes = {
        "list": lambda: pa.ListArray.from_arrays(ends, array, mask=half),
        "large": lambda: pa.LargeListArray.from_arrays(ends, array, mask=half),
        "view": lambda: pa.ListViewArray.from_arrays(*views, mask=half),
        "long": lambda: pa.LargeListViewArray.from_arrays(*views, mask=half),
        "pair": lambda: pa.FixedSizeListArray.from_arrays(array, 2),  # Parquet lacks null pairs
        "map": lambda: pa.MapArray.from_arrays(ends, pa.array(map(str, range(size))), array),
        "keys": lambda: pa.MapArray.from_arrays(range(size + 1), null_key, array),
        "struct": lambda: pa.StructArray.from_arrays([array, mask], ["x", "y"], mask=mask),
        "opaque": lambda: pa.ExtensionArray.from_storage(pa.opaque(array.type, "a", "b"), array),
    }
    return makes[shape]()


@given(
    CODES,
    st.lists(st.none() | st.sampled_from("ab"), min_size=4, max_size=4),
    st.lists(st.sampled_from(SHAPES), max_size=2),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.integers(0, 2),
)
def test_nulls_in_dictionaries_become_nulls_in_the_column(codes, words, shapes, gaps, begin):
    """At any depth and in any slice, Parquet can write the column, and values stay equal."""
    indices = pa.array(codes, pa.int32())
    array = pa.DictionaryArray.from_arrays(indices, pa.array(words, pa.string()))
    for shape in shapes:
        array = wrap(array, shape, gaps)
    table = pa.table({"x": array}).slice(begin)
    assume(not any(map(holds_null_lists, table["x"].chunks)))  # such columns change their type
    found = replace_null_values(table)
    found.validate(full=True)
    assert found.schema == table.schema
    assert list_values(found["x"]) == list_values(table["x"])
    assert replace_null_values(found) is found
    sink = io.BytesIO()
    pq.write_table(found, sink)
    assert list_values(pq.read_table(sink)["x"]) == list_values(table["x"])


def test_a_null_key_is_an_error():
    """A map's key can be null in a dictionary's values, and nowhere else."""
    keys = pa.DictionaryArray.from_arrays([0, 1], pa.array(["a", None]))
    table = pa.table({"x": pa.MapArray.from_arrays([0, 1, 2], keys, pa.array([1, 2]))})
    with pytest.raises(pa.ArrowInvalid, match="NULL valued keys"):
        replace_null_values(table)


def test_views_become_plain_text_at_every_depth():
    """Views become plain types, with the same names, nullability and metadata."""
    view = pa.list_(
        pa.struct(
            [
                ("role", pa.string_view()),
                pa.field("raw", pa.binary_view(), nullable=False),
                ("n", pa.int8()),
            ]
        )
    )
    plain = pa.list_(
        pa.struct(
            [("role", pa.string()), pa.field("raw", pa.binary(), nullable=False), ("n", pa.int8())]
        )
    )
    before = pa.schema(
        [
            ("text", pa.string_view()),
            ("m", view),
            ("large", pa.large_list(pa.string_view())),
            ("map", pa.map_(pa.string_view(), view, keys_sorted=True)),
            ("pair", pa.list_(pa.binary_view(), 2)),
            ("json", pa.json_(pa.string_view())),
            ("lists", pa.list_view(pa.field("x", pa.string_view(), nullable=False))),
            ("long", pa.large_list_view(pa.int8())),
            ("coded", pa.dictionary(pa.int8(), pa.string_view(), ordered=True)),
            ("odd", pa.opaque(pa.string_view(), "kind", "vendor")),
            ("d", pa.date32()),
        ],
        {"by": "hand"},
    )
    after = pa.schema(
        [
            ("text", pa.string()),
            ("m", plain),
            ("large", pa.large_list(pa.string())),
            ("map", pa.map_(pa.string(), plain, keys_sorted=True)),
            ("pair", pa.list_(pa.binary(), 2)),
            ("json", pa.json_(pa.string())),
            ("lists", pa.list_(pa.field("x", pa.string(), nullable=False))),
            ("long", pa.large_list(pa.int8())),
            ("coded", pa.dictionary(pa.int32(), pa.string(), ordered=True)),
            ("odd", pa.opaque(pa.string(), "kind", "vendor")),
            ("d", pa.date32()),
        ],
        {"by": "hand"},
    )
    assert choose_types(before).equals(after, check_metadata=True)


@pytest.mark.parametrize(
    "values",
    [
        pa.int64(),
        pa.float16(),
        pa.null(),
        pa.uuid(),
        pa.duration("s"),
        pa.binary(2),
        pa.struct([("a", pa.int8())]),
        pa.list_(pa.string()),
    ],
)
def test_only_dictionaries_of_text_and_bytes_are_kept(values):
    """Other dictionaries become columns of their values."""
    coded = pa.dictionary(pa.int8(), values)
    schema = pa.schema([("x", coded), ("y", pa.list_(coded))])
    assert choose_types(schema) == pa.schema([("x", values), ("y", pa.list_(values))])


@pytest.mark.parametrize("index", [pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32()])
def test_narrow_indices_are_widened(index):
    """Joined dictionaries fit their index."""
    schema = pa.schema([("x", pa.dictionary(index, pa.large_binary()))])
    assert choose_types(schema).field("x").type.index_type == pa.int32()


def strict(kind, name="item"):
    """Return a field that mustn't be null."""
    return pa.field(name, kind, nullable=False)


HIDDEN = pa.DictionaryArray.from_arrays([0, 1], pa.array(["a", None]))


@pytest.mark.parametrize(
    ("item", "array", "found"),
    [
        (strict(pa.string()), pa.array(["a", None]), True),
        (strict(pa.string()), pa.array(["a", "b"]), False),
        (strict(HIDDEN.type), HIDDEN, True),
        (None, pa.array([["a"], [None]], pa.list_(strict(pa.string()))), True),
        (None, pa.array([["a"], None], pa.list_view(strict(pa.string()))), False),
        (None, pa.array([{"x": None}], pa.struct([strict(pa.int8(), "x")])), True),
        (None, pa.array([[("k", None)]], pa.map_("string", strict(pa.int8()))), True),
        (None, pa.array([[("k", 1)]], pa.map_("string", strict(pa.int8()))), False),
    ],
)
def test_nulls_that_a_field_forbids_are_found(item, array, found):
    """A null in a field that mustn't be null is found at any depth."""
    field = item or pa.field("x", array.type)
    assert not allows_all_nulls(field)
    assert holds_forbidden_nulls(field, array) == found


def test_most_fields_allow_nulls():
    """Fields allow nulls unless they say otherwise."""
    assert allows_all_nulls(pa.field("x", pa.map_(pa.string(), pa.list_(pa.int8(), 2))))
    uuid = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([None], pa.binary(16)))
    assert holds_forbidden_nulls(strict(pa.uuid()), uuid)


def test_types_that_parquet_lacks_are_refused():
    """The error for a type that Parquet lacks names the column."""
    union = pa.schema([("ok", pa.string()), ("u", pa.dense_union([pa.field("a", pa.int8())]))])
    with pytest.raises(InputError, match=r"column 'u' is dense_union.* Parquet can't hold"):
        check_types(union, "x.arrow")
    for kind in (
        pa.run_end_encoded(pa.int32(), pa.string()),
        pa.decimal128(5, -2),
        pa.binary(0),
    ):
        with pytest.raises(InputError, match=r"column 'u' is .* Parquet can't hold"):
            check_types(pa.schema([("ok", pa.string()), ("u", kind)]), "x.arrow")
    with pytest.raises(InputError, match="two fields 'a'"):
        check_types(pa.schema([("a", pa.string()), ("a", pa.string())]), "x.arrow")
    required = pa.struct([pa.field("a", pa.string(), nullable=False)])
    check_types(pa.schema([("text", pa.string()), ("x", required)]), "x.arrow")


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


def test_a_dictionary_in_which_a_list_is_null_is_found():
    """A dictionary whose values are lists of a fixed size is decoded first."""
    values = pa.array([[1, 2], None], PAIR)
    assert holds_null_lists(pa.DictionaryArray.from_arrays([0, 1], values))
    assert not holds_null_lists(pa.DictionaryArray.from_arrays([0, 0], values))
    assert not holds_null_lists(pa.array(["a", None]).dictionary_encode())


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
