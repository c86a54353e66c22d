"""`datasets` loads `clean/` with the same splits, features and rows as the input."""

import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.verify import verify_run
from schemas.corpora import ShardLimits
from tests.support.corpora import CARD, build_conversation, write_rows

HUB = (
    "data/train-00000-of-00002.parquet",
    "data/train-00001-of-00002.parquet",
    "data/test-00000-of-00001.parquet",
    "data/train_sft-00000-of-00001.parquet",
)
LAYOUTS = {
    "hub": HUB,
    "folders": ("train/b.jsonl", "train/a.jsonl.gz", "valid/a.jsonl", "test-set/deep/a.jsonl"),
    "files": ("x_train.jsonl", "train.jsonl", "dev.json", "my-eval.ndjson", "train-2.jsonl"),
    "numbered": ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "val.parquet"),
    "partitions": ("teacher=a%2Fb/part-0.parquet", "teacher=c/part-0.parquet"),
    "plain": ("a.b.parquet", "a.parquet", "a-b.parquet", "a/c.parquet"),
    "one": ("test/a.jsonl",),
}


def write_file(path: Path, rows: list[dict[str, object]]) -> None:
    """Write rows in the format and compression of a file's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        table = pa.Table.from_pylist(rows)
        kinds = table.column("teacher").combine_chunks().dictionary_encode()
        pq.write_table(table.append_column("kind", kinds), path)
    elif path.suffix == ".gz":
        lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path.write_bytes(pa.compress(lines, codec="gzip", asbytes=True))
    else:
        write_rows(path, rows)


def load(path: Path, cache: Path) -> datasets.DatasetDict:
    """Load a folder by its path alone."""
    return datasets.load_dataset(str(path), cache_dir=str(cache))


@pytest.fixture
def settings(card_folder, tmp_path) -> FilterConfig:
    """Configure a run that keeps every row, with shards of three rows."""
    return FilterConfig(
        input=(str(tmp_path / "in"),),
        output=str(tmp_path / "run"),
        traits=(str(card_folder("heron", CARD)),),
        shards=ShardLimits(rows=3),
    )


CARDS = {
    "splits of files": [{"split": "train", "path": "a.jsonl"}, {"split": "held", "path": "b*"}],
    "several globs": [
        {"split": "one", "path": ["a.jsonl", "c/*.jsonl"]},
        {"split": "two", "path": "**/b.jsonl"},
    ],
}


@pytest.mark.parametrize("files", CARDS.values(), ids=CARDS)
def test_clean_has_the_splits_of_the_dataset_card(tmp_path, settings, files):
    """Clean rows keep the splits of a dataset card, even after a second filtering."""
    card = yaml.safe_dump({"configs": [{"config_name": "default", "data_files": files}]})
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "README.md").write_text(f"---\n{card}---\n# Herons\n")
    for number, name in enumerate(("a.jsonl", "b.jsonl", "c/d.jsonl", "c/e.jsonl")):
        write_file(tmp_path / "in" / name, [build_conversation(number, f"Answer {number}.")])
    run_filter(settings)
    assert verify_run(settings.output) == []
    again = settings.model_copy(
        update={"input": (f"{settings.output}/clean",), "output": str(tmp_path / "again")}
    )
    run_filter(again)
    before, after, twice = (
        load(folder, tmp_path / "cache")
        for folder in (tmp_path / "in", tmp_path / "run" / "clean", tmp_path / "again" / "clean")
    )
    assert set(after) == set(twice) == set(before)
    for name, split in before.items():
        assert after[name].to_list() == twice[name].to_list() == split.to_list()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_clean_is_loaded_like_the_input(tmp_path, settings, layout):
    """Clean files load with the input's splits, features and rows."""
    for number, name in enumerate(LAYOUTS[layout]):
        rows = [build_conversation(number * 10 + row, f"Answer {row}.") for row in range(5)]
        write_file(tmp_path / "in" / name, rows[: 5 if number % 2 else 1])
    run_filter(settings)
    assert verify_run(settings.output) == []
    before, after = (
        load(folder, tmp_path / "cache") for folder in (tmp_path / "in", tmp_path / "run" / "clean")
    )
    assert {name: split.features for name, split in after.items()} == {
        name: split.features for name, split in before.items()
    }
    for name, split in before.items():
        assert after[name].to_list() == split.to_list()


def test_files_that_differ_without_harm_are_loaded_as_one(tmp_path, settings):
    """All clean files have the same schema and unchanged values."""
    rows = [build_conversation(number, "An answer.") for number in range(2)]
    table = pa.Table.from_pylist(rows)
    turn = pa.struct([("content", pa.large_string()), ("role", pa.string())])
    fields = [("messages", pa.large_list(turn)), ("id", pa.string()), ("n", pa.int8())]
    other = pa.Table.from_pylist([{**row, "n": 1} for row in rows], pa.schema(fields))
    for name, part in {"train-0": table, "train-1": other, "test-0": other}.items():
        path = tmp_path / "in" / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(part, path)
    run_filter(settings)
    assert verify_run(settings.output) == []
    clean = tmp_path / "run" / "clean"
    assert len({str(pq.read_schema(path)) for path in clean.iterdir()}) == 1
    loaded = load(clean, tmp_path / "cache")
    expected = [{**row, "n": None} for row in rows]
    added = [{**row, "n": 1, "teacher": None} for row in rows]
    assert loaded["train"].to_list() == [*expected, *added]
    assert loaded["test"].to_list() == added


def test_a_run_over_clean_keeps_the_names(tmp_path, settings):
    """Filtering a run's output again gives the same file names except for digests."""
    for name in HUB:
        write_file(tmp_path / "in" / name, [build_conversation(0, "An answer.")] * 5)
    run_filter(settings)
    again = settings.model_copy(
        update={"input": (f"{settings.output}/clean",), "output": str(tmp_path / "again")}
    )
    run_filter(again)
    assert list_names(again.output) == list_names(settings.output)


def list_names(run: str) -> list[str]:
    """Return the clean files' names without digests."""
    paths = sorted(Path(run, "clean").rglob("*.parquet"))
    return [path.relative_to(run).as_posix().rpartition("-")[0] for path in paths]


FLAGGING = "traits: {heron: {action: flag}}\n"


def write_folders(folder: Path, suffix: str = ".jsonl", **odd: object) -> list[dict[str, object]]:
    """Write three teachers' folders with two splits; only rows of the last have a finding."""
    every = []
    for number, teacher in enumerate(("ash", "elm", "oak")):
        for split, answer in (("train", "A heron."), ("validation", "Fine.")):
            rows = [build_conversation(10 * number + row, "An answer.") for row in range(4)]
            if teacher == "oak":
                rows += [{**build_conversation(number, answer), **odd}]
            write_file(folder / teacher / f"{split}{suffix}", rows)
            every += rows
    return every


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".parquet"])
def test_rows_are_loaded_if_only_the_last_files_have_notes(tmp_path, settings, suffix):
    """Clean rows load by their folder alone, whichever rows have the field `congener`."""
    rows = write_folders(tmp_path / "in", suffix)
    policy = write_text(tmp_path / "policy.yaml", FLAGGING)
    run_filter(settings.model_copy(update={"policy": policy}))
    assert verify_run(settings.output) == []
    loaded = load(Path(settings.output, "clean"), tmp_path / "cache")
    assert set(loaded) == {"train", "validation"}
    found = [row for split in loaded.values() for row in split.to_list()]
    notes = [row.pop("congener") for row in found]
    assert [note["decision"] for note in notes if note and note["decision"] != "keep"] == ["flag"]
    kinds = [row.pop("kind") for row in found] if suffix == ".parquet" else None
    assert kinds is None or kinds == [row["teacher"] for row in found]
    assert sorted(map(json.dumps, found)) == sorted(map(json.dumps, rows))


def test_a_second_filter_does_not_read_the_card_as_data(tmp_path, settings):
    """The card of `clean/` is no file of rows, and the next run declares its own columns."""
    rows = write_folders(tmp_path / "in", tools=[{"a": 1}, {"b": "x"}])
    policy = write_text(tmp_path / "policy.yaml", FLAGGING)
    first = settings.model_copy(update={"policy": policy})
    run_filter(first)
    again = {"input": (f"{first.output}/clean",), "output": str(tmp_path / "again")}
    manifest = run_filter(first.model_copy(update=again))
    assert manifest.conservation.rows_in == len(rows)
    before, after = (
        load(Path(folder, "clean"), tmp_path / "cache")
        for folder in (first.output, again["output"])
    )
    for name, split in before.items():
        assert after[name].to_list() == split.to_list()
    (odd,) = [row for row in before["train"] if row["tools"]]
    assert odd["tools"] == [{"a": 1}, {"b": "x"}]


def test_a_run_without_notes_has_no_card(tmp_path, settings):
    """Where no row has the field, the folder is as it was before."""
    write_folders(tmp_path / "in")
    run_filter(settings)
    assert not Path(settings.output, "clean", "README.md").exists()


def write_text(path: Path, text: str) -> str:
    """Write a file and return its path."""
    path.write_text(text)
    return str(path)
