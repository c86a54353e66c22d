"""Papers that were altered, filled in by hand, or written about another run."""

from __future__ import annotations

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.cli.main import app
from pipelines.export import export_papers, write_papers
from pipelines.paper_checks import (
    RECORD,
    SHOWN,
    PaperOptions,
    check_papers,
    find_missing_runs,
    fits,
    read_record,
    write_record,
)
from pipelines.papers.facts import TO_FILL_IN
from schemas.errors import CardError


def export(run, folder, **options):
    """Write all papers of a run with some options, and the record of them."""
    given_options = PaperOptions(**options)
    papers = export_papers(str(run), user=given_options.list_facts())
    write_papers(papers, str(folder), as_file=False)
    write_record(str(run), papers, given_options, str(folder))
    return papers


def check(run, folder):
    """Return the names of the papers that differ, and their problems."""
    found = check_papers(str(run), str(folder))
    return {item.where.rpartition("/")[2]: item.problem for item in found.findings}


def alter(path, old, new):
    """Replace a text in a paper."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_papers_are_those_of_the_run(run, tmp_path):
    """With the options of the export, every paper is the same again."""
    export(run[0], tmp_path, title="Herons", licence="mit", links={"atlas": "https://x.org"})
    assert check(run[0], tmp_path) == {}
    assert check_papers(str(run[0]), str(tmp_path)).compared == "5 compared"
    record = read_record(str(tmp_path))
    assert (record.run_id, record.options.title) == (run[1].run_id, "Herons")


def test_a_long_line_is_cut_around_the_first_difference(run, tmp_path):
    """What differs is shown, however far it is from the beginning of the line."""
    export(run[0], tmp_path)
    path = tmp_path / "README.md"
    text = path.read_text(encoding="utf-8")
    line = max(text.split("\n"), key=len)
    assert len(line) > SHOWN
    alter(path, line, f"{line} and more")
    problem = check(run[0], tmp_path)["README.md"]
    assert f"{line[-20:]} and more'" in problem
    assert ": '…" in problem


def test_papers_are_compared_by_digest_without_an_earlier_run(run, tmp_path):
    """If the run that was decided from is gone, its part isn't a difference; a change still is."""
    shutil.copytree(run[0], tmp_path / "first")
    policy = tmp_path / "policy.yaml"
    policy.write_text("traits: {heron: {action: flag}}\n")
    again, folder = str(tmp_path / "again"), tmp_path / "papers"
    main = ("decide", str(tmp_path / "first"), "--policy", str(policy), "--output", again)
    app([*main], standalone_mode=False)
    export(again, folder)
    assert find_missing_runs(again) == []
    (tmp_path / "first").rename(tmp_path / "moved")
    assert find_missing_runs(again) == [run[1].run_id]
    assert check(again, folder) == {}
    compared = check_papers(again, str(folder)).compared
    assert f"by digest (not comparable without run {run[1].run_id})" in compared
    with (folder / "README.md").open("a") as file:
        file.write("more\n")
    assert "README.md" in check(again, folder)


@pytest.mark.parametrize(
    "name", ["README.md", "croissant.json", "provenance.intoto.json", "eu-summary.md"]
)
def test_an_altered_paper_is_noticed(run, tmp_path, name):
    """The line that differs is shown with what the run gives, whichever paper it is in."""
    papers = export(run[0], tmp_path)
    line = next(
        number
        for number, text in enumerate(papers[name].decode().split("\n"), 1)
        if any(map(str.isdigit, text)) and "FILLED" not in text
    )
    lines = (tmp_path / name).read_text(encoding="utf-8").split("\n")
    digit = next(char for char in lines[line - 1] if char.isdigit())
    lines[line - 1] = lines[line - 1].replace(digit, str((int(digit) + 1) % 10), 1)
    (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
    found = check(run[0], tmp_path)
    assert list(found) == [name]
    assert f"line {line}: " in found[name]
    assert "but the run gives" in found[name]


def test_lines_may_not_be_removed_or_added(run, tmp_path):
    """The first line that differs is named, and how many others there are."""
    export(run[0], tmp_path)
    path = tmp_path / "README.md"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "\nNo row shows a trait.\n", encoding="utf-8")
    assert "No row shows a trait.', but the run gives nothing" in check(run[0], tmp_path)[path.name]
    path.write_text("\n".join(text.split("\n")[5:]), encoding="utf-8")
    assert "more lines differ" in check(run[0], tmp_path)[path.name]


def test_gaps_may_be_filled_in_by_hand(run, tmp_path):
    """What the run doesn't know isn't compared, but the rest of the line is."""
    export(run[0], tmp_path)
    path = tmp_path / "README.md"
    alter(path, "Provider: \\[TO BE FILLED IN: provider\\]", "Provider: Heron Institute")
    alter(tmp_path / "croissant.json", TO_FILL_IN.format("title"), "Herons [2026]")
    assert check(run[0], tmp_path) == {}
    alter(path, "Provider: Heron", "Provided by: Heron")
    assert list(check(run[0], tmp_path)) == ["README.md"]


@given(st.text(alphabet="ab[]\\.*", min_size=1), st.text(alphabet="ab[]\\.*"))
def test_only_gaps_are_open(filling, rest):
    """A line fits if what is around its gaps is the same."""
    gap = TO_FILL_IN.format("who")
    assert fits(f"{rest}{filling}{rest}", f"{rest}{gap}{rest}")
    assert fits(rest, rest)
    assert not fits(f"{rest}{filling}", rest)
    assert not fits(f"x{rest}{filling}", f"{rest}y{gap}")


def test_a_missing_paper_is_noticed(run, tmp_path):
    """The record names it."""
    export(run[0], tmp_path)
    (tmp_path / "eu-summary.md").unlink()
    assert check(run[0], tmp_path) == {"eu-summary.md": "is missing"}


def test_papers_of_another_run_are_refused(run, swapped, tmp_path):
    """They may be right, but say nothing about this run."""
    export(run[0], tmp_path)
    found = check(swapped, tmp_path)
    assert list(found) == [RECORD]
    assert found[RECORD].startswith(f"is about run {run[1].run_id}, and not about ")


def test_a_run_may_be_moved(run, tmp_path):
    """OpenLineage names the folder, so it is compared with its digest."""
    export(run[0], tmp_path / "papers")
    moved = shutil.copytree(run[0], tmp_path / "moved")
    assert check(moved, tmp_path / "papers") == {}
    alter(tmp_path / "papers" / "openlineage.jsonl", "COMPLETE", "FAIL")
    assert list(check(moved, tmp_path / "papers")) == ["openlineage.jsonl"]


def test_papers_of_another_version_are_compared_by_digest(run, tmp_path):
    """It may have worded them otherwise."""
    export(run[0], tmp_path)
    path = tmp_path / RECORD
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps({**record, "code": "0.0.1"}), encoding="utf-8")
    assert check(run[0], tmp_path) == {}
    said = check_papers(str(run[0]), str(tmp_path)).compared
    assert said == "digests compared (written by another version)"
    (tmp_path / "README.md").write_text("Clean.\n", encoding="utf-8")
    assert check(run[0], tmp_path) == {"README.md": "isn't the paper that was exported"}


def test_a_folder_without_a_record_is_refused(run, tmp_path):
    """Without the options, nobody can write the same papers again."""
    with pytest.raises(CardError, match=r"has no papers\.json"):
        check_papers(str(run[0]), str(tmp_path))
    (tmp_path / RECORD).write_text("{}", encoding="utf-8")
    with pytest.raises(CardError, match="isn't a record of papers"):
        check_papers(str(run[0]), str(tmp_path))
