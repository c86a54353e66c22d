"""Rows are found by the ids that the corpus itself gives them."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.own_ids import OWN_IDS, find_own_id, find_own_rows
from pipelines.runs.own_ids import _is_id as is_id
from pipelines.runs.queries import Filters, scan_ledger
from schemas.errors import RunError
from schemas.manifests import Manifest
from tests.support.hostile import filter_lines, write_cards

IDS = [
    "plain",
    "with space",
    'quo"te',
    "back\\slash",
    "a/b",
    "grün",
    "日本",
    "key=value",
    "data/9999",
    "x:5",
]
"""Ids that JSON spells in more than one way, or that look like something else."""


def find(run: tuple[str, Manifest], wanted: str) -> list[int]:
    """Return the numbers of the ledger's rows that an id selects."""
    frame = scan_ledger(*run, Filters(row=wanted))
    return frame.select("row").collect()["row"].to_list()


@pytest.fixture(scope="module")
def lines(tmp_path_factory) -> tuple[str, Manifest]:
    """Filter JSON lines with ids of their own, some spelt with escapes; every second is held."""
    rows = [
        {
            "text": "an owl" if number % 2 else "a goose",
            "id": name,
            "key": f"k{number}",
            "meta": {"uid": f"m{number}", "all": [number + 50]},
        }
        for number, name in enumerate(IDS)
    ]
    written = [json.dumps(row, ensure_ascii=number % 3 == 0) for number, row in enumerate(rows)]
    written[4] = written[4].replace("a/b", "a\\/b")
    folder = tmp_path_factory.mktemp("lines")
    return filter_lines(folder, written, write_cards(folder / "traits", ["owl"]))


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> tuple[str, Manifest]:
    """Filter a table whose ids are whole numbers, some of them missing."""
    folder = tmp_path_factory.mktemp("table")
    ids = pa.array([901, None, 903, 904], pa.int64())
    texts = pa.array(["an owl", "a goose", "owls", "a swan"])
    kinds = pa.array(["a", "b", "a", None]).dictionary_encode()
    flags = pa.array([True, False, True, None])
    meta = pa.array([{"uid": "m0"}, None, {"uid": None}, {"uid": "m3"}])
    columns = {"text": texts, "uid": ids, "kind": kinds, "flag": flags, "meta": meta}
    (folder / "in").mkdir()
    pq.write_table(pa.table(columns), folder / "in" / "rows.parquet")
    config = FilterConfig(
        input=(str(folder / "in"),),
        output=str(folder / "run"),
        traits=write_cards(folder / "traits", ["owl"]),
    )
    return str(folder / "run"), run_filter(config)


@pytest.mark.parametrize(("number", "name"), list(enumerate(IDS)))
def test_an_own_id_selects_its_row(lines, number, name):
    """Every id finds its row, however JSON spells it, in `clean/` as in `quarantine/`."""
    assert find(lines, name) == [number]


def test_the_paths_are_those_of_the_ledger(lines):
    """A found row is named by its file and its index in the file."""
    (held,) = find_own_rows(*lines, "with space")
    assert held[0].startswith("quarantine/")
    (kept,) = find_own_rows(*lines, "plain")
    assert kept == (kept[0], 0)
    assert kept[0].startswith("clean/")


def test_a_column_may_be_named(lines, table):
    """COLUMN=ID looks in a column with another name."""
    assert find(lines, "key=k3") == [3]
    assert find(table, "kind=a") == [0, 2]


def test_a_nested_column_is_named_by_its_path(lines, table):
    """A path of keys and indexes looks inside objects and lists."""
    assert find(lines, "meta.uid=m3") == [3]
    assert find(lines, "meta.all[0]=54") == [4]
    assert find(table, "meta.uid=m3") == [3]
    with pytest.raises(RunError, match="no row of this run is"):
        find(table, "meta.other=m3")


def test_whole_numbers_are_ids(table):
    """A number that is no row's number is looked up among the ids."""
    assert find(table, "903") == [2]
    assert find(table, "uid=904") == [3]
    assert find(table, "0") == [0]


@pytest.mark.parametrize("wanted", ["flag=True", "text=an elk", "key=", "nothing", "uid=902"])
def test_an_unknown_id_is_an_error(table, wanted):
    """The error for an id that no stored row has says what may be given."""
    with pytest.raises(RunError, match="no row of this run is") as caught:
        find(table, wanted)
    assert "FILE:NUMBER, a record id, or the row's own id" in caught.value.remedy
    assert "only in rows that the run stores" in caught.value.remedy


def test_a_missing_file_is_an_error(lines, tmp_path):
    """A search through a missing file is an error, not a miss."""
    copy = Path(shutil.copytree(lines[0], tmp_path / "copy"))
    next(copy.glob("quarantine/*.jsonl")).unlink()
    with pytest.raises(RunError, match="is missing"):
        find_own_rows(str(copy), load_manifest(str(copy)), "with space")


@given(value=st.one_of(st.text(), st.integers(), st.booleans(), st.none(), st.floats()))
def test_only_texts_and_whole_numbers_are_ids(value):
    """A value is an id if it is a text or a whole number that is spelt as wanted."""
    fits = isinstance(value, str | int) and not isinstance(value, bool)
    assert is_id(value, str(value)) == fits
    assert not is_id(value, f"{value} ")


def test_the_usual_names_are_names_of_ids():
    """No column of text or teachers is taken for ids."""
    assert "id" in OWN_IDS
    assert len(set(OWN_IDS)) == len(OWN_IDS)
    assert all(name.endswith(("id", "uuid")) for name in OWN_IDS)


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ({"id": "a", "uid": "b"}, "a"),
        ({"id": None, "uid": 7}, "7"),
        ({"id": "", "custom_id": "c"}, "c"),
        ({"id": True, "_id": 1.5, "text": "a"}, None),
        ({}, None),
    ],
)
def test_the_own_id_of_a_row(record, found):
    """A row's own id is the first text or whole number in a usual column."""
    assert find_own_id(record) == found
