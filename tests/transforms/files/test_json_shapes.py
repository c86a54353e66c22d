"""The written rule that settles a JSON corpus's schema, and the rows that don't fit it."""

import json

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InputError
from transforms.files import json_shapes
from transforms.files.json_shapes import MAX_DEPTH, Shape, misfit, settled_schema


def shape_of(*rows):
    """Look at these rows."""
    shape = Shape()
    for row in rows:
        shape.see(row)
    return shape


def schema_of(*rows):
    """Settle the schema of these rows."""
    return settled_schema(shape_of(*rows))


def kind_of(*values):
    """Settle the type of one field with these values."""
    return schema_of(*({"field": value} for value in values)).field("field").type


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
    """Each kind of JSON value has its Arrow type, at each depth; nulls fit all."""
    assert kind_of(*values) == kind


def test_integers_and_floats_are_floats():
    """One float among integers makes the field a float, however many integers there are."""
    assert kind_of(1, 2, 3, 4.5) == pa.float64()
    assert kind_of([1, 2], [0.5]) == pa.list_(pa.float64())


def test_the_majority_wins():
    """Where kinds conflict the one that most rows have is settled, the first seen when they are equal."""
    assert kind_of("a", 1, 1) == pa.int64()
    assert kind_of(1, "a", "b") == pa.string()
    assert kind_of("a", 1) == pa.string()
    assert kind_of(1, "a") == pa.int64()
    assert kind_of("a", 1, 2.5) == pa.float64(), "integers and floats count together against text"


def test_booleans_are_no_integers():
    """True is counted as a boolean, though Python calls it an integer."""
    assert kind_of(True, False, 1) == pa.bool_()


def test_columns_stand_in_order_of_first_appearance():
    """A key that comes later in the file comes later in the schema."""
    assert schema_of({"b": 1, "a": 2}, {"c": 3, "a": 4}).names == ["b", "a", "c"]


def test_merging_is_seeing_all_rows_in_turn():
    """Two files' observations merged settle what one file with all rows would."""
    first, second = (
        [{"a": 1, "b": [{"x": None}]}],
        [{"b": [{"x": "t", "y": 1}]}, {"a": 2.5, "c": {}}],
    )
    merged = shape_of(*first)
    merged.merge(shape_of(*second))
    assert settled_schema(merged) == schema_of(*first, *second)
    assert settled_schema(merged).field("b").type == pa.list_(
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


def padded(value, kind):
    """Return a value as Arrow gives it back: absent fields null, integers of a float field floats."""
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return {item.name: padded(value.get(item.name), item.type) for item in kind}
    if pa.types.is_list(kind):
        return [padded(below, kind.value_type) for below in value]
    return float(value) if pa.types.is_floating(kind) else value


@given(ROWS.filter(any))  # a table without columns has no rows, and the survey refuses it
def test_rows_that_fit_go_into_arrow_unchanged(rows):
    """Whatever the rows, those without a misfit are stored as they are: nothing is cast, nothing fails."""
    schema = schema_of(*rows)
    fitting = [row for row in rows if misfit(row, pa.struct(list(schema))) is None]
    stored = pa.Table.from_pylist(fitting, schema)
    stored.validate(full=True)
    assert stored.to_pylist() == [padded(row, pa.struct(list(schema))) for row in fitting]


@given(ROWS, st.integers(0, 6))
def test_merge_equals_the_whole(rows, cut):
    """Wherever the rows are cut in two files, the settled schema is the same."""
    merged = shape_of(*rows[:cut])
    merged.merge(shape_of(*rows[cut:]))
    assert settled_schema(merged) == schema_of(*rows)


@given(st.lists(JSON.filter(lambda value: value is not None), min_size=1, max_size=6))
def test_something_always_fits(values):
    """The settled top-level kind is one that was seen, so that at least one of the values is of it."""
    kind = kind_of(*values)
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
    """The message holds the path to the field, what stands there, and what the corpus has."""
    assert misfit(row, FIELD) == problem


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
    """A null, or a key left out, fits every type at every depth."""
    assert misfit(row, FIELD) is None


def test_numbers_that_would_lose_digits_do_not_fit():
    """An integer beyond 64 bits, or one that a float field would round, is a misfit and not a silent cast."""
    assert misfit({"id": 2**63 - 1}, FIELD) is None
    assert misfit({"id": -(2**63)}, FIELD) is None
    assert (
        misfit(orjson.loads(b'{"id": 9223372036854775808}'), FIELD)
        == "field 'id': an integer beyond 64 bits where the corpus has int64"
    )
    assert misfit({"score": 2**53}, FIELD) is None
    assert "field 'score': an integer beyond 2^53" in misfit({"score": 2**53 + 1}, FIELD)


def nested(levels, kind):
    """Return a value with so many objects or lists inside one another."""
    value = 1
    for _ in range(levels):
        value = {"a": value} if kind == "object" else [value]
    return value


@pytest.mark.parametrize("kind", ["object", "list"])
def test_what_lies_too_deep_shapes_nothing_and_is_a_misfit(kind):
    """A row may nest as deep as the limit, the row itself counted; one more is a misfit that says so, whatever the schema."""
    allowed, deeper = {"x": nested(MAX_DEPTH - 1, kind)}, {"x": nested(MAX_DEPTH, kind)}
    kind_of_row = pa.struct(list(schema_of(allowed, deeper)))
    assert misfit(allowed, kind_of_row) is None
    assert f"more than {MAX_DEPTH} objects and lists inside one another" in misfit(
        deeper, kind_of_row
    )
    assert schema_of(allowed, deeper) == schema_of(allowed)


@pytest.mark.parametrize("value", [123456789012345678901234567890, -(2**64), 1e300])
def test_numbers_beyond_64_bits_are_misfits_and_shape_nothing(value):
    """The parser makes floats of integers of that size: none is believed, and a field of integers stays one."""
    huge = orjson.loads(json.dumps({"n": value}))
    assert schema_of({"n": 1}, huge).field("n").type == pa.int64()
    for kind in (pa.int64(), pa.float64()):
        assert misfit(huge, pa.struct([("n", kind)])) == "field 'n': a number beyond 64 bits"


def test_fields_are_bounded_at_all_depths_together(monkeypatch):
    """Keys made of data end the survey, whether they stand in one row, in many, deep down or in several files."""
    monkeypatch.setattr(json_shapes, "MAX_FIELDS", 10)
    assert len(schema_of(*({f"k{number}": 1} for number in range(10)))) == 10
    for rows in (
        [{f"k{number}": 1 for number in range(11)}],
        [{f"k{number}": 1} for number in range(11)],
        [{"a": {"b": [{f"k{number}": 1}]}} for number in range(9)],
    ):
        with pytest.raises(InputError, match=r"more than 10 different fields, the last is 'k\d+'"):
            shape_of(*rows)
    one, two = (
        shape_of({f"a{number}": 1 for number in range(6)}),
        shape_of({f"b{number}": 1 for number in range(6)}),
    )
    with pytest.raises(InputError, match="more than 10 different fields"):
        one.merge(two)


def test_a_long_key_makes_no_long_message():
    """A row's keys may be megabytes; the reason why it doesn't fit isn't."""
    key = "k" * 100_000
    assert len(misfit({key: 1}, pa.struct([("a", pa.int64())]))) < 300
    assert len(misfit({key: "x"}, pa.struct([(key, pa.int64())]))) < 300
