"""Files beside the data."""

import json

import pytest

from schemas.errors import InputError
from transforms.files.side_files import leave_out_side_files, refuse_unfinished_run


@pytest.fixture
def folder(tmp_path):
    """Return a function that writes files and returns their paths."""

    def write(files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return {str(tmp_path / name) for name in files}

    return write


def names(uris, tmp_path) -> list[str]:
    """Return sorted paths below the folder."""
    return sorted(uri.removeprefix(f"{tmp_path}/") for uri in uris)


def test_metadata_is_left_aside_and_named(folder, tmp_path):
    """Files that describe data sets are read only if named in full."""
    uris = folder({"a.jsonl": "", "dataset_infos.json": {}, "deep/croissant.json": {}})
    kept, notices = leave_out_side_files(uris, [])
    assert names(kept, tmp_path) == ["a.jsonl"]
    assert "since they describe the data" in notices[0].text
    assert "dataset_infos.json" in notices[0].text
    named = str(tmp_path / "dataset_infos.json")
    assert named in leave_out_side_files(uris, [named])[0]


def test_a_saved_data_set_is_its_listed_files(folder, tmp_path):
    """In a `save_to_disk` folder, only listed files are read."""
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
    uris = folder(
        {
            "train/state.json": state,
            "train/data-00000-of-00001.arrow": "",
            "train/cache-0f.arrow": "",
            "train/tmp1.arrow": "",
            "other/plain.arrow": "",
            "other/cache-1e.arrow": "",
            "dataset_dict.json": {"splits": ["train"]},
        }
    )
    kept, notices = leave_out_side_files(uris, [])
    assert names(kept, tmp_path) == ["other/plain.arrow", "train/data-00000-of-00001.arrow"]
    assert "aren't in the data set's list" in notices[1].text


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        ({"state.json": {"_data_files": [{"filename": "data-1.arrow"}]}}, "data-1.arrow"),
        ({"dataset_dict.json": {"splits": ["test"]}}, "test/state.json"),
    ],
)
def test_a_missing_part_is_an_error(folder, files, missing):
    """A listed file or split that is missing is an error."""
    with pytest.raises(InputError, match=f"{missing}, which is missing"):
        leave_out_side_files(folder(files), [])


@pytest.mark.parametrize("content", ["", "[1]", {"_data_files": 3}, {"_data_files": [{"a": 1}]}])
def test_a_state_of_another_program_lists_nothing(folder, tmp_path, content):
    """Another program's `state.json` hides no data."""
    uris = folder({"state.json": content, "a.arrow": ""})
    assert names(leave_out_side_files(uris, [])[0], tmp_path) == ["a.arrow"]


def test_a_selection_of_rows_is_refused(folder, tmp_path):
    """A data set with row indices is refused."""
    state = {
        "_data_files": [{"filename": "a.arrow"}],
        "_indices_data_files": [{"filename": "indices.arrow"}],
    }
    uris = folder({"a.arrow": "", "indices.arrow": "", "state.json": state})
    with pytest.raises(InputError, match="selects rows from its files") as caught:
        leave_out_side_files(uris, set())
    assert "flatten_indices()" in str(caught.value)


def test_a_run_is_refused(folder, tmp_path):
    """The error for a run names its clean rows' folder."""
    uris = folder({"run/manifest.json": {"run_id": "1", "ledger_root": "2"}})
    with pytest.raises(InputError, match="is a run of congener") as caught:
        leave_out_side_files(uris, [])
    assert caught.value.remedy.endswith("run/clean")
    other = folder({"manifest.json": {"name": "app"}})
    assert leave_out_side_files(other, [])[0] == other


def test_an_unfinished_run_is_refused(tmp_path):
    """An unfinished run is refused as input."""
    refuse_unfinished_run(str(tmp_path))
    refuse_unfinished_run("gs://bucket/run")
    (tmp_path / ".work").mkdir()
    with pytest.raises(InputError, match="is an unfinished run"):
        refuse_unfinished_run(str(tmp_path))
