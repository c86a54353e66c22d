"""Histories: what is read back, what is refused, and that nothing is replaced."""

import json
from pathlib import Path

import pytest

from pipelines.monitoring.history import (
    Generation,
    add_generation,
    find_same,
    read_history,
    require_history,
    write_results,
)
from schemas.errors import RunError
from schemas.histories import PAGE
from tests.support.generations import count_generation

INVENTORY = count_generation(1, 10)


def write_history(folder: Path, count: int = 2) -> list[Generation]:
    """Write a history of some generations, and return them as they are read."""
    for number in range(1, count + 1):
        earlier = read_history(str(folder))
        made = Generation(number, f"gen{number}", 400, f"digest{number}", INVENTORY, "")
        previous = earlier[-1].record if earlier else None
        add_generation(str(folder), made, previous, {"name": made.name, "changes": []})
    return read_history(str(folder))


def test_generations_are_read_back(tmp_path):
    """Names, numbers and counts are those that were written, in order."""
    found = write_history(tmp_path, 3)
    assert [item.name for item in found] == ["gen1", "gen2", "gen3"]
    assert [item.number for item in found] == [1, 2, 3]
    assert found[2].previous == found[1].record
    assert found[0].inventory.table.equals(INVENTORY.table)
    assert found[0].inventory.totals == INVENTORY.totals


def test_counts_by_teacher_are_read_back(tmp_path):
    """Several teachers have a file, whose changes are noticed; a single one has all counts."""
    parts = {"atlas": INVENTORY, "borealis": count_generation(2)}
    made = Generation(
        1, "gen1", 400, "digest", INVENTORY, "", None, {"atlas": 9, "borealis": 9}, parts
    )
    add_generation(str(tmp_path / "two"), made, None, {"name": "gen1", "changes": []})
    (found,) = read_history(str(tmp_path / "two"))
    assert list(found.by_teacher) == ["atlas", "borealis"]
    assert found.by_teacher["borealis"].table.equals(parts["borealis"].table)
    path = tmp_path / "two" / "0001.teachers.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(RunError, match="was changed"):
        read_history(str(tmp_path / "two"))
    alone = made._replace(teachers={"atlas": 400}, by_teacher={"atlas": INVENTORY})
    add_generation(str(tmp_path / "one"), alone, None, {"name": "gen1", "changes": []})
    assert not (tmp_path / "one" / "0001.teachers.parquet").exists()
    (found,) = read_history(str(tmp_path / "one"))
    assert found.by_teacher["atlas"].table.equals(INVENTORY.table)


def test_a_generation_of_small_teachers_has_no_counts(tmp_path):
    """No teacher had enough texts, which isn't damage."""
    made = Generation(
        1, "gen1", 400, "digest", INVENTORY, "", None, {"atlas": 9, "borealis": 9}, {}
    )
    add_generation(str(tmp_path), made, None, {"name": "gen1", "changes": []})
    (found,) = read_history(str(tmp_path))
    assert found.by_teacher == {}


def test_an_empty_folder_is_an_empty_history(tmp_path):
    """A folder that doesn't exist or is empty has no generations."""
    for folder in (tmp_path, tmp_path / "new"):
        require_history(str(folder))
        assert read_history(str(folder)) == []


def test_a_folder_of_other_files_is_refused(tmp_path):
    """Files that aren't a history's keep a history from beginning, and a history doesn't."""
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(RunError, match="holds no history"):
        require_history(str(tmp_path))
    write_history(tmp_path / "own", 1)
    require_history(str(tmp_path / "own"))


def test_added_generations_change_no_file(tmp_path):
    """Adding a generation leaves the bytes of the earlier ones as they are."""
    write_history(tmp_path, 1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_history_again = read_history(str(tmp_path))
    made = Generation(2, "gen2", 400, "digest2", INVENTORY, "")
    add_generation(str(tmp_path), made, write_history_again[-1].record, {"name": "gen2"})
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert len(read_history(str(tmp_path))) == 2


@pytest.mark.parametrize("name", ["0001.json", "0001.parquet", "0002.parquet"])
def test_a_changed_file_is_noticed(tmp_path, name):
    """Bytes that were changed later break the chain, and the error names a file."""
    write_history(tmp_path)
    path = tmp_path / name
    data = path.read_bytes()
    changed = data.replace(b'"texts": 400', b'"texts": 401') if name.endswith("json") else data[:-9]
    assert changed != data
    path.write_bytes(changed)
    with pytest.raises(RunError, match="was changed") as caught:
        read_history(str(tmp_path))
    assert "restore the file" in str(caught.value)


def test_a_missing_generation_is_noticed(tmp_path):
    """A gap between generations isn't taken for the end."""
    write_history(tmp_path, 3)
    (tmp_path / "0002.json").unlink()
    with pytest.raises(RunError, match=r"0002\.json is missing"):
        read_history(str(tmp_path))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', "\x00"])
def test_a_damaged_file_is_refused(tmp_path, text):
    """Whatever a generation's file holds, the error says that it is damaged."""
    write_history(tmp_path, 1)
    (tmp_path / "0001.json").write_text(text)
    with pytest.raises(RunError, match="is damaged"):
        read_history(str(tmp_path))


def test_another_format_is_refused(tmp_path):
    """A history of another version isn't read as if it were of this one."""
    write_history(tmp_path, 1)
    path = tmp_path / "0001.json"
    fields = json.loads(path.read_text())
    path.write_text(json.dumps(fields | {"format": 2}))
    with pytest.raises(RunError, match="another version"):
        read_history(str(tmp_path))


def test_counts_without_their_record_are_an_unfinished_generation(tmp_path):
    """A stop between the two files leaves a history that can be continued."""
    write_history(tmp_path, 1)
    (tmp_path / "0001.json").unlink()
    require_history(str(tmp_path))
    assert read_history(str(tmp_path)) == []
    assert len(write_history(tmp_path, 1)) == 1


def test_the_same_generation_is_recognised(tmp_path):
    """The newest generation isn't added twice, and a name is used once."""
    found = write_history(tmp_path)
    assert find_same(found, "gen2", "digest2") == found[1]
    assert find_same(found, "gen3", "digest3") is None
    with pytest.raises(RunError, match="with other texts"):
        find_same(found, "gen2", "digest9")
    with pytest.raises(RunError, match="and later ones"):
        find_same(found, "gen1", "digest1")


def test_results_are_replaced(tmp_path):
    """The page is that of the newest generation."""
    write_results(str(tmp_path), "one", b"")
    write_results(str(tmp_path), "two", b"")
    assert (tmp_path / PAGE).read_text() == "two"
