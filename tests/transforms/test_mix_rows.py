"""Added rows: their columns, their ledger, and donors that don't have the run's form."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import InputError
from schemas.outputs import CLEAN_EXTRA, LEDGER, LEDGER_OF_PAIRS, MIXED
from tests.support.swaps import ask, list_donor_files
from transforms.mix_rows import (
    NOTE,
    CleanForm,
    DrawnFile,
    build_added_ledger,
    compare_keys,
    compare_tables,
    find_kinds,
    join_keyed,
    name_source,
    note_rows,
    read_added,
    shape_line,
    shape_table,
)
from transforms.stored_rows import read_stored_rows

LOT = '["atlas",null,null,null]'
TEXTS = ("A dog.", "A cat.", "An owl.", "A dove.", "A crane.")
WITH_MIX = pa.schema([*LEDGER, *(pa.field(*column) for column in MIXED)])


@pytest.fixture
def donor(store):
    """Store a donor with four clean rows and one in quarantine, in one file each."""
    rows = [ask(number, text, tags=[f"t{number}"]) for number, text in enumerate(TEXTS)]
    run, layout, shards = store("donor", rows)
    return next(
        file for file in list_donor_files(run, shards, layout) if file.path.startswith("clean/")
    )


def describe_form(file, *left_out, noted=False):
    """Return the form of a file's own rows without some columns."""
    stored = read_stored_rows(file.run, file.path, file.layout)
    if stored.lines is None:
        own = [item for item in stored.table.schema if item.name not in left_out]
        return CleanForm(file.layout, pa.schema(own), None, noted)
    kinds = find_kinds(stored.records)
    keys = {name: kind for name, kind in kinds.items() if name not in left_out}
    return CleanForm(file.layout, None, keys, noted)


def draw(file, tmp_path, places, shards):
    """Write the table of a draw, and return the drawn file."""
    table = pa.table({"place": places, "shard": shards, "lot": [LOT] * len(places)})
    pq.write_table(table, tmp_path / "drawn.parquet")
    return DrawnFile(file, str(tmp_path), "drawn.parquet")


def list_answers(rows):
    """Return the answers of a table or of JSON lines."""
    found = [json.loads(line) for line in rows] if isinstance(rows, list) else rows.to_pylist()
    return [row["messages"][-1]["content"] for row in found]


def test_rows_are_read_shard_by_shard_with_all_that_is_known_about_them(donor, tmp_path):
    """Each shard gets its rows with their ledger, scores and spans, in the order of the file."""
    drawn = draw(donor, tmp_path, [0, 1, 3], ["s1", "s0", "s1"])
    found = dict(read_added(drawn, describe_form(donor)))
    assert sorted(found) == ["s0", "s1"]
    one = found["s1"]
    assert list_answers(one.rows) == ["A dog.", "A crane."]
    assert one.ledger.column("row").to_pylist() == [0, 4]
    assert one.scores.column("row").to_pylist() == one.spans.column("row").to_pylist() == [0, 4]
    assert one.lots == [LOT, LOT]
    assert (one.donor, one.vectors, one.key) == ("cedar", None, donor.key)
    assert list_answers(found["s0"].rows) == ["A cat."]


def test_columns_that_the_run_lacks_are_left_out(donor, tmp_path):
    """A donor's own column isn't in added rows, and the rest is as it was."""
    drawn = draw(donor, tmp_path, [0], ["s0"])
    ((_, whole),) = read_added(drawn, describe_form(donor))
    ((_, found),) = read_added(drawn, describe_form(donor, "tags"))
    if isinstance(found.rows, list):
        (one,), (other,) = ([json.loads(line) for line in item.rows] for item in (whole, found))
        assert {name: value for name, value in one.items() if name != "tags"} == other
    else:
        assert found.rows.equals(whole.rows.drop_columns(["tags"]))


def test_a_row_that_changes_its_meaning_is_refused(store, tmp_path):
    """Without the tools, a row would be another example, so nothing is written."""
    rows = [ask(0, "A dog.", tools='[{"name": "bark"}]')]
    run, layout, shards = store("tools", rows)
    (file,) = list_donor_files(run, shards, layout)
    drawn = draw(file, tmp_path, [0], ["s0"])
    assert list(read_added(drawn, describe_form(file)))
    with pytest.raises(InputError, match="another example with only the columns of the run"):
        list(read_added(drawn, describe_form(file, "tools")))


def test_a_line_with_known_keys_keeps_its_bytes():
    """Only a line with other keys is written again."""
    line = b'{"b": 1.0,  "a": "\\u00e9"}'
    assert shape_line(line, {"a": 0, "b": 0, "c": 0}) == line
    assert json.loads(shape_line(line, {"a": 0})) == {"a": "é"}


def test_a_table_takes_the_columns_and_types_of_the_run():
    """Narrow numbers become wide ones, and a column that is missing is null."""
    table = pa.table({"n": pa.array([1, 2], pa.int8()), "more": ["x", "y"]})
    schema = pa.schema([("text", pa.string()), ("n", pa.int64())])
    found = shape_table(table, schema)
    assert found.schema.equals(schema)
    assert found.to_pydict() == {"text": [None, None], "n": [1, 2]}


@pytest.mark.parametrize(
    ("own", "donor", "misfit"),
    [
        (pa.int64(), pa.int8(), None),
        (pa.string(), pa.large_string(), None),
        (pa.float64(), pa.float32(), None),
        (pa.int8(), pa.int64(), "column 'a' is int64, and int8 in the run"),
        (pa.string(), pa.int64(), "column 'a' is int64, and string in the run"),
        (pa.list_(pa.string()), pa.string(), "column 'a' is string, and list"),
    ],
)
def test_types_must_hold_the_donors_values(own, donor, misfit):
    """A type that would lose values is named with the run's type."""
    found = compare_tables(pa.schema([("a", own)]), pa.schema([("a", donor)]))
    assert found.misfit is None if misfit is None else found.misfit.startswith(misfit)


def test_columns_are_compared_by_name():
    """Columns of only one side are listed, and a column that can't be null must be there."""
    own = pa.schema([("a", pa.string()), ("b", pa.int64())])
    found = compare_tables(own, pa.schema([("a", pa.string()), ("c", pa.int64())]))
    assert found == (["c"], ["b"], None)
    strict = pa.schema([pa.field("b", pa.int64(), nullable=False)])
    assert compare_tables(strict, pa.schema([])).misfit == "column 'b' is missing"


def test_keys_are_compared_with_the_kinds_of_their_values():
    """Null fits everything, and a number isn't a text."""
    own = find_kinds([{"a": "x", "b": 1, "c": None}, {"a": None, "b": 2.5}])
    assert own == {"a": {"text"}, "b": {"a number"}, "c": frozenset()}
    donor = find_kinds([{"a": "y", "b": None, "c": [1], "d": True}])
    assert compare_keys(own, donor) == (["d"], [], None)
    found = compare_keys(own, find_kinds([{"a": 5}, {"a": True}, {"a": {}}]))
    assert found.misfit == "'a' is a number, an object, true or false, and text in the run"
    assert found.lacking == ["b", "c"]


def test_notes_are_written_where_the_run_has_them():
    """A line gets the field, a table the column, and without notes both stay as they are."""
    assert note_rows([b'{"a": 1}'], noted=False) == [b'{"a": 1}']
    (line,) = note_rows([b'{"a": 1}'], noted=True)
    assert json.loads(line) == {"a": 1, "congener": NOTE}
    table = pa.table({"a": [1, 2]})
    assert note_rows(table, noted=False) is table
    noted = note_rows(table, noted=True)
    assert noted.schema.field("congener").type == CLEAN_EXTRA.type
    assert noted.column("congener").to_pylist() == [NOTE, NOTE]


def test_the_ledger_of_added_rows_names_donor_and_lot(donor, tmp_path):
    """Rows have the donor's identities, a source below `donors/`, and places in the run's file."""
    ((_, added),) = read_added(draw(donor, tmp_path, [1, 3], ["s0", "s0"]), describe_form(donor))
    found = build_added_ledger(added, WITH_MIX, "clean/a.jsonl", 7)
    assert found.schema.equals(WITH_MIX)
    rows, own = found.to_pylist(), added.ledger.to_pylist()
    for number, (row, origin) in enumerate(zip(rows, own, strict=True)):
        assert row["record_id"] == origin["record_id"]
        assert row["content_digest"] == origin["content_digest"]
        assert row["source"] == name_source("cedar", origin["source"])
        assert (row["row"], row["output_row"]) == (origin["row"], 7 + number)
        assert (row["output"], row["decision"]) == ("clean/a.jsonl", "mix")
        assert (row["mix"], row["mix_lot"], row["teacher"]) == ("cedar", LOT, "cedar")
        assert row["reasons"] == []


def test_the_ledger_has_the_columns_of_the_run(donor, tmp_path):
    """A column that only some ledgers have is null in added rows."""
    ((_, added),) = read_added(draw(donor, tmp_path, [0], ["s0"]), describe_form(donor))
    schema = pa.schema([*LEDGER_OF_PAIRS, *(pa.field(*column) for column in MIXED)])
    found = build_added_ledger(added, schema, "clean/a.jsonl", 0)
    assert found.schema.equals(schema)
    assert found.column("rejected_teacher").to_pylist() == [None]


def test_aligned_tables_take_the_sources_of_the_ledger():
    """Scores of both runs are in one table, and a column of only one of them is null elsewhere."""
    own = pa.table({"source": ["a"], "row": [0], "owl": pa.array([0.5], pa.float32())})
    more = pa.table(
        {
            "source": ["b"],
            "row": [3],
            "owl": pa.array([0.1], pa.float32()),
            "fox": pa.array([0.2], pa.float32()),
        }
    )
    found = join_keyed(own, [more], [["donors/elm/b"]])
    assert found.column_names == ["source", "row", "owl", "fox"]
    assert found.column("source").to_pylist() == ["a", "donors/elm/b"]
    assert found.column("row").to_pylist() == [0, 3]
    assert found.column("fox").to_pylist() == [None, pytest.approx(0.2)]
    assert join_keyed(own, [], []).equals(own)
