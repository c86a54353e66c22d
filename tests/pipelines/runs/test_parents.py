"""Parents: a run over clean rows keeps their masks and names the earlier run."""

import json
import shutil
from pathlib import Path
from shutil import copytree
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.runs.parents import describe_parents, find_parents
from pipelines.verify import verify_run
from schemas.errors import InputError
from schemas.receipts import NoteCounts
from tests.support.corpora import CARD, build_conversation, write_rows
from transforms.files.samples import Sample
from transforms.files.sources import Source

HERON = "A heron stood in the reeds."
OWL = "An owl sat in the barn."
FOX = "A fox ran."
ANSWERS = (f"{FOX} {HERON}", f"{HERON} {OWL}", f"{OWL} {FOX}", FOX)


@pytest.fixture
def filter_rows(tmp_path, card_folder):
    """Return a function that filters a folder for one animal."""

    def call(source, output, animal, action="mask", **settings):
        card = CARD.replace("herons?", animal)
        config = FilterConfig(
            input=(str(source),),
            output=str(tmp_path / output),
            traits=(str(card_folder(animal, f"action: {action}\n{card}")),),
            **settings,
        )
        return run_filter(config)

    return call


@pytest.fixture(params=["jsonl", "parquet"])
def corpus(request, tmp_path):
    """Write four rows as JSON Lines or Parquet."""
    rows = [build_conversation(number, answer) for number, answer in enumerate(ANSWERS)]
    path = tmp_path / "in" / f"rows.{request.param}"
    if request.param == "jsonl":
        return write_rows(path, rows)
    path.parent.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def read_clean(run):
    """Return the rows in `clean/`, each with its masked texts and its decision."""
    [path] = [path for path in Path(run, "clean").rglob("*.part-*") if path.is_file()]
    if path.suffix == ".parquet":
        rows = pq.read_table(path).to_pylist()
    else:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found = []
    for row in rows:
        note = row.get("congener") or {"decision": "keep", "masks": []}
        text = row["messages"][1]["content"]
        masked = [text[mask["start"] : mask["end"]].strip() for mask in note["masks"]]
        found.append((note["decision"], masked))
    return found


def test_masks_of_both_runs_hold(tmp_path, corpus, filter_rows):
    """Each row has both runs' masks, and the second run names its parent."""
    first = filter_rows(corpus.parent, "first", "heron")
    second = filter_rows(tmp_path / "first" / "clean", "second", "owl")
    assert second.parents == (first.run_id,)
    assert first.parents == ()
    assert read_clean(tmp_path / "second") == [
        ("mask", [HERON]),
        ("mask", [HERON, OWL]),
        ("mask", [OWL]),
        ("keep", []),
    ]
    assert second.conservation.by_decision == {"keep": 2, "mask": 2}
    assert verify_run(str(tmp_path / "second")) == []


def test_a_run_that_cannot_mask_keeps_the_masks(tmp_path, corpus, filter_rows):
    """A policy that only quarantines keeps earlier masks, and held rows have reasons."""
    filter_rows(corpus.parent, "first", "heron")
    filter_rows(tmp_path / "first" / "clean", "second", "owl", "quarantine")
    assert read_clean(tmp_path / "second") == [("mask", [HERON]), ("keep", [])]
    [path] = [
        path for path in Path(tmp_path, "second", "quarantine").rglob("*.*") if path.is_file()
    ]
    rows = (
        pq.read_table(path).to_pylist()
        if path.suffix == ".parquet"
        else [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    )
    assert [row["congener"]["reasons"][0]["trait"] for row in rows] == ["owl", "owl"]
    assert verify_run(str(tmp_path / "second")) == []


def test_a_copy_of_clean_rows_is_recognised(tmp_path, corpus, filter_rows):
    """Copied rows are recognised by their notes, and the manifest counts whose masks they are."""
    first = filter_rows(corpus.parent, "first", "heron")
    assert first.notes == NoteCounts(masked=2)
    copytree(tmp_path / "first" / "clean", tmp_path / "copied")
    second = filter_rows(tmp_path / "copied", "second", "owl")
    assert second.parents == ()
    assert second.notes == NoteCounts(masked=3, masked_before=1)
    [said] = [note.text for note in second.list_notices() if "clean rows of an earl" in note.text]
    assert said.endswith("their field `congener` shows it, but not which run it was")


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_masks_survive_the_other_form(tmp_path, corpus, filter_rows, form):
    """Masks are merged even if the second run writes another format."""
    filter_rows(corpus.parent, "first", "heron")
    filter_rows(tmp_path / "first" / "clean", "second", "owl", output_format=form)
    assert read_clean(tmp_path / "second")[1] == ("mask", [HERON, OWL])


def test_another_column_of_that_name_is_refused(tmp_path, corpus, filter_rows):
    """Another `congener` column is refused before any work."""
    filter_rows(corpus.parent, "first", "heron", "quarantine")
    copy = shutil.copytree(tmp_path / "first" / "quarantine", tmp_path / "copy")
    with pytest.raises(InputError, match="already has a column 'congener'") as caught:
        filter_rows(copy, "second", "owl")
    assert caught.value.where
    assert not Path(tmp_path, "second").exists()


def test_only_a_run_that_lists_the_file_is_a_parent(tmp_path):
    """A run is a parent only if its manifest lists the file with its digest."""
    listed = {"path": "clean/a.jsonl", "sha256": "1"}
    manifests = {
        "run": json.dumps({"run_id": "abc", "outputs": [listed]}),
        "altered": json.dumps({"run_id": "def", "outputs": [{**listed, "sha256": "2"}]}),
        "other": "[1]",
        "damaged": "{",
    }
    for name, text in manifests.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(text)
    sources = [
        Source("a.jsonl", f"{tmp_path}/{name}/clean/a.jsonl", "jsonl", "none", 1, "1", 1, ())
        for name in (*manifests, "none")
    ]
    found = find_parents(sources)
    assert found == {f"{tmp_path}/run": "abc"}
    corpus, sample = SimpleNamespace(schema=pa.schema([])), Sample((), 4)
    [notice] = describe_parents(found, corpus, sample)
    assert "(abc)" in notice.text
    assert list(describe_parents({}, corpus, sample)) == []


def test_a_parent_is_found_however_its_path_is_written(tmp_path, monkeypatch):
    """A relative path from within the run, and a folder `clean` in the input, name the parent."""
    run = tmp_path / "clean" / "run"
    listed = {"path": "clean/clean/a.jsonl", "sha256": "1"}
    (run / "clean" / "clean").mkdir(parents=True)
    (run / "manifest.json").write_text(json.dumps({"run_id": "abc", "outputs": [listed]}))
    monkeypatch.chdir(run)
    for uri in (f"{run}/clean/clean/a.jsonl", "clean/clean/a.jsonl", "./clean/clean/a.jsonl"):
        source = Source("clean/a.jsonl", uri, "jsonl", "none", 1, "1", 1, ())
        assert find_parents([source]) == {str(run): "abc"}
