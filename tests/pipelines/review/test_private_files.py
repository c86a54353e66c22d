"""Files of the index: private, whole, and mapped into memory."""

import stat

import polars as pl
import pytest

from pipelines.review.private_files import make_empty, make_private, map_file, write_whole
from schemas.errors import CardError, StorageError

FRAME = pl.DataFrame({"text": ["a heron", None, "京都 " * 9], "row": [1, 2, 3]})


def test_a_file_is_private_and_whole(tmp_path):
    """Only the owner may read the file and its folder, and no draft is left beside it."""
    path = tmp_path / "index" / "facts.arrow"
    write_whole(FRAME, path)
    assert [file.name for file in path.parent.iterdir()] == ["facts.arrow"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert pl.read_ipc(path).equals(FRAME)


def test_a_mapped_file_is_what_was_written(tmp_path):
    """A mapped file has the same rows, also after it was removed: it needn't stay open."""
    path = tmp_path / "texts.arrow"
    write_whole(FRAME, path)
    mapped = map_file(path)
    path.unlink()
    assert mapped.equals(FRAME)


def test_an_empty_file_can_be_mapped(tmp_path):
    """A frame without rows keeps its columns."""
    write_whole(FRAME.clear(), tmp_path / "none.arrow")
    assert map_file(tmp_path / "none.arrow").schema == FRAME.schema


def test_a_file_that_cannot_be_written(tmp_path):
    """An error names the place and the option, and no draft is left."""
    (tmp_path / "taken.arrow").mkdir()
    with pytest.raises(StorageError, match="--folder"):
        write_whole(FRAME, tmp_path / "taken.arrow")
    assert [file.name for file in tmp_path.iterdir()] == ["taken.arrow"]
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="--folder"):
        make_private(tmp_path / "file" / "index")


def test_a_folder_with_files_is_refused(tmp_path):
    """A new folder is private, an empty one is taken, and one with a file isn't."""
    folder = tmp_path / "scans"
    make_empty(folder)
    make_empty(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (folder / "old.parquet").touch()
    with pytest.raises(CardError, match="isn't empty"):
        make_empty(folder)
