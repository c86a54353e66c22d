"""JSON files that are one object with rows inside."""

import json
import shlex
import subprocess
import sys

import pytest

from schemas.corpora import ShardLimits
from transforms.files.documents import explain_document, explain_documents
from transforms.files.sources import survey_file

ROWS = [{"prompt": "p", "completion": "c"}, {"prompt": "q", "completion": "d"}]

WRAPPED = {
    "data": ({"version": "1.1", "data": ROWS}, ".data[]"),
    "splits": ({"train": ROWS, "test": ROWS[:1]}, ".train[]"),
    "odd key": ({"the rows": ROWS}, '.["the rows"][]'),
    "rows of an API": (
        {"features": [{"name": "prompt"}], "rows": [{"row": row} for row in ROWS]},
        ".rows[].row",
    ),
}


@pytest.mark.parametrize(("value", "path"), WRAPPED.values(), ids=WRAPPED)
def test_rows_inside_an_object_are_named_with_a_command(value, path):
    """The error for an object with rows inside suggests a command."""
    error = explain_document(value, "a b.json")
    assert error is not None
    assert error.where == "a b.json"
    assert "is one object with rows inside" in error.problem
    program, option, expression, file, *_ = shlex.split(error.remedy.partition(": ")[2])
    assert (program, option, expression, file) == ("jq", "-c", path, "a b.json")


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": {"0": "p", "1": "q"}, "completion": {"0": "c", "1": "d"}},
        {"columns": ["prompt", "completion"], "index": [0, 1], "data": [["p", "c"], ["q", "d"]]},
    ],
)
def test_a_table_of_pandas_comes_with_a_command_that_works(tmp_path, value):
    """The suggested command writes the rows in their order."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps(value))
    error = explain_document(value, str(path))
    assert error is not None
    assert "column by column" in error.problem
    command = error.remedy.partition(": ")[2]
    command = command.replace("python", shlex.quote(sys.executable), 1)
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    written = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in written] == ROWS


@pytest.mark.parametrize(
    "value",
    [
        *({}, {"a": 1}, {"a": []}, {"a": [1]}, {"a": {"x": 1}}, {"a": {}}, {"a": "t", "b": ["x"]}),
        {"conversation": [{"speaker": "user", "text": "a"}]},
        {"context": [{"role": "user", "content": "a"}], "response1": "b"},
    ],
)
def test_other_objects_are_rows(value):
    """An object that looks like a row gets no explanation."""
    assert explain_document(value, "a") is None


def test_only_files_of_one_object_are_explained(tmp_path):
    """Only a file with a single object is explained."""
    found = {}
    for name, text in {
        "one": json.dumps({"data": ROWS}, indent=1),
        "two": json.dumps({"data": ROWS}) + "\n" + json.dumps({"data": ROWS}),
    }.items():
        path = tmp_path / f"{name}.json"
        path.write_text(text)
        found[name] = survey_file(str(path), path.name, ShardLimits())
    error = explain_documents([found["two"], found["one"]], ShardLimits())
    assert error is not None
    assert error.where == str(tmp_path / "one.json")
    assert explain_documents([found["two"]], ShardLimits()) is None
