"""Changed files of a finished run."""

from __future__ import annotations

import pytest

from pipelines.report import write_report
from pipelines.runs import alterations
from pipelines.runs.alterations import find_change, require_sound_ledger, require_unaltered
from pipelines.runs.manifest_file import load_manifest
from schemas.errors import RunError
from schemas.runs import MANIFEST, REPORT_PAGE


def test_an_untouched_run_is_unaltered(run):
    """An untouched run has no changed file."""
    folder, manifest = run
    require_unaltered(str(folder), manifest)
    assert {find_change(str(folder / item.path), item) for item in manifest.outputs} == {None}


@pytest.mark.parametrize("name", ["clean", "ledger", "quarantine", "bank"])
def test_a_report_of_an_altered_run_is_refused(run, name):
    """A report of an altered run is refused, and the error names the file."""
    folder = run[0]
    path = next(path for path in sorted((folder / name).rglob("*")) if path.is_file())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(RunError, match="doesn't match its manifest") as caught:
        write_report(str(folder))
    assert path.name in caught.value.problem
    assert "congener verify" in caught.value.remedy
    assert not (folder / REPORT_PAGE).exists()


def test_an_edited_manifest_is_refused(run):
    """A manifest that doesn't match its digest is refused."""
    folder = run[0]
    text = (folder / MANIFEST).read_text().replace('"seconds"', '"secs"')
    (folder / MANIFEST).write_text(text)
    with pytest.raises(RunError, match="it was edited"):
        require_unaltered(str(folder), load_manifest(str(folder)))


def test_a_missing_file_is_refused(run):
    """A missing file counts as a change."""
    folder, manifest = run
    (folder / manifest.outputs[0].path).unlink()
    with pytest.raises(RunError, match="doesn't match its manifest"):
        require_unaltered(str(folder), manifest)


def test_a_single_folder_can_be_compared(run):
    """Changes in other folders don't matter to what reads one folder."""
    folder, manifest = run
    next((folder / "ledger").iterdir()).unlink()
    require_unaltered(str(folder), manifest, "clean")
    with pytest.raises(RunError, match="is missing"):
        require_unaltered(str(folder), manifest, "ledger")


def test_a_large_ledger_is_checked_by_its_size(run, monkeypatch):
    """Beyond the limit, only the sizes of a ledger's files are compared, but all must be there."""
    folder, manifest = run
    monkeypatch.setattr(alterations, "MOST_DIGESTED", 0)
    path = next((folder / "ledger").iterdir())
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"x")
    require_sound_ledger(str(folder), manifest)
    path.write_bytes(data + b"x")
    with pytest.raises(RunError, match=rf"{path.name} was changed: its size differs"):
        require_sound_ledger(str(folder), manifest)
    path.unlink()
    with pytest.raises(RunError, match=rf"{path.name} is missing"):
        require_sound_ledger(str(folder), manifest)
