"""Values, and pairs of Arrow types that hold them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

Variants = tuple[st.SearchStrategy[Any], pa.DataType, pa.DataType]

INTEGERS = st.integers(-100, 100)
TEXTS = st.text(max_size=4)
TIMES = st.integers(-(2**31), 2**32).map(
    lambda seconds: dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)
)
LEAVES: list[tuple[st.SearchStrategy[Any], list[pa.DataType]]] = [
    (TEXTS, [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]),
    (TEXTS, [pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int16(), pa.string())]),
    (TEXTS.map(str.encode), [pa.binary(), pa.large_binary()]),
    (INTEGERS, [pa.int8(), pa.int16(), pa.int32(), pa.int64()]),
    (INTEGERS.map(abs), [pa.uint8(), pa.int16(), pa.uint32(), pa.int64()]),
    (st.floats(width=32, allow_nan=False), [pa.float32(), pa.float64()]),
    (st.booleans(), [pa.bool_()]),
    (TIMES, [pa.timestamp("s"), pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("ns")]),
    (TIMES, [pa.timestamp("s", "UTC"), pa.timestamp("ns", "Etc/UTC")]),
    (TIMES.map(dt.datetime.date), [pa.date32()]),
    (st.just(Decimal("1.50")), [pa.decimal128(5, 2), pa.decimal128(20, 4)]),
    (st.none(), [pa.null()]),
]
"""Strategies for values, each with types that hold its values."""


@st.composite
def variants(draw: Callable[[st.SearchStrategy[Any]], Any], depth: int = 2) -> Variants:
    """Draw a strategy for values, and two types that hold them."""
    kind = draw(st.sampled_from(["leaf", "leaf", "list", "struct"] if depth else ["leaf"]))
    if kind == "leaf":
        values, types = draw(st.sampled_from(LEAVES))
        one, other = draw(st.sampled_from(types)), draw(st.sampled_from([*types, pa.null()]))
        return st.none() | values, one, other
    if kind == "list":
        values, one, other = draw(variants(depth - 1))
        makes = [pa.list_, pa.large_list, lambda item: pa.list_(pa.field("element", item))]
        make, make_other = draw(st.sampled_from(makes)), draw(st.sampled_from(makes))
        return st.none() | st.lists(values, max_size=3), make(one), make_other(other)
    fields = draw(st.dictionaries(st.sampled_from("abc"), variants(depth - 1), min_size=1))
    names = draw(st.permutations(list(fields)))
    kept = names[: draw(st.integers(1, len(names)))]
    values = st.fixed_dictionaries({name: fields[name][0] for name in fields})
    one = pa.struct([(name, fields[name][1]) for name in fields])
    return st.none() | values, one, pa.struct([(name, fields[name][2]) for name in kept])


def fit(value: Any, kind: pa.DataType) -> Any:
    """Return a value without the fields that its type lacks."""
    if value is None or pa.types.is_null(kind):
        return None
    if pa.types.is_struct(kind):
        return {item.name: fit(value.get(item.name), item.type) for item in kind}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [fit(item, kind.value_type) for item in value]
    return value


def fill(value: Any, kind: pa.DataType) -> Any:
    """Return a value with nulls for its type's other fields."""
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return {item.name: fill(value.get(item.name), item.type) for item in kind}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [fill(item, kind.value_type) for item in value]
    return value
