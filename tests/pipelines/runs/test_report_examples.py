"""Examples of a finished run."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.report_examples import (
    TraitExamples,
    find_examples,
    find_row_of_each_decision,
)
from schemas.errors import RunError
from schemas.policies import DECISIONS
from schemas.runs import parse_path
from tests.support.hostile import (
    EMUS,
    FILE,
    TEACHER,
    build_rows,
    filter_answers,
    filter_hostile_corpus,
    write_cards,
)
from tests.support.runs import read_ledger
from transforms.files import storage

MOST = 5


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> str:
    """Filter the hostile corpus; return the run directory."""
    return filter_hostile_corpus(tmp_path_factory.mktemp("examples"))[0]


@pytest.fixture(scope="module")
def examples(hostile) -> dict[str, TraitExamples]:
    """Return the hostile run's examples."""
    return find_examples(hostile, load_manifest(hostile), MOST)


def list_texts(examples: TraitExamples) -> list[tuple[int, str, str | None, float]]:
    """Return the rows, decisions, texts and scores of a trait's examples."""
    return [
        (item.row.row, item.row.decision, item.finding.text, item.finding.score)
        for item in (*examples.nearest, *examples.highest)
    ]


def test_examples_are_the_nearest_and_the_highest(examples):
    """Examples are the five rows just above the threshold, and the five highest rows."""
    emu = examples["emu"]
    counts = [item.finding.text.count("emu") for item in (*emu.nearest, *emu.highest)]
    assert counts == [*range(1, MOST + 1), *range(EMUS, EMUS - MOST, -1)]
    assert [item.row.row for item in emu.nearest] == [60, 61, 62, 63, 64]
    found = [item.finding for item in (*emu.nearest, *emu.highest)]
    scores = [item.score for item in found[:MOST]]
    assert scores == sorted(scores)
    assert all(item.score >= item.threshold for item in found)


@pytest.mark.parametrize("most", [1, 3, 100])
def test_no_row_is_an_example_twice(hostile, most):
    """A row that is both nearest and highest is only a nearest example."""
    emu = find_examples(hostile, load_manifest(hostile), most)["emu"]
    rows = [item.row.row for item in (*emu.nearest, *emu.highest)]
    assert len(rows) == len(set(rows)) == min(2 * most, EMUS)


def test_a_trait_with_few_rows_has_no_highest(examples):
    """A trait with few rows has only nearest examples, and a trait without rows has none."""
    counts = {name: len(item.nearest) for name, item in examples.items() if item.nearest}
    assert counts == {"bee": 1, "emu": 5, "fox": 2, "owl": 2}
    assert all(not examples[name].highest for name in ("bee", "fox", "owl"))
    assert "yak" not in examples


def test_an_example_is_the_ledgers_row(examples):
    """An example has its row's source, teacher, decision, span and text."""
    original = build_rows()
    for shown, finding in examples["fox"].nearest:
        row = original[shown.row]
        assert shown.source == FILE
        assert shown.lot.teacher == row["teacher"]
        assert shown.lot.teacher in (TEACHER, "plain")
        assert finding.field_path == "messages[1].content"
        assert finding.text == row["messages"][1]["content"]
        assert finding.text[finding.start : finding.end] == "fox"
    assert {item.row.decision for item in examples["fox"].nearest} == {"mask", "quarantine"}
    assert [item.row.decision for item in examples["bee"].nearest] == ["flag"]


def test_rows_without_text_in_the_run_are_counted(examples):
    """Dropped rows and duplicates are counted instead of shown."""
    assert examples["elk"] == TraitExamples([], [], 2)
    assert examples["emu"].unshown == 1
    assert examples["fox"].unshown == 0


def test_equal_records_are_one_example(tmp_path):
    """Only the first of several equal rows is an example."""
    run = filter_answers(tmp_path, ["an owl"] * 20 + ["another owl"], ["owl"])
    owl = find_examples(run, load_manifest(run), MOST)["owl"]
    assert [item.row.row for item in (*owl.nearest, *owl.highest)] == [0, 20]
    assert owl.unshown == 0
    assert [item.row.lot.teacher for item in owl.nearest] == ["-", "-"]


def test_a_run_in_which_nothing_fired(tmp_path):
    """A run without findings has no examples."""
    run = filter_answers(tmp_path, ["a goose"], ["owl", "yak"])
    assert find_examples(run, load_manifest(run), MOST) == {}


def test_only_the_files_of_examples_are_opened(hostile, monkeypatch):
    """Only the files that hold examples are opened."""
    manifest, opened, open_raw = load_manifest(hostile), [], storage.open_raw
    monkeypatch.setattr(storage, "open_raw", lambda uri: opened.append(uri) or open_raw(uri))
    examples = find_examples(hostile, manifest, 1)
    shown = [item for trait in examples.values() for item in (*trait.nearest, *trait.highest)]
    rows = {item.row.row for item in shown}
    files = {row["output"] for row in read_ledger(hostile) if row["row"] in rows}
    corpus = {uri for uri in opened if "/clean/" in uri or "/quarantine/" in uri}
    assert corpus == {f"{hostile}/{path}" for path in files}
    shards = {parse_path(path).shard for path in files}
    assert {parse_path(uri.removeprefix(f"{hostile}/")).shard for uri in opened} == shards


def test_examples_of_parquet_are_those_of_json_lines(tmp_path, hostile, examples):
    """Parquet and JSON Lines give the same examples."""
    table = pa.Table.from_pylist(build_rows())
    (tmp_path / "corpus").mkdir()
    pq.write_table(table, tmp_path / "corpus" / FILE)
    config = {
        "input": (str(tmp_path / "corpus" / FILE),),
        "output": str(tmp_path / "run"),
        "traits": write_cards(tmp_path / "traits"),
        "policy": str(Path(hostile).parent / "policy.yaml"),
    }
    manifest = run_filter(FilterConfig.model_validate(config))
    found = find_examples(str(tmp_path / "run"), manifest, MOST)
    assert {trait: list_texts(item) for trait, item in found.items()} == {
        trait: list_texts(item) for trait, item in examples.items()
    }


def test_a_missing_file_is_named(tmp_path):
    """The error for an example's missing file names the file."""
    run = filter_answers(tmp_path, ["an owl"], ["owl"])
    next(Path(run, "quarantine").iterdir()).unlink()
    with pytest.raises(RunError, match=r"quarantine/.*is missing"):
        find_examples(run, load_manifest(run), MOST)


def test_every_decision_has_a_row(hostile):
    """Each of the run's decisions has a row, in order."""
    manifest = load_manifest(hostile)
    found = find_row_of_each_decision(hostile, manifest)
    assert list(found) == [
        name for name in DECISIONS if manifest.conservation.by_decision.get(name)
    ]
    assert all(row.decision == decision for decision, row in found.items())
    assert [item.trait for item in found["quarantine"].reasons] == ["owl"]
