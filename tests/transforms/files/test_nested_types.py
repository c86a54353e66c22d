"""Nested types and arrays, taken apart and put together."""

import pyarrow as pa
import pytest

from transforms.files.nested_types import allow_nulls, list_parts, map_fields, rebuild

FIELD = pa.field("i", pa.int8(), nullable=False)
ROWS = {
    "list": (pa.list_(FIELD), [[1, 2], None, [], [3]]),
    "large": (pa.large_list(FIELD), [[1, 2], None, [], [3]]),
    "view": (pa.list_view(FIELD), [[1, 2], None, [], [3]]),
    "long": (pa.large_list_view(FIELD), [[1, 2], None, [], [3]]),
    "pair": (pa.list_(FIELD, 2), [[1, 2], [3, 4], [5, 6], [7, 8]]),
    "struct": (pa.struct([FIELD, ("j", pa.int8())]), [{"i": 1, "j": None}, None, None, None]),
    "map": (pa.map_(pa.string(), FIELD), [[("a", 1), ("b", 2)], None, [], [("c", 3)]]),
}


def widen(item):
    """Return a field of wide integers."""
    return item.with_type(pa.int64()) if item.type == pa.int8() else item


def widen_inside(item):
    """Return a field with wide integers, also inside a map's entries."""
    return item.with_type(map_fields(item.type, widen)) if item.type.num_fields else widen(item)


@pytest.mark.parametrize("begin", range(4))
@pytest.mark.parametrize("name", ROWS)
def test_parts_are_converted(name, begin):
    """Values and nulls are the same in the new type, in any slice."""
    kind, rows = ROWS[name]
    array, wide = pa.array(rows, kind).slice(begin), map_fields(kind, widen_inside)
    assert "int64" in str(wide)
    assert "int8" not in str(wide).replace("j: int8", "")
    found = rebuild(array, wide, lambda part, into: part.cast(into))
    found.validate(full=True)
    assert found.type == wide
    assert found.to_pylist() == rows[begin:]


def test_values_of_null_lists_are_left_out():
    """A null list may have values, which are dropped."""
    lists = pa.ListArray.from_arrays([0, 2, 3], [1, 2, 3], mask=pa.array([True, False]))
    found = rebuild(lists, pa.list_view(pa.int64()), lambda part, _: part)
    assert found.to_pylist() == [None, [3]]
    assert found.values.to_pylist() == [3]
    assert [part.to_pylist() for _, part in list_parts(lists)] == [[1, 2, 3]]


def test_required_fields_of_null_structs_stay_filled():
    """Parquet can't write a null in a field that mustn't be null, even where the struct is null."""
    kind = pa.struct([FIELD, ("j", pa.string())])
    parts = [pa.array([1, 2], pa.int8()), pa.array(["a", "b"])]
    array = pa.StructArray.from_arrays(parts, fields=list(kind), mask=pa.array([False, True]))
    found = rebuild(array, kind, lambda part, _: part)
    assert [found.field(name).null_count for name in ("i", "j")] == [0, 1]
    assert [item.name for item, _ in list_parts(found)] == ["i", "j"]


def test_all_fields_may_allow_nulls():
    """Every field becomes nullable at every depth, except keys."""
    inner = pa.struct([FIELD])
    loose = pa.struct([("i", pa.int8())])
    assert allow_nulls(pa.list_(pa.field("x", inner, nullable=False), 2)) == pa.list_(
        pa.field("x", loose), 2
    )
    found = allow_nulls(pa.map_(pa.string(), pa.field("v", inner, nullable=False)))
    assert found == pa.map_(pa.string(), pa.field("v", loose))
    assert not found.key_field.nullable
    assert allow_nulls(pa.string()) == pa.string()
    assert allow_nulls(pa.dense_union([FIELD])) == pa.dense_union([FIELD])
