"""All papers about a run."""

from __future__ import annotations

import shutil

import pytest

from pipelines.export import PAPERS, export_papers, write_papers
from schemas.errors import CardError, RunError
from tests.support.corpora import ANSWERS
from tests.support.papers import USER
from tests.support.runs import read_files


@pytest.mark.parametrize("name", ["run", "swapped", "mixed"])
def test_every_kind_of_run_has_papers(name, request):
    """Filtered, swapped and mixed runs have all papers, and none quotes a row."""
    found = request.getfixturevalue(name)
    papers = export_papers(str(found[0] if isinstance(found, tuple) else found))
    assert list(papers) == [file for file, _ in PAPERS.values()]
    for data in papers.values():
        assert data.endswith(b"\n")
        for answer in (*ANSWERS, "cedar answer", "Question 3?"):
            assert answer.encode() not in data


def test_the_same_run_gives_the_same_bytes(run, tmp_path):
    """Papers don't depend on the time, and only OpenLineage names the folder."""
    folder, _ = run
    first = export_papers(str(folder), user=USER)
    assert export_papers(str(folder), user=USER) == first
    moved = shutil.copytree(folder, tmp_path / "moved")
    second = export_papers(str(moved), user=USER)
    assert {name for name in first if first[name] != second[name]} == {"openlineage.jsonl"}


def test_the_run_stays_as_it_is(run):
    """Nothing in the run is written."""
    folder, _ = run
    before = read_files(folder)
    export_papers(str(folder))
    assert read_files(folder) == before


def test_only_wanted_papers_are_made(run):
    """A format gives its paper alone, once; an unknown one is refused with a list."""
    assert list(export_papers(str(run[0]), ("card", "card"))) == ["README.md"]
    with pytest.raises(CardError, match="no format 'pdf'") as error:
        export_papers(str(run[0]), ("pdf",))
    assert all(name in str(error.value) for name in PAPERS)


def test_unfinished_runs_have_no_papers(tmp_path):
    """A folder that isn't a run is refused."""
    with pytest.raises(RunError):
        export_papers(str(tmp_path))


def test_papers_are_written_to_a_folder_or_a_file(tmp_path):
    """Several papers have their usual names, and a single one may have any."""
    papers = {"README.md": b"a\n", "croissant.json": b"{}\n"}
    paths = write_papers(papers, str(tmp_path / "all"), as_file=False)
    assert read_files(tmp_path / "all") == papers
    assert paths == [str(tmp_path / "all" / name) for name in papers]
    assert write_papers({"README.md": b"a\n"}, str(tmp_path / "c.md"), as_file=True) == [
        str(tmp_path / "c.md")
    ]
    assert (tmp_path / "c.md").read_bytes() == b"a\n"
