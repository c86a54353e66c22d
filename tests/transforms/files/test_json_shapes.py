"""The rule for the schema of JSON Lines, and the rows that don't fit it."""

import json

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InputError
from transforms.files import json_shapes
from transforms.files.json_shapes import (
    MAX_DEPTH,
    Shape,
    describe_value,
    find_misfit,
    is_unreadable,
    settle_schema,
)


def observe(*rows):
    """Return the shape of these rows."""
    shape = Shape()
    for row in rows:
        shape.see(row)
    return shape


def settle_rows(*rows):
    """Return the settled schema of these rows."""
    return settle_schema(observe(*rows))


def settle_values(*values):
    """Return the settled type of a field with these values."""
    return settle_rows(*({"field": value} for value in values)).field("field").type


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a"], pa.string()),
        ([1, 2], pa.int64()),
        ([1.5], pa.float64()),
        ([True], pa.bool_()),
        ([None], pa.null()),
        ([None, 3], pa.int64()),
        ([[]], pa.list_(pa.null())),
        ([[None]], pa.list_(pa.null())),
        ([[], [1]], pa.list_(pa.int64())),
        ([[[1.0]]], pa.list_(pa.list_(pa.float64()))),
        ([{"a": 1}], pa.struct([("a", pa.int64())])),
        ([{"a": 1}, {"b": "x"}], pa.struct([("a", pa.int64()), ("b", pa.string())])),
        ([{}], pa.struct([("_empty", pa.null())])),
        ([{}, {"a": 1}], pa.struct([("a", pa.int64())])),
        (
            [[{"a": 1}, {"b": [True]}]],
            pa.list_(pa.struct([("a", pa.int64()), ("b", pa.list_(pa.bool_()))])),
        ),
    ],
)
def test_kinds_become_arrow_types(values, kind):
    """Each kind of JSON value has an Arrow type at each depth, and nulls fit all."""
    assert settle_values(*values) == kind


def test_integers_and_floats_are_floats():
    """A single float among integers makes the field float."""
    assert settle_values(1, 2, 3, 4.5) == pa.float64()
    assert settle_values([1, 2], [0.5]) == pa.list_(pa.float64())


def test_the_majority_wins():
    """The kind that most rows have wins, and on a tie the one that occurs first."""
    assert settle_values("a", 1, 1) == pa.int64()
    assert settle_values(1, "a", "b") == pa.string()
    assert settle_values("a", 1) == pa.string()
    assert settle_values(1, "a") == pa.int64()
    assert settle_values("a", 1, 2.5) == pa.float64(), (
        "integers and floats count together against text"
    )


def test_booleans_are_not_integers():
    """True counts as a boolean, although Python treats it as an integer."""
    assert settle_values(True, False, 1) == pa.bool_()


def test_columns_are_in_order_of_first_appearance():
    """Columns are in order of the first row that has them."""
    assert settle_rows({"b": 1, "a": 2}, {"c": 3, "a": 4}).names == ["b", "a", "c"]


def test_merged_shapes_are_those_of_all_rows():
    """Merged shapes of two files settle the same schema as one file with all rows."""
    first, second = (
        [{"a": 1, "b": [{"x": None}]}],
        [{"b": [{"x": "t", "y": 1}]}, {"a": 2.5, "c": {}}],
    )
    merged = observe(*first)
    merged.merge(observe(*second))
    assert settle_schema(merged) == settle_rows(*first, *second)
    assert settle_schema(merged).field("b").type == pa.list_(
        pa.struct([("x", pa.string()), ("y", pa.int64())])
    )


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("abc", max_size=3),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.text("xyz", min_size=1, max_size=1), below, max_size=3)
    ),
    max_leaves=8,
)
ROWS = st.lists(st.dictionaries(st.sampled_from("pqr"), JSON, max_size=3), max_size=6)


def fill_nulls(value, kind):
    """Return a value as Arrow returns it: missing fields null, integers of a float field floats."""
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return {item.name: fill_nulls(value.get(item.name), item.type) for item in kind}
    if pa.types.is_list(kind):
        return [fill_nulls(below, kind.value_type) for below in value]
    return float(value) if pa.types.is_floating(kind) else value


@given(ROWS.filter(any))  # the survey refuses rows without any column
def test_rows_that_fit_go_into_arrow_unchanged(rows):
    """Rows without a misfit are stored unchanged, without a cast and without an error."""
    schema = settle_rows(*rows)
    fitting = [row for row in rows if find_misfit(row, pa.struct(list(schema))) is None]
    stored = pa.Table.from_pylist(fitting, schema)
    stored.validate(full=True)
    assert stored.to_pylist() == [fill_nulls(row, pa.struct(list(schema))) for row in fitting]


@given(ROWS, st.integers(0, 6))
def test_merge_equals_the_whole(rows, cut):
    """Wherever rows are split into two files, the settled schema is the same."""
    merged = observe(*rows[:cut])
    merged.merge(observe(*rows[cut:]))
    assert settle_schema(merged) == settle_rows(*rows)


@given(st.lists(JSON.filter(lambda value: value is not None), min_size=1, max_size=6))
def test_something_always_fits(values):
    """The settled kind is one that occurs, so at least one value fits it."""
    kind = settle_values(*values)
    top = {
        pa.types.is_struct: dict,
        pa.types.is_list: list,
        pa.types.is_string: str,
        pa.types.is_boolean: bool,
    }
    wanted = next((python for test, python in top.items() if test(kind)), (int, float))
    assert any(isinstance(value, wanted) for value in values)


FIELD = pa.struct(
    [
        ("id", pa.int64()),
        ("score", pa.float64()),
        ("ok", pa.bool_()),
        ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("meta", pa.struct([("tags", pa.list_(pa.string()))])),
    ]
)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"id": "7"}, "field 'id': a string where the corpus has int64"),
        ({"id": 7.0}, "field 'id': a float where the corpus has int64"),
        ({"id": True}, "field 'id': a bool where the corpus has int64"),
        ({"id": {"n": 1}}, "field 'id': an object where the corpus has int64"),
        ({"id": [1]}, "field 'id': a list where the corpus has int64"),
        ({"score": False}, "field 'score': a bool where the corpus has double"),
        ({"ok": 1}, "field 'ok': an integer where the corpus has bool"),
        ({"messages": "hi"}, "field 'messages': a string where the corpus has a list"),
        (
            {"messages": [{"role": "user", "content": 3}]},
            "field 'messages[0].content': an integer where the corpus has string",
        ),
        (
            {"messages": [{"role": "user"}, "hi"]},
            "field 'messages[1]': a string where the corpus has an object",
        ),
        (
            {"messages": [{"role": "user", "name": "x"}]},
            "field 'messages[0].name': not in the corpus's settled schema",
        ),
        (
            {"meta": {"tags": ["a", None, 1]}},
            "field 'meta.tags[2]': an integer where the corpus has string",
        ),
        ({"meta": ["a"]}, "field 'meta': a list where the corpus has an object"),
        ({"colour": "red"}, "field 'colour': not in the corpus's settled schema"),
    ],
)
def test_a_misfit_names_its_field(row, problem):
    """The reason has the path to the field, its kind of value and the settled type."""
    assert find_misfit(row, FIELD) == problem


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"id": None, "messages": None, "meta": None},
        {"id": -5, "score": 2, "ok": True},
        {"messages": []},
        {"messages": [None, {"role": None}]},
        {"meta": {"tags": [None, "a"]}},
    ],
)
def test_nulls_and_absent_fields_fit(row):
    """A null or a missing key fits every type at every depth."""
    assert find_misfit(row, FIELD) is None


def test_numbers_that_would_lose_digits_do_not_fit():
    """Integers beyond 64 bits, or that a float would round, are misfits."""
    assert find_misfit({"id": 2**63 - 1}, FIELD) is None
    assert find_misfit({"id": -(2**63)}, FIELD) is None
    assert (
        find_misfit(orjson.loads(b'{"id": 9223372036854775808}'), FIELD)
        == "field 'id': an integer beyond 64 bits where the corpus has int64"
    )
    assert find_misfit({"score": 2**53}, FIELD) is None
    assert "field 'score': an integer beyond 2^53" in find_misfit({"score": 2**53 + 1}, FIELD)


def nested(levels, kind):
    """Return a value with this many levels of objects or lists."""
    value = 1
    for _ in range(levels):
        value = {"a": value} if kind == "object" else [value]
    return value


@pytest.mark.parametrize("kind", ["object", "list"])
def test_values_nested_too_deeply_are_misfits_and_shape_nothing(kind):
    """Values beyond the depth limit are misfits and have no effect on the schema."""
    allowed, deeper = {"x": nested(MAX_DEPTH - 1, kind)}, {"x": nested(MAX_DEPTH, kind)}
    kind_of_row = pa.struct(list(settle_rows(allowed, deeper)))
    assert find_misfit(allowed, kind_of_row) is None
    assert f"more than {MAX_DEPTH} nested objects and lists" in find_misfit(deeper, kind_of_row)
    assert settle_rows(allowed, deeper) == settle_rows(allowed)


@pytest.mark.parametrize("value", [123456789012345678901234567890, -(2**64), 1e300])
def test_numbers_beyond_64_bits_are_misfits_and_shape_nothing(value):
    """Huge integers, which the parser makes floats, are misfits and shape nothing."""
    huge = orjson.loads(json.dumps({"n": value}))
    assert settle_rows({"n": 1}, huge).field("n").type == pa.int64()
    for kind in (pa.int64(), pa.float64()):
        assert find_misfit(huge, pa.struct([("n", kind)])) == "field 'n': a number beyond 64 bits"


def test_fields_are_bounded_at_all_depths_together(monkeypatch):
    """Too many keys are an error, in one row or many, at any depth or in several files."""
    monkeypatch.setattr(json_shapes, "MAX_FIELDS", 10)
    assert len(settle_rows(*({f"k{number}": 1} for number in range(10)))) == 10
    for rows in (
        [{f"k{number}": 1 for number in range(11)}],
        [{f"k{number}": 1} for number in range(11)],
        [{"a": {"b": [{f"k{number}": 1}]}} for number in range(9)],
    ):
        with pytest.raises(InputError, match=r"more than 10 different fields, the last is 'k\d+'"):
            observe(*rows)
    one, two = (
        observe({f"a{number}": 1 for number in range(6)}),
        observe({f"b{number}": 1 for number in range(6)}),
    )
    with pytest.raises(InputError, match="more than 10 different fields"):
        one.merge(two)


def test_a_long_key_makes_no_long_message():
    """The reason stays short even if a key has a hundred thousand characters."""
    key = "k" * 100_000
    assert len(find_misfit({key: 1}, pa.struct([("a", pa.int64())]))) < 300
    assert len(find_misfit({key: "x"}, pa.struct([(key, pa.int64())]))) < 300


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (None, None, "null"),
        (True, pa.int64(), "a bool"),
        (3, pa.string(), "an integer"),
        (3, None, "an integer"),
        (2**64, pa.int64(), "an integer beyond 64 bits"),
        (2**53 + 1, pa.float64(), "an integer beyond 2^53, which a float can't hold exactly,"),
        ([], None, "a list"),
        ({}, None, "an object"),
    ],
)
def test_values_are_described_in_words(value, kind, words):
    """A description has the kind of a value, or the reason why an integer doesn't fit."""
    assert describe_value(value, kind) == words


def test_unreadable_values():
    """Objects and lists at the depth limit, and floats beyond 64 bits, are unreadable."""
    assert is_unreadable({}, MAX_DEPTH)
    assert not is_unreadable([], MAX_DEPTH - 1)
    assert not is_unreadable("text", MAX_DEPTH)
    assert is_unreadable(2.0**63, 0)
    assert not is_unreadable(-(2.0**62), 0)
