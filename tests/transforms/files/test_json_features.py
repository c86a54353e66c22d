"""Features: declared columns are those that `datasets` finds in the rows itself."""

import io
import json
import shutil

import datasets
import pyarrow as pa
import pyarrow.json as pj
import pytest
import yaml
from datasets import Features, Json, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.outputs import CLEAN_EXTRA
from transforms.files import json_features
from transforms.files.dataset_cards import declare_columns
from transforms.files.json_features import (
    TIME,
    JsonShape,
    describe_type,
    has_notes,
    settle_features,
)

NOTE = {
    "decision": "mask",
    "weight": 1.0,
    "masks": [{"field_path": "messages[1].content", "start": 0, "end": 4}],
    "traits": ["heron"],
}


def observe(*rows):
    """Return the shape of rows."""
    shape = JsonShape()
    for row in rows:
        shape.observe_row(row)
    return shape


def settle(*rows) -> Features:
    """Return the features of rows without the field `congener`, as `datasets` reads them."""
    *own, note = settle_features(observe(*rows))
    assert note["name"] == "congener"
    return Features._from_yaml_list(own)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([None], Value("null")),
        ([None, True], Value("bool")),
        ([1, 2], Value("int64")),
        ([1, 2.5], Value("float64")),
        (["a", None], Value("string")),
        (["2026-11-27", "2026-11-27T10:00:00Z"], Value("timestamp[s]")),
        (["2026-11-27", "soon"], Value("string")),
        (["2026-13-27"], Value("string")),
        ([[]], List(Value("null"))),
        ([[], [1]], List(Value("int64"))),
        ([[[1]], [[2.5]]], List(List(Value("float64")))),
        ([{"a": 1}, {"a": 2}], {"a": Value("int64")}),
        ([{"a": 1}, {"b": 2}], Json()),
        ([{}], Json()),
        ([[{"a": 1}], [{"a": 2, "b": 3}]], List(Json())),
        ([{"a": {"b": 1}}, {"a": {"c": 1}}], {"a": Json()}),
        ([1, "a"], Json()),
        ([True, 1], Json()),
        (["a", ["b"]], Json()),
        ([{"a": 1}, [1]], Json()),
    ],
)
def test_a_column_has_the_type_of_its_values(values, kind):
    """Values of one type give it, values of several types or with several keys give JSON."""
    assert settle(*({"x": value} for value in values)) == Features({"x": kind})


def test_keys_that_some_rows_lack_are_columns_in_their_order():
    """The columns are those of all rows, in the order of appearance, and the note comes last."""
    features = settle_features(observe({"b": 1}, {"congener": NOTE, "a": "x"}, {"c": True}))
    assert [column["name"] for column in features] == ["b", "a", "c", "congener"]


def test_only_noted_rows_have_notes():
    """Rows have notes if one of them has the field."""
    assert not has_notes(JsonShape())
    assert not has_notes(observe({"a": 1}))
    assert has_notes(observe({"a": 1}, {"a": 1, "congener": NOTE}))


def test_the_note_has_the_type_of_its_arrow_column():
    """The declared field is the column that Parquet output has."""
    kind = Features._from_yaml_list([{"name": "x", **describe_type(CLEAN_EXTRA.type)}])
    assert kind.arrow_schema.field("x").type == CLEAN_EXTRA.type


@pytest.mark.parametrize(
    ("row", "problem"),
    [({"x": [2**64]}, "64 bits"), ({"\ud800": 1}, "Unicode"), ({"y": {"\ud800": 1}}, "Unicode")],
)
def test_what_a_card_cannot_declare_is_an_error(row, problem):
    """Integers and keys that Arrow can't hold are named."""
    with pytest.raises(ValueError, match=problem):
        settle_features(observe(row))


def test_too_many_keys_are_an_error(monkeypatch):
    """Keys that are data aren't columns."""
    monkeypatch.setattr(json_features, "MOST_COLUMNS", 3)
    with pytest.raises(ValueError, match="more than 3 keys"):
        settle_features(observe({str(number): 1 for number in range(4)}))


@given(st.from_regex(TIME, fullmatch=True), st.sampled_from(["", "x", "2026-01-01"]))
def test_texts_are_times_if_arrow_reads_them_as_times(text, other):
    """The declared type of a text that looks like a time is Arrow's."""
    rows = [{"x": text}, *([{"x": other}] if other else [])]
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    found = pj.read_json(io.BytesIO(data)).schema.field("x").type
    assert settle(*rows).arrow_schema.field("x").type == found


def test_many_times_are_read_in_parts(monkeypatch):
    """A column of times is read before it fills the memory, and one other text makes it text."""
    monkeypatch.setattr(json_features, "TIMES_HELD", 3)
    rows = [{"x": f"2026-01-{day:02}"} for day in range(1, 20)]
    assert settle(*rows) == Features({"x": Value("timestamp[s]")})
    assert settle(*rows, {"x": "soon"}, *rows) == Features({"x": Value("string")})


SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from([0.5, 2.0, "a", "b"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("pqr"), inner, max_size=3)
    ),
    max_leaves=6,
)
ROWS = st.lists(st.dictionaries(st.sampled_from("xyz"), VALUES), min_size=1, max_size=5)


@settings(max_examples=15, deadline=None)
@given(ROWS, st.data())
def test_datasets_loads_rows_of_any_shape(tmp_path_factory, rows, data):
    """Rows with declared columns are loaded with their own values, whichever row has a note."""
    marked = data.draw(st.integers(0, len(rows) - 1))
    rows = [{**row, "n": number} for number, row in enumerate(rows)]
    rows[marked]["congener"] = NOTE
    folder = tmp_path_factory.mktemp("rows")
    for number, row in enumerate(rows):
        (folder / f"part-{number}.jsonl").write_text(json.dumps(row) + "\n")
    card = declare_columns(None, settle_features(observe(*rows)))
    (folder / "README.md").write_text(card)
    loaded = datasets.load_dataset(
        str(folder), split="train", cache_dir=str(folder / "cache")
    ).to_list()
    assert [row["n"] for row in loaded] == [row["n"] for row in rows]
    assert [row["congener"] for row in loaded] == [row.get("congener") for row in rows]
    for before, after in zip(rows, loaded, strict=True):
        assert {name: after[name] for name in before} == before
    shutil.rmtree(folder)


def test_the_card_is_plain_yaml():
    """Equal parts are written out, because some readers refuse anchors."""
    rows = [{"a": [{"b": 1}], "c": [{"b": 1}], "congener": NOTE}]
    card = declare_columns(None, settle_features(observe(*rows)))
    assert "&" not in card
    features = yaml.safe_load(card.split("---")[1])["dataset_info"]["features"]
    assert pa.types.is_list(Features._from_yaml_list(features).arrow_schema.field("a").type)
