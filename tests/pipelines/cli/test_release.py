"""`congener release`: its options and its output."""

import json
from collections import Counter
from pathlib import Path

import pytest

from pipelines.cli.release import (
    ReleaseResult,
    describe_effect,
    describe_release,
    list_rows,
)
from pipelines.decision_counts import DecisionCounts
from pipelines.release import Release, ReleasedRow, ReleasedRows, sum_effects
from schemas.policies import Policy
from tests.support.runs import read_ledger


@pytest.fixture
def folder(run) -> str:
    """Return the folder of a finished run."""
    return str(run[0])


@pytest.fixture
def reviews(folder, tmp_path) -> str:
    """Write labels that deny two findings, and one that confirms a third."""
    rows = [row for row in read_ledger(folder) if row["decision"] == "quarantine"]
    lines = [
        {"source": row["source"], "row": row["row"], "trait": "heron", "label": label}
        for row, label in zip(rows, ("no", "no", "yes"), strict=False)
    ]
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_rows_are_released_into_a_new_run(congener, folder, reviews, tmp_path):
    """The output says what was released, shows both runs' decisions, and names the policy."""
    output = str(tmp_path / "released")
    code, out, err = congener("release", folder, "--reviews", reviews, "--output", output)
    assert code == 0, err
    assert "2 findings denied and released: heron 2" in out
    assert "rows with a released finding: 2 returned to the corpus" in out
    assert "read the rows" not in out
    assert "your labels say that 1 of the " in out
    assert "congener diff" in out
    assert f"policy: {output}.policy.yaml" in out
    code, out, err = congener("verify", output)
    assert code == 0, err


def test_a_dry_run_writes_nothing(congener, congener_json, folder, reviews, tmp_path):
    """--dry-run says what would be released, as text or JSON."""
    code, out, err = congener("release", folder, "--reviews", reviews, "--dry-run")
    assert (code, "heron 2" in out, err) == (0, True, "")
    assert "2 would return to the corpus" in out
    assert "dry run: nothing was written" in out
    held = [row for row in read_ledger(folder) if row["decision"] == "quarantine"][:2]
    for row in held:
        line = f"  {row['source']}:{row['row']}: quarantine → keep (denied: heron)"
        assert line in out.splitlines()
    found = congener_json("release", folder, "--reviews", reviews, "--dry-run")
    assert (found["released"], found["manifest"]) == ({"heron": 2}, None)
    assert found["effect"] == {"returned": 2, "cleared": 0, "unchanged": 0}
    assert [row["now"] for row in found["rows"]] == ["keep", "keep"]
    assert found["now"]["quarantine"] == found["before"]["quarantine"] - 2
    assert not list(Path(tmp_path).glob("*.policy.yaml"))


def test_a_dry_run_says_why_a_row_stays():
    """A row with another finding keeps its decision, and its line names that finding's trait."""
    rows = [
        ReleasedRow("a.jsonl:1", ("heron",), "quarantine", "quarantine", ("stork", "owl")),
        ReleasedRow("a.jsonl:2", ("heron",), "mask", "keep", ()),
    ]
    assert list(list_rows(rows)) == [
        "  a.jsonl:1: stays quarantine (denied: heron; not denied: stork, owl)",
        "  a.jsonl:2: mask → keep (denied: heron)",
    ]
    said = describe_effect(sum_effects(rows), is_dry=True)
    assert "0 would return to the corpus, 1 already in it would lose a flag or a mask" in said
    assert "1 would keep its decision because of another finding" in said


def test_a_long_list_is_cut(congener):
    """A terminal shows the first rows and how many follow; JSON has all of them."""
    row = ReleasedRow("a.jsonl:1", ("heron",), "quarantine", "keep", ())
    counts = DecisionCounts({"quarantine": 25}, {"keep": 25}, [], [], {}, [], {})
    released = Release(Policy(), Counter({"heron": 25}), 0, 0, 0)
    result = ReleaseResult(released, None, rows=[row] * 25, counts=counts)
    assert "  5 more rows: --json lists all of them" in list(result.render())
    assert len(result.to_json()["rows"]) == 25


def test_what_is_missing_is_named(congener, folder, reviews, tmp_path):
    """Both options are needed, and a file that isn't there is named."""
    code, _, err = congener("release", folder, "--output", str(tmp_path / "out"))
    assert (code, "--reviews is needed" in err) == (2, True)
    code, _, err = congener("release", folder, "--reviews", reviews)
    assert (code, "--output is needed" in err) == (2, True)
    code, _, err = congener("release", folder, "--reviews", "nowhere.jsonl", "--dry-run")
    assert (code, "nowhere.jsonl" in err) == (2, True)


def test_labels_that_release_nothing_are_counted():
    """What is disputed, idle or about another text is said, in the right number."""
    counts = Counter({"heron": 1_200, "owl": 1})
    (line,) = describe_release(Release(Policy(), counts, 0, 0, 0))
    assert line == "1,201 findings denied and released: heron 1,200, owl 1"
    _, disputed, idle, changed = describe_release(Release(Policy(), counts, 1, 1, 1))
    assert disputed.startswith("1 finding isn't released")
    assert idle == "1 label denies a finding that the run doesn't have"
    assert changed == "1 finding had labels of another text, left out"
    _, disputed, idle, _ = [*describe_release(Release(Policy(), counts, 2, 3, 0)), ""]
    assert disputed.startswith("2 findings aren't released")
    assert idle == "3 labels deny a finding that the run doesn't have"
    named = Release(Policy(), counts, 0, 2, 0, named=("a.jsonl:1 heron", "b.jsonl:2 owl"))
    _, idle = describe_release(named)
    assert idle.endswith("that the run doesn't have: a.jsonl:1 heron, b.jsonl:2 owl")


def test_findings_that_were_released_before_are_counted_apart():
    """A finding that the run's policy keeps already isn't counted as released now."""
    found = Release(Policy(), Counter({"owl": 1}), 0, 0, 0, already=5)
    assert [*describe_release(found)] == [
        "1 finding denied and released: owl 1",
        "5 denied findings are released already",
    ]


def test_rows_and_files_are_told_apart():
    """The rows that return, lose a flag or stay are counted; a file of another run is named."""
    assert describe_effect(ReleasedRows(2, 9, 3)) == (
        "rows with a released finding: 2 returned to the corpus, 9 already in it lost a flag or a "
        "mask, 3 keep their decision because of another finding"
    )
    assert "1 keeps its decision" in describe_effect(ReleasedRows(0, 0, 1))
    found = Release(Policy(), Counter({"owl": 1}), 0, 0, 0, ("ada.jsonl",))
    assert [*describe_release(found)][-1].startswith("ada.jsonl: labels of another run;")


def test_a_release_in_json_names_the_policy(congener_json, folder, reviews, tmp_path):
    """--json gives the counts, the policy's path and the manifest of the new run."""
    output = str(tmp_path / "released")
    found = congener_json("release", folder, "--reviews", reviews, "--output", output)
    assert (found["released"], found["disputed"], found["idle"]) == ({"heron": 2}, 0, 0)
    assert found["effect"] == {"returned": 2, "cleared": 0, "unchanged": 0}
    assert found["policy"] == f"{output}.policy.yaml"
    assert found["manifest"]["conservation"]["by_decision"]["quarantine"] == 6
