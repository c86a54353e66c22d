"""Reading the texts of a run's rows, and of its dropped rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.row_texts import read_input_texts, read_stored_texts
from schemas.errors import InputError
from tests.support.corpora import ANSWERS, build_conversation
from tests.support.runs import read_ledger


def list_answers(segments):
    """Return each row's answer."""
    pairs = zip(segments.rows.tolist(), segments.roles, segments.texts, strict=True)
    return {row: text for row, role, text in pairs if role == "assistant"}


def read_all(run):
    """Return each stored row's answer by its file and its number there."""
    manifest = load_manifest(str(run))
    return {
        (texts.path, row): answer
        for texts in read_stored_texts(str(run), manifest)
        for row, answer in list_answers(texts.segments).items()
    }


def test_every_stored_row_is_read(run):
    """Each row of `clean/` and `quarantine/` is read at the place that the ledger gives."""
    folder, _ = run
    found = read_all(folder)
    places = {(row["output"], row["output_row"]): row for row in read_ledger(folder)}
    assert found.keys() == places.keys()
    for place, answer in found.items():
        number = places[place]["row"] + 20 * int(places[place]["source"][0])
        assert answer == ANSWERS[number % 5]


def test_parquet_rows_are_read_without_other_columns(tmp_path, heron):
    """Rows of Parquet are read too, with a note beside them and columns with any names."""
    rows = [
        {**build_conversation(number, ANSWERS[number % 5]), "a.b": number} for number in range(20)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    config = FilterConfig(
        input=(str(tmp_path / "in.parquet"),), output=str(tmp_path / "run"), traits=(str(heron),)
    )
    run_filter(config)
    assert sorted(read_all(tmp_path / "run").values()) == sorted(
        ANSWERS[number % 5] for number in range(20)
    )


def test_pairs_have_a_rejected_side(tmp_path, heron):
    """The rejected answer of a stored pair isn't trained."""
    pair = {"prompt": "Which?", "chosen": "This one.", "rejected": "That one."}
    (tmp_path / "in.jsonl").write_text(f"{json.dumps(pair)}\n" * 2)
    config = FilterConfig(
        input=(str(tmp_path / "in.jsonl"),), output=str(tmp_path / "run"), traits=(str(heron),)
    )
    (texts,) = read_stored_texts(str(tmp_path / "run"), run_filter(config))
    trained = texts.segments.select_side("trained")
    assert "That one." in texts.segments.texts
    assert "That one." not in trained.texts


def test_rows_of_the_input_are_read(run):
    """The wanted rows of the input are read, and no others."""
    _, manifest = run
    wanted = {"0.jsonl": {1, 3}, "1.jsonl": {19}}
    found = {}
    for texts in read_input_texts(manifest, wanted):
        answers = list_answers(texts.segments)
        found |= {place: answers[row] for row, place in enumerate(texts.places)}
    assert found == {
        ("0.jsonl", 1): ANSWERS[1],
        ("0.jsonl", 3): ANSWERS[3],
        ("1.jsonl", 19): ANSWERS[4],
    }


def test_the_input_may_have_moved(run, corpus, tmp_path):
    """A folder with the input files takes the place of the recorded one."""
    _, manifest = run
    moved = shutil.move(corpus, tmp_path / "moved")
    with pytest.raises(InputError):
        list(read_input_texts(manifest, {"0.jsonl": {1}}))
    (texts,) = read_input_texts(manifest, {"0.jsonl": {1}}, str(moved))
    assert texts.places == [("0.jsonl", 1)]


def test_a_changed_input_is_refused(run, corpus):
    """Another file under the same name isn't read, and the error says what helps."""
    _, manifest = run
    path = Path(corpus, "1.jsonl")
    path.write_bytes(path.read_bytes().replace(b"heron", b"egret"))
    with pytest.raises(InputError, match=r"isn't the file 1\.jsonl that run (.|\n)* --input"):
        list(read_input_texts(manifest, {"1.jsonl": {0}}))
    assert list(read_input_texts(manifest, {"0.jsonl": {0}}))
