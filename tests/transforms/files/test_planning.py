"""Cutting surveyed files into shards."""

import shutil
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.corpora import ShardLimits
from schemas.runs import SHARD_NAME, count_joined_files
from transforms.files import planning
from transforms.files.planning import ShardPlan, plan_shards
from transforms.files.sources import Cut, Source, survey

WIDE = ShardLimits(apart=0)
"""Limits with which small files share shards, however few they are."""


def limits(rows=5_000, bytes_=32 << 20, apart=0):
    """Return shard limits, possibly below a configuration's minimum."""
    return ShardLimits.model_construct(rows=rows, bytes=bytes_, apart=apart)


def source_of(name, cuts, kind="jsonl", compression="none", digest="d"):
    """Return a source with these cuts."""
    return Source(name, name, kind, compression, cuts[-1].byte, digest, cuts[-1].row, tuple(cuts))


def small(name, rows, size=100, **more):
    """Return a source of one piece."""
    return source_of(name, [Cut(0, 0, 0), Cut(rows, size, 1)], **more)


def shapes_of(tasks):
    """Return each piece's source and rows, nested by task and shard."""
    return [
        [[(piece.source, piece.begin.row, piece.end.row) for piece in plan.pieces] for plan in task]
        for task in tasks
    ]


def test_small_files_share_a_shard():
    """Small files are put whole into a shard, in order, up to its limits."""
    found = plan_shards(
        [small("a", 4), small("b", 4), small("c", 4), small("d", 1)], limits(rows=8)
    )
    assert shapes_of(found) == [[[("a", 0, 4), ("b", 0, 4)]], [[("c", 0, 4), ("d", 0, 1)]]]
    found = plan_shards(
        [small("a", 1, 100), small("b", 1, 100), small("c", 1, 100)], limits(bytes_=200)
    )
    assert shapes_of(found) == [[[("a", 0, 1), ("b", 0, 1)]], [[("c", 0, 1)]]]


def test_files_of_a_small_corpus_share_no_shard():
    """Up to `apart` files with rows have shards of their own; one file more, and they share."""
    three = [small("a", 1), small("b", 1), small("c", 1)]
    empty = Source("e", "e", "parquet", "none", 1, "d", 0, (Cut(0, 0, 0),))
    apart = [[[("a", 0, 1)]], [[("b", 0, 1)]], [[("c", 0, 1)]]]
    assert shapes_of(plan_shards([*three, empty], limits(apart=3))) == apart
    assert shapes_of(plan_shards(iter(three), ShardLimits())) == apart
    ((shared,),) = plan_shards(three, limits(apart=2))
    assert [piece.source for piece in shared.pieces] == ["a", "b", "c"]


def test_many_thousand_small_files_share_few_shards():
    """Tiny files of a large corpus become few shards, whose names say how many files they hold."""
    tasks = plan_shards([small(f"{number:05d}", 1) for number in range(12_000)], ShardLimits())
    names = [plan.name for task in tasks for plan in task]
    assert [count_joined_files(name) for name in names] == [5_000, 5_000, 2_000]
    assert [SHARD_NAME.fullmatch(name)["files"] for name in names] == ["5000", "5000", "2000"]
    assert names == sorted(names)


def test_a_shard_of_one_file_does_not_count_its_files():
    """Only the name of a shard with several files has their number."""
    one, joined = (
        plan_shards([small(name, 1) for name in names], limits())[0][0].name
        for names in (("a",), ("a", "b"))
    )
    assert count_joined_files(one) == 1
    assert "files" not in one
    assert joined.startswith("part-000000-2-files-")


def test_files_of_different_splits_in_the_card_share_no_shard():
    """Files with different splits in the card share no shard."""
    train, held = (("default", "train"),), (("default", "held"),)
    sources = [
        replace(small(name, 1), splits=splits)
        for name, splits in (("a", train), ("b", train), ("c", held), ("d", ()))
    ]
    found = plan_shards(sources, WIDE)
    assert shapes_of(found) == [
        [[("a", 0, 1), ("b", 0, 1)]],
        [[("c", 0, 1)]],
        [[("d", 0, 1)]],
    ]
    assert found[0][0].pieces[0].splits == train


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("a.jsonl", "b.jsonl", True),
        ("x/a.jsonl", "x/b.jsonl", True),
        ("train-1.jsonl", "train-2.jsonl", True),
        ("training.jsonl", "train.jsonl", True),
        ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", True),
        ("x/a.jsonl", "y/a.jsonl", False),
        ("a.jsonl", "x/a.jsonl", False),
        ("d//a.jsonl", "d/a.jsonl", False),
        ("test.jsonl", "train.jsonl", False),
        ("train.jsonl", "train-dev.jsonl", False),
        ("a.jsonl", "a-test.jsonl", False),
        ("teacher=a/x.jsonl", "teacher=b/x.jsonl", False),
        ("data/train_sft-00000-of-00001.parquet", "data/train_gen-00000-of-00001.parquet", False),
    ],
)
def test_only_files_of_one_folder_and_split_share_a_shard(one, other, shared):
    """Small files share a shard only within a folder, split and partition."""
    tasks = plan_shards([small(one, 1), small(other, 1)], WIDE)
    assert [len(plan.pieces) for task in tasks for plan in task] == ([2] if shared else [1, 1])


def test_a_plan_knows_the_stem_of_its_rows():
    """A shard has its sources' stem, split and partitions."""
    tasks = plan_shards(
        [small("teacher=a/test-1.jsonl", 1), small("teacher=a/test-2.jsonl", 1)], WIDE
    )
    ((plan,),) = tasks
    assert plan.stem == "teacher=a/test-1"
    assert plan.splits == ("test",)
    assert plan.folder_columns == {"teacher": "a"}
    empty = ShardPlan("part-0", ())
    assert (empty.stem, empty.splits, empty.folder_columns) == ("", (None,), {})


def test_a_large_file_shares_no_shard():
    """A file of several shards shares no shard."""
    large = source_of("b", [Cut(0, 0, 0), Cut(5, 50, 0), Cut(7, 70, 0)])
    found = plan_shards([small("a", 1), large, small("c", 1)], limits(rows=5))
    assert shapes_of(found) == [[[("a", 0, 1)]], [[("b", 0, 5)]], [[("b", 5, 7)]], [[("c", 0, 1)]]]


def test_compressed_lines_are_one_sweep():
    """A compressed file's shards are one task."""
    cuts = [Cut(0, 0, 0), Cut(5, 50, 0), Cut(9, 90, 0)]
    assert shapes_of(plan_shards([source_of("a", cuts, compression="gzip")], limits(rows=5))) == [
        [[("a", 0, 5)], [("a", 5, 9)]]
    ]


def test_a_large_row_group_is_one_sweep():
    """A large row group's shards are one task."""
    cuts = [
        Cut(0, 0, 0),
        Cut(5, 5, 1),
        Cut(10, 10, 1),
        Cut(15, 15, 1),
        Cut(18, 18, 2),
        Cut(20, 20, 3),
    ]
    found = shapes_of(plan_shards([source_of("a", cuts, kind="parquet")], limits(rows=5)))
    assert [item for task in found for item in task] == [
        [("a", 0, 5)],
        [("a", 5, 10)],
        [("a", 10, 15)],
        [("a", 15, 18)],
        [("a", 18, 20)],
    ]
    sweep = next(task for task in found if [("a", 10, 15)] in task)
    assert [("a", 5, 10)] in sweep
    assert [("a", 15, 18)] in sweep
    assert [[("a", 18, 20)]] in found


def test_a_source_without_rows_has_no_shard():
    """An empty Parquet file has no shard."""
    empty = Source("e", "e", "parquet", "none", 1, "d", 0, (Cut(0, 0, 0),))
    assert shapes_of(plan_shards([small("a", 1), empty, small("b", 1)], WIDE)) == [
        [[("a", 0, 1), ("b", 0, 1)]]
    ]
    assert plan_shards([empty], WIDE) == []


def test_names_have_number_and_digest():
    """A shard's name holds its number and a digest of its cuts and files."""
    first, second = (
        task[0] for task in plan_shards([small("a", 9), small("b", 9)], limits(rows=9))
    )
    assert first.name.startswith("part-000000-")
    assert second.name.startswith("part-000001-")
    assert first.rows == 9
    others = [
        plan_shards([small("a", 9, digest="e")], WIDE),
        plan_shards([small("z", 9)], WIDE),
        plan_shards([source_of("a", [Cut(0, 0, 0), Cut(5, 50, 0), Cut(9, 90, 0)])], limits(rows=5)),
    ]
    names = {first.name, *(tasks[0][0].name for tasks in others)}
    assert len(names) == 4


def test_names_of_a_large_corpus_sort_in_its_order(monkeypatch):
    """All shard numbers have the same number of digits."""
    monkeypatch.setattr(planning, "NUMBER_DIGITS", 1)
    for count, digits in ((10, 1), (11, 2), (101, 3)):
        cuts = [Cut(row, row, row) for row in range(count + 1)]
        tasks = plan_shards([source_of("a", cuts)], limits(rows=1))
        names = [plan.name for task in tasks for plan in task]
        assert names == sorted(names)
        assert {len(name.split("-")[1]) for name in names} == {digits}


def test_the_plan_does_not_depend_on_the_folder(tmp_path, json_lines):
    """The plan doesn't change when the corpus is moved."""
    folder = tmp_path / "one"
    json_lines(folder / "a.jsonl", [{"text": f"row {number}"} for number in range(30)])
    json_lines(folder / "deep" / "b.jsonl.gz", [{"text": f"row {number}"} for number in range(30)])
    small_shards = limits(rows=7)

    def plan(path):
        tasks = plan_shards(survey([str(path)], small_shards).sources, small_shards)
        return [[(shard.name, shard.rows) for shard in task] for task in tasks]

    planned = plan(folder)
    assert planned == plan(folder)
    assert len({name for task in planned for name, _ in task}) == 10
    shutil.move(folder, tmp_path / "two")
    assert plan(tmp_path / "two") == planned


@given(
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=5), max_size=8),
    st.sampled_from(["none", "gzip"]),
    st.integers(9, 20),
)
def test_plans_hold_every_row_once_in_order(files, compression, rows):
    """The pieces of all shards cover the corpus exactly once."""
    made = []
    for number, counts in enumerate(files):
        cuts = [Cut(sum(counts[:end]), 10 * sum(counts[:end]), 0) for end in range(len(counts) + 1)]
        made.append(source_of(f"{number}", cuts, compression=compression))
    tasks = plan_shards(made, limits(rows))
    pieces = [piece for task in tasks for plan in task for piece in plan.pieces]
    found = [
        (piece.source, row) for piece in pieces for row in range(piece.begin.row, piece.end.row)
    ]
    assert found == [(source.name, row) for source in made for row in range(source.rows)]
    plans = [plan for task in tasks for plan in task]
    assert [plan.name for plan in plans] == sorted(plan.name for plan in plans)
    assert all(plan.rows <= rows for plan in plans)
