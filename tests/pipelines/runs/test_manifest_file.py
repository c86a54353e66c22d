"""Reading a finished run's manifest, and the errors."""

import json
import subprocess
import sys

import pytest

from pipelines.runs.manifest_file import is_withdrawn, load_decided, load_manifest
from schemas.errors import RunError
from schemas.manifests import MANIFEST_FORMAT
from schemas.runs import WITHDRAWN


def test_the_manifest_reads_back(run):
    """The manifest on disk equals the run's manifest."""
    folder, manifest = run
    assert load_manifest(str(folder)) == manifest
    assert manifest.format == MANIFEST_FORMAT


def test_a_path_without_a_finished_run_is_explained(tmp_path):
    """A missing path, a file, another folder and an unfinished run have different errors."""
    (tmp_path / "begun" / ".work").mkdir(parents=True)
    (tmp_path / "folder" / "clean").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    for name, problem, remedy in (
        ("nowhere", "doesn't exist", "check the path"),
        ("file", "is a file, but a run is a folder", "name the folder"),
        ("folder", "is not a run", "name the folder"),
        ("begun", "is an unfinished run", "resumes"),
    ):
        with pytest.raises(RunError, match=problem) as caught:
            load_manifest(str(tmp_path / name))
        assert caught.value.where == str(tmp_path / name)
        assert remedy in caught.value.remedy


def test_a_folder_of_a_run_names_the_run(finished):
    """A run's folder isn't a run, and the error names the run."""
    for tail in ("", "/"):
        with pytest.raises(RunError, match="is a folder of a run") as caught:
            load_manifest(f"{finished[0]}/clean{tail}")
        assert caught.value.remedy == f"name the run: {finished[0]}"


@pytest.mark.parametrize(
    "damage",
    [
        "{", "{}", "[]", "[1]", '{"run_id": 7}', '{"format": 3, "identity": {}}', "\xff",
        '{"format": 1e999, "identity": {"code_version": "1"}}', "[" * 100_000,
    ],
    ids=lambda damage: damage[:30],
)  # fmt: skip
def test_a_damaged_manifest_is_refused(tmp_path, damage):
    """A damaged manifest is a congener error."""
    (tmp_path / "manifest.json").write_bytes(damage.encode("latin-1"))
    with pytest.raises(
        RunError, match=r"manifest.json is not a manifest of congener: field"
    ) as caught:
        load_manifest(str(tmp_path))
    assert "pydantic" not in str(caught.value)
    assert "from a copy of the run" in caught.value.remedy


@pytest.mark.parametrize("version", [1, 2, MANIFEST_FORMAT + 1])
def test_a_manifest_of_another_format_is_refused_by_name(run, version):
    """The error for another format names the format and its version."""
    folder, manifest = run
    content = json.loads((folder / "manifest.json").read_bytes()) | {"format": version}
    older = {name: content[name] for name in content if name not in ("span_floor", "cards")}
    older["lots"] = ["atlas/-/-/-"]
    expected = f"has format {version}, but this version of congener reads format {MANIFEST_FORMAT}"
    for fields in (content, older):
        (folder / "manifest.json").write_text(json.dumps(fields))
        with pytest.raises(RunError, match=expected) as caught:
            load_manifest(str(folder))
        assert f"version {manifest.identity.code_version}" in caught.value.remedy
        assert "--restart" in caught.value.remedy


def test_a_folder_named_like_the_manifest_is_an_error_of_the_run(tmp_path):
    """A manifest that can't be opened is a `RunError` with a remedy."""
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(RunError, match=r"manifest.json can't be opened: Is a directory") as caught:
        load_manifest(str(tmp_path))
    assert "from a copy of the run" in caught.value.remedy


def test_a_wrong_path_is_reported_without_polars(tmp_path):
    """Reading a manifest loads neither polars, Beam nor torch."""
    code = (
        "import sys\n"
        "from pipelines.runs.manifest_file import load_manifest\n"
        "try:\n    load_manifest('nowhere')\nexcept Exception as error:\n    print(error.where)\n"
        "print(sorted({'polars', 'apache_beam', 'torch'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "nowhere\n[]\n"


def test_a_withdrawn_run_is_named_as_such(tmp_path):
    """The error for a run that a budget stopped says where the findings are."""
    (tmp_path / WITHDRAWN).write_text("{}")
    with pytest.raises(RunError, match="exceeded a budget") as caught:
        load_manifest(str(tmp_path))
    assert "congener inspect and congener report show what it found" in caught.value.remedy


def test_a_run_is_read_whether_it_was_published_or_not(run):
    """A stopped run's manifest is read by commands that look at rows, and by no others."""
    folder, manifest = run
    assert load_decided(str(folder)) == manifest
    assert not is_withdrawn(str(folder))
    stopped = manifest.model_copy(update={"withdrawn": "too many rows"})
    (folder / WITHDRAWN).write_bytes(stopped.to_bytes())
    assert load_decided(str(folder)).withdrawn is None, "the published run counts"
    (folder / "manifest.json").unlink()
    assert load_decided(str(folder)).withdrawn == "too many rows"
    assert is_withdrawn(str(folder))
    (folder / WITHDRAWN).write_text("{}")
    with pytest.raises(RunError, match=f"{WITHDRAWN} is not a manifest"):
        load_decided(str(folder))
