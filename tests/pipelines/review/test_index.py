"""The index: facts about every row, the texts for search, and the files that hold both."""

import shutil
import stat

import numpy as np
import polars as pl
import pytest

from pipelines.review.index import (
    choose_folder,
    count_values,
    name_fired,
    name_score,
    open_facts,
    open_texts,
    sweep_old,
)
from pipelines.review.private_files import make_private
from pipelines.runs.finished import scan_folder
from pipelines.runs.manifest_file import load_manifest
from schemas.errors import RunError, StorageError
from tests.support.runs import read_ledger


@pytest.fixture
def opened(answers, tmp_path):
    """Return the run, its manifest, the folder of its index, and its facts."""
    manifest = load_manifest(str(answers))
    folder = choose_folder(tmp_path / "review", manifest)
    return str(answers), manifest, folder, open_facts(str(answers), manifest, folder)


def test_facts_are_those_of_the_ledger(opened):
    """Every row has its names, its lot and its decision, in the order of the ledger."""
    run, _, _, facts = opened
    ledger = read_ledger(run)
    rows = facts.collect().to_dicts()
    assert len(rows) == len(ledger) == 24
    for row, own in zip(rows, ledger, strict=True):
        for name in ("record_id", "source", "row", "teacher", "decision", "output", "output_row"):
            assert row[name] == own[name]
        assert row["date"] == "-", "an unknown field of the lot has a name"
        for trait in ("heron", "owl"):
            fired = trait in [reason["trait"] for reason in own["reasons"]]
            assert row[name_fired(trait)] is fired


def test_scores_and_margins_are_those_of_the_run(opened):
    """A score is the one in scores/, and the margin is that of the trait furthest above."""
    run, manifest, _, facts = opened
    table = facts.collect()
    scores = scan_folder(run, manifest, "scores").collect()
    for trait in ("heron", "owl"):
        assert table[name_score(trait)].to_list() == pytest.approx(scores[trait].to_list())
    best = np.maximum(scores["heron"].to_numpy(), scores["owl"].to_numpy())
    margin = table["margin"].to_numpy()
    assert margin[best > 0] == pytest.approx(best[best > 0] - 0.5, abs=1e-6)
    assert np.isnan(margin[best == 0]).all(), "no trait scored"


def test_a_second_opening_reads_the_file(opened):
    """The index is built once for a run, and another manifest has another folder."""
    run, manifest, folder, _ = opened
    path = folder / "facts.arrow"
    before = path.stat().st_mtime_ns
    assert open_facts(run, manifest, folder).collect().height == 24
    assert path.stat().st_mtime_ns == before
    other = manifest.model_copy(update={"digest": "f" * 64})
    assert choose_folder(folder.parent, other) != folder


def test_texts_are_read_once_and_told(opened):
    """Each shard's texts get a file, the listener hears of each, and equal prompts share a key."""
    run, manifest, folder, facts = opened
    heard = []
    texts = open_texts(run, manifest, folder, facts, lambda done, of: heard.append((done, of)))
    assert heard == [(0, 6), (1, 6), (2, 6), (3, 6), (4, 6), (5, 6), (6, 6)]
    found = texts.text.collect()["text"].to_list()
    assert found[1].startswith("what  did you see on day 1?\na heron by the river")
    same = [np.flatnonzero(texts.prompt == key).tolist() for key in texts.prompt[:12]]
    assert same == [[number, number + 12] for number in range(12)]
    heard.clear()
    open_texts(run, manifest, folder, facts, lambda done, of: heard.append((done, of)))
    assert heard == [(6, 6)]


def test_an_interrupted_pass_continues(opened):
    """Shards whose texts are there aren't read again."""
    run, manifest, folder, facts = opened
    open_texts(run, manifest, folder, facts)
    (folder / "texts" / "000003.arrow").unlink()
    heard = []
    texts = open_texts(run, manifest, folder, facts, lambda done, _: heard.append(done))
    assert heard == [3, 6]
    assert texts.text.collect().height == 24


def test_words_are_listed_for_several_shards_at_once(opened, monkeypatch):
    """Small shards share a list of words, and larger ones have one each, with the same answers."""
    run, manifest, folder, facts = opened
    texts = open_texts(run, manifest, folder, facts)
    found = texts.search.find("day 1")
    assert found.tolist() == ["day 1" in text for text in texts.text.collect()["text"]]
    assert len([*(folder / "words").glob("??????.arrow")]) == 1
    shutil.rmtree(folder / "words")
    monkeypatch.setattr("pipelines.review.index.BLOCK_BYTES", 1)
    again = open_texts(run, manifest, folder, facts)
    assert len([*(folder / "words").glob("??????.arrow")]) == 6
    assert again.search.find("day 1").tolist() == found.tolist()
    assert again.search.find("heron").tolist() == texts.search.find("heron").tolist()


def test_rows_that_are_not_stored_have_no_text(opened):
    """A row without an output has neither text nor prompt."""
    run, manifest, folder, facts = opened
    gone = facts.with_columns(output=pl.lit(None, pl.Categorical))
    texts = open_texts(run, manifest, folder, gone)
    assert texts.text.collect()["text"].null_count() == 24
    assert not texts.prompt.any()


def test_a_withdrawn_run_has_no_texts(opened):
    """A run that a budget stopped holds no rows, so its texts are null, not an error."""
    run, manifest, folder, facts = opened
    stopped = manifest.model_copy(update={"withdrawn": "over its budget"})
    texts = open_texts(run, stopped, folder, facts)
    assert texts.text.collect()["text"].null_count() == 24


def test_rejects_have_no_text(opened, monkeypatch):
    """The bytes of a reject aren't a text to search."""
    run, manifest, folder, facts = opened
    named = facts.with_columns(output=pl.lit("rejects/part-000000.parquet").cast(pl.Categorical))
    texts = open_texts(run, manifest, folder, named)
    assert texts.text.collect()["text"].null_count() == 24


def test_files_are_private_and_whole(opened):
    """Only the owner may read a copy of the texts, and no draft is left."""
    run, manifest, folder, facts = opened
    open_texts(run, manifest, folder, facts)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".arrow"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_old_indexes_are_removed(opened):
    """Only the indexes of other runs are removed, and labels stay."""
    folder = opened[2]
    other, labels = folder.with_name("index-0-abc"), folder.with_name("labels-ada.jsonl")
    make_private(other / "texts")
    labels.write_text("")
    sweep_old(folder.parent, folder)
    assert (other.exists(), labels.exists(), folder.exists()) == (False, True, True)


def test_values_are_counted(opened):
    """The values of a column come with their rows, the most frequent first."""
    counted = count_values(opened[3], ["teacher", "decision", "date"])
    assert counted["teacher"] == {"atlas": 12, "borealis": 12}
    assert counted["decision"] == {"quarantine": 12, "flag": 6, "keep": 6}
    assert counted["date"] == {"-": 24}


def test_a_run_without_rows_and_a_bad_folder(opened, no_rows, tmp_path):
    """An empty run has nothing to review, and a folder that can't be made is named."""
    run, manifest, _, _ = opened
    with pytest.raises(RunError, match="no rows to review"):
        open_facts(run, no_rows, tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="--folder"):
        open_facts(run, manifest, tmp_path / "file" / "index")


def test_a_damaged_ledger_is_named(opened, answers, tmp_path):
    """A ledger file that isn't Parquet gives an error that names the run."""
    run, manifest, _, _ = opened
    path = next((answers / "ledger").iterdir())
    path.write_bytes(b"not Parquet")
    with pytest.raises(RunError, match="congener verify"):
        open_facts(run, manifest, tmp_path / "other")
