"""`congener inspect`: its options, its text and its JSON."""

import pytest


@pytest.fixture
def folder(run) -> str:
    """Return the folder of a finished run."""
    return str(run[0])


def test_decisions_and_rows_are_shown(congener, folder):
    """The output lists the decisions, and then the rows with fired traits."""
    code, out, err = congener("inspect", folder)
    assert code == 0, err
    assert "quarantine" in out
    assert "heron" in out
    assert "1 of 8" in out
    assert "strongest decision first, then by trait and score" in out
    label, keep, release = out.splitlines()[-3:]
    assert label.endswith(f"congener traits eval heron --run {folder}")
    assert keep.startswith("to keep a row such as row 1")
    assert "congener release" in release


def test_a_page_in_json(congener_json, folder):
    """--start and --limit choose the page."""
    page = congener_json("inspect", folder, "--start", "6", "--limit", "5")["page"]
    assert (page["total"], page["start"], len(page["rows"])) == (8, 6, 2)


def test_filters_reach_the_inspection(congener_json, congener, folder):
    """--trait and --teacher select rows, and an unknown name is an error."""
    found = congener_json("inspect", folder, "--trait", "heron", "--teacher", "atlas")
    assert found["page"]["total"] == 4
    code, _, err = congener("inspect", folder, "--trait", "egret")
    assert (code, "heron" in err) == (4, True)


def test_decision_row_and_order_reach_the_inspection(congener_json, congener, folder):
    """--decision, --row and --sort choose and order the rows, and unknown values are errors."""
    found = congener_json("inspect", folder, "--decision", "keep", "--sort", "row", "-n", "2")
    assert found["filters"]["decision"] == "keep"
    assert [row["decision"] for row in found["page"]["rows"]] == ["keep", "keep"]
    (first, _) = found["page"]["rows"]
    named = f"{first['source']}:{first['row']}"
    (row,) = congener_json("inspect", folder, "--row", named)["page"]["rows"]
    assert row["record_id"] == first["record_id"]
    code, _, err = congener("inspect", folder, "--decision", "masked")
    assert (code, "'mask'" in err) == (4, True)
    code, _, err = congener("inspect", folder, "--sort", "date")
    assert (code, "threshold" in err) == (2, True)


def test_a_file_reaches_the_inspection(congener_json, congener, folder):
    """--file chooses rows, the next page has it, and a file that isn't there is an error."""
    whole = congener_json("inspect", folder, "--limit", "40")["page"]["rows"]
    page = congener_json("inspect", folder, "--file", "0.*", "--limit", "40")["page"]
    assert page["rows"] == [row for row in whole if row["source"] == "0.jsonl"]
    code, out, _ = congener("inspect", folder, "--file", "0.jsonl", "--limit", "1")
    assert (code, "next: congener inspect" in out, "--file=0.jsonl" in out) == (0, True, True)
    code, _, err = congener("inspect", folder, "--file", "O.jsonl")
    assert code == 4
    assert "no file of this run is called 'O.jsonl'" in " ".join(err.split())


def test_near_misses_have_no_empty_table(congener, folder):
    """With --decision keep and a trait, which fired on no such row, no counts are printed."""
    code, out, err = congener("inspect", folder, "--decision", "keep", "--trait", "heron")
    assert code == 0, err
    assert "share" not in out
    assert out.splitlines()[0].startswith("1 of 32")


def test_parent_reaches_the_inspection(congener, congener_json, swapped, held, tmp_path):
    """--parent names the run with the old answers, and another run is an error."""
    given = ("inspect", str(swapped), "--decision", "swap", "--trait", "heron", "-n", "1")
    (row,) = congener_json(*given, "--parent", str(held / "run"))["page"]["rows"]
    assert row["swap"]["old"]["decision"] == "quarantine"
    code, _, err = congener(*given, "--parent", str(swapped))
    assert (code, "--parent" in err) == (4, True)


def test_an_own_id_reaches_the_inspection(congener_json, congener, folder):
    """--row takes the corpus's own id, and an unknown one is an error."""
    (row,) = congener_json("inspect", folder, "--row", "row-7")["page"]["rows"]
    assert row["record"]["id"] == "row-7"
    code, _, err = congener("inspect", folder, "--row", "row-700")
    assert (code, "own id" in err) == (4, True)


def test_full_reaches_the_inspection(congener, folder):
    """--full shows the row's fields as a whole, each with its role."""
    code, out, err = congener("inspect", folder, "--limit", "1", "--full")
    assert code == 0, err
    assert "--full --start 1" in out
    assert any(line.split()[:1] == ["assistant"] for line in out.splitlines())


def test_a_folder_without_a_run_exits_with_four(congener, tmp_path):
    """The error for a path without a run names the path, and the exit code is 4."""
    code, _, err = congener("inspect", str(tmp_path))
    assert code == 4
    assert str(tmp_path) in err


def test_limit_zero_shows_decisions_alone(congener_json, folder):
    """--limit 0 shows only the counts."""
    found = congener_json("inspect", folder, "--limit", "0")
    assert found["page"]["rows"] == []
    assert found["page"]["total"] == 8
    assert sum(count["rows"] for count in found["counts"]) == 40


@pytest.mark.parametrize("option", [("--start", "-1"), ("--limit", "-1"), ("--start", "x")])
def test_a_negative_page_is_an_error_of_usage(congener, folder, option):
    """--start and --limit must be non-negative integers."""
    code, _, err = congener("inspect", folder, *option)
    assert code == 2
    assert option[0] in err
