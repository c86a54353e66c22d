"""The answers that a swap replaced are found in the run that had them."""

import shutil

import pytest

from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.old_answers import OldAnswers, read_old_answers
from pipelines.runs.pages import read_page
from pipelines.runs.queries import EVERYTHING
from schemas.errors import RunError
from schemas.swaps import PARENT_FOLDER
from tests.support.corpora import ANSWERS

SWAPPED = EVERYTHING._replace(decision="swap")


def read_rows(run, filters=SWAPPED):
    """Return a run's manifest and the rows that the filters select."""
    manifest = load_manifest(str(run))
    return manifest, read_page(str(run), manifest, filters, "row", limit=100).rows


def test_every_replaced_row_has_its_old_answer(swapped, held):
    """The old rows are those of the parent, with the reasons for which they were held."""
    manifest, rows = read_rows(swapped)
    assert manifest.circumstances[PARENT_FOLDER] == str(held / "run")
    found = read_old_answers(manifest, rows)
    assert found.missing is None
    assert set(found.rows) == {(row.source, row.row) for row in rows}
    for row in rows:
        old = found.rows[row.source, row.row]
        assert old.decision == "quarantine"
        assert [reason.trait for reason in old.reasons] == list(row.swap.traits)
        assert old.reasons[0].text == ANSWERS[1]
        assert old.record["id"] == row.record["id"]


def test_rows_without_a_replacement_need_no_parent(swapped):
    """Waiting and kept rows have no old answer, and nothing is missing."""
    for decision in ("quarantine", "keep"):
        manifest, rows = read_rows(swapped, EVERYTHING._replace(decision=decision))
        assert read_old_answers(manifest, rows) == OldAnswers({})


def test_a_parent_that_was_moved_may_be_named(swapped, held, tmp_path):
    """If the parent isn't where it was, a sentence says so, and its new folder can be given."""
    manifest, rows = read_rows(swapped)
    moved = manifest.model_copy(
        update={"circumstances": manifest.circumstances | {PARENT_FOLDER: str(tmp_path / "gone")}}
    )
    found = read_old_answers(moved, rows)
    assert found.rows == {}
    assert f"isn't in {tmp_path / 'gone'} any more; --parent RUN says" in found.missing
    bare = manifest.model_copy(update={"circumstances": {}})
    assert "isn't known by its folder" in read_old_answers(bare, rows).missing
    copy = shutil.copytree(held / "run", tmp_path / "copy")
    assert len(read_old_answers(moved, rows, str(copy)).rows) == len(rows)


def test_another_run_is_refused(swapped, tmp_path):
    """A given folder must hold the parent; a run in the old place that isn't it is left aside."""
    manifest, rows = read_rows(swapped)
    with pytest.raises(RunError, match="whose answers were replaced") as caught:
        read_old_answers(manifest, rows, str(swapped))
    assert caught.value.where == f"--parent {swapped}"
    with pytest.raises(RunError):
        read_old_answers(manifest, rows, str(tmp_path))
    circumstances = manifest.circumstances | {PARENT_FOLDER: str(swapped)}
    other = manifest.model_copy(update={"circumstances": circumstances})
    assert read_old_answers(other, rows).missing is not None


def test_a_changed_parent_is_an_error(swapped, held, tmp_path):
    """An old answer that was changed since the swap isn't shown."""
    manifest, rows = read_rows(swapped)
    copy = shutil.copytree(held / "run", tmp_path / "copy")
    for path in copy.glob("quarantine/*.jsonl"):
        path.write_bytes(path.read_bytes().replace(b"heron", b"robin"))
    with pytest.raises(RunError, match="doesn't match its manifest"):
        read_old_answers(manifest, rows, str(copy))


def test_a_run_without_a_swap_has_no_old_answers(held):
    """A run of `filter` has nothing to read, whatever its rows."""
    manifest, rows = read_rows(held / "run", EVERYTHING)
    assert read_old_answers(manifest, rows) == OldAnswers({})
