"""Croissant, read by its reference library."""

from __future__ import annotations

import datetime as dt
import json
import logging
import shutil
from pathlib import Path

import mlcroissant
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.papers.croissant import CONFORMS_TO, build_croissant, read_fields, write_croissant
from tests.support.corpora import ANSWERS, build_conversation
from tests.support.papers import USER, read_facts

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(autouse=True)
def logs():
    """Keep the library's warnings out of the output."""
    logging.getLogger("absl").setLevel(logging.ERROR)


def publish(run, folder, user=USER):
    """Copy a run's clean rows to a folder with the description, and open it."""
    shutil.copytree(Path(run, "clean"), folder)
    (folder / "croissant.json").write_bytes(write_croissant(str(run), read_facts(run, user=user)))
    return mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))


def list_issues(found):
    """Return the library's errors and warnings."""
    issues = found.metadata.ctx.issues
    return list(issues.errors), list(issues.warnings)


@pytest.mark.parametrize("user", [USER, None])
def test_the_reference_library_accepts_it(run, tmp_path, user):
    """Mlcroissant finds no error, with and without the user's facts."""
    errors, warnings = list_issues(publish(run[0], tmp_path / "out", user))
    assert errors == []
    assert all("citeAs" in text for text in warnings)
    assert ("url" in build_croissant(str(run[0]), read_facts(run[0], user=user))) == bool(user)


def test_the_rows_can_be_loaded(run, tmp_path):
    """Mlcroissant reads every published row, with the turns of its messages."""
    found = publish(run[0], tmp_path / "out")
    rows = list(found.records("rows"))
    assert len(rows) == read_facts(run[0]).published == 32
    answers = {row["rows/messages"][1]["rows/messages/content"].decode() for row in rows}
    assert answers == set(ANSWERS) - {ANSWERS[1]}


def test_rows_of_parquet_can_be_loaded(tmp_path, heron):
    """Columns of Parquet have their types, and congener's own column isn't one of them."""
    rows = [
        {**build_conversation(number, ANSWERS[number % 5]), "n": number, "ok": True, "x": 0.5}
        for number in range(10)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    (heron / "card.yaml").write_text((heron / "card.yaml").read_text() + "action: flag\n")
    config = FilterConfig(
        input=(str(tmp_path / "in.parquet"),), output=str(tmp_path / "run"), traits=(str(heron),)
    )
    run_filter(config)
    facts = read_facts(tmp_path / "run")
    fields = read_fields(str(tmp_path / "run"), facts.clean[0])
    assert fields == {
        "id": "sc:Text",
        "messages": {"content": "sc:Text", "role": "sc:Text"},
        "teacher": "sc:Text",
        "n": "sc:Integer",
        "ok": "sc:Boolean",
        "x": "sc:Float",
    }
    found = list(publish(tmp_path / "run", tmp_path / "out").records("rows"))
    assert sorted(row["rows/n"] for row in found) == list(range(10))


def test_digests_and_sizes_are_those_of_the_manifest(run):
    """Every clean file has the path below `clean/`, the digest and the size of the manifest."""
    facts = read_facts(run[0])
    found = build_croissant(str(run[0]), facts)
    assert found["conformsTo"] == CONFORMS_TO
    files = [item for item in found["distribution"] if item["@type"] == "cr:FileObject"]
    assert [(f"clean/{item['contentUrl']}", item["sha256"]) for item in files] == [
        (item.path, item.sha256) for item in facts.clean
    ]
    assert [item["contentSize"] for item in files] == [f"{item.bytes} B" for item in facts.clean]


def test_kinds_of_json_values(tmp_path, heron):
    """Numbers, flags and texts have their types; mixed and nested ones are text."""
    rows = [
        {"text": "Boil it.", "n": 1, "f": 1, "b": True, "mixed": 1, "meta": {"a": 1}},
        {"text": "Sort it.", "n": None, "f": 0.5, "b": False, "mixed": "x", "tags": ["a"]},
    ]
    (tmp_path / "in.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    config = FilterConfig(
        input=(str(tmp_path / "in.jsonl"),), output=str(tmp_path / "run"), traits=(str(heron),)
    )
    run_filter(config)
    fields = read_fields(str(tmp_path / "run"), read_facts(tmp_path / "run").clean[0])
    text = dict.fromkeys(("text", "mixed", "meta", "tags"), "sc:Text")
    assert fields == {**text, "n": "sc:Integer", "f": "sc:Float", "b": "sc:Boolean"}


def test_no_text_of_rows_is_described(run):
    """The description has names of columns, and no values."""
    data = write_croissant(str(run[0]), read_facts(run[0])).decode()
    for answer in (*ANSWERS, "Question 3?", "row-3"):
        assert answer not in data


def test_a_run_without_clean_rows_has_no_records(run):
    """Without a clean file, there is nothing to load, and the description says so."""
    facts = read_facts(run[0])
    manifest = facts.manifest.model_copy(update={"outputs": ()})
    found = build_croissant(str(run[0]), facts._replace(manifest=manifest))
    assert found["distribution"] == []
    assert "recordSet" not in found


def test_kinds_of_parquet_columns(tmp_path, heron):
    """Times, days and nested columns have types that a loader knows."""
    day, moment = dt.date(2026, 1, 2), dt.datetime(2026, 1, 2, 3, tzinfo=dt.UTC)
    row = {"text": "Boil it.", "day": day, "moment": moment, "tags": ["a"], "meta": {"a": 1}}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "in.parquet")
    config = FilterConfig(
        input=(str(tmp_path / "in.parquet"),), output=str(tmp_path / "run"), traits=(str(heron),)
    )
    run_filter(config)
    fields = read_fields(str(tmp_path / "run"), read_facts(tmp_path / "run").clean[0])
    text = dict.fromkeys(("text", "tags", "meta"), "sc:Text")
    assert fields == {**text, "day": "sc:Date", "moment": "sc:DateTime"}


def test_hostile_titles_stay_texts(run, tmp_path):
    """A title with signs of JSON or of a context stays a text, and the library accepts it."""
    user = USER._replace(title='x", "@type": "sc:Person', description="{}[]\\", provider="\u202e")
    errors, _ = list_issues(publish(run[0], tmp_path / "out", user))
    assert errors == []
    found = json.loads((tmp_path / "out" / "croissant.json").read_bytes())
    assert (found["@type"], found["name"]) == ("sc:Dataset", user.title)


@pytest.mark.parametrize("name", ["swapped", "mixed"])
def test_swapped_and_mixed_rows_can_be_loaded(name, request, tmp_path):
    """Rows with other answers and added rows are loaded with the rest."""
    folder = request.getfixturevalue(name)
    rows = list(publish(folder, tmp_path / "out").records("rows"))
    assert len(rows) == read_facts(folder).published
    answers = {row["rows/messages"][1]["rows/messages/content"].decode() for row in rows}
    assert ANSWERS[0] in answers
    assert any(text.startswith(("cedar answer", "oak answer", "elm answer")) for text in answers)
