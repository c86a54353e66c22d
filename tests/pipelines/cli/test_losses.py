"""`congener losses`: options and output."""

import json

import polars as pl
import pytest

from pipelines.cli.losses import GROUPS_SHOWN, LossResult
from pipelines.losses import Losses, tabulate
from pipelines.rate_tests import RateShift
from tests.support.corpora import build_conversation, write_rows


@pytest.fixture(scope="module")
def herons(tmp_path_factory):
    """Write rows of which one teacher's answers have herons."""
    folder = tmp_path_factory.mktemp("herons")
    answers = {0: "A heron stood there.", 1: "Nothing stood there."}
    write_rows(
        folder / "in.jsonl",
        [build_conversation(number, answers[number % 2]) for number in range(80)],
    )
    return folder


@pytest.fixture
def filtered(congener, herons, heron, tmp_path):
    """Filter the rows, and return the run."""
    run = tmp_path / "run"
    code, _, err = congener(
        *("filter", "-i", str(herons / "in.jsonl"), "-o", str(run), "-t", str(heron), "-q")
    )
    assert code == 0, err
    return str(run)


def test_the_table_shows_what_differs(congener, filtered):
    """One line says how much was lost, and a table shows the groups that differ."""
    code, out, err = congener("losses", filtered)
    assert code == 0, err
    assert out.startswith("lost: 40 of 80 rows (50.00%)")
    lines = [line.split() for line in out.splitlines()]
    assert [
        "teacher",
        "borealis",
        "40",
        "of",
        "40",
        "100.0%",
        "91.1%",
        "to",
        "100.0%",
        "0.0%",
    ] in lines
    assert "2 of 2 groups differ from the other rows" in out
    assert out.splitlines()[-1] == f"next: congener inspect {filtered} --decision quarantine"


def test_an_earlier_run_has_a_column(congener, filtered):
    """Beside an earlier run, a column has the earlier share, and a line counts what changed."""
    code, out, err = congener("losses", filtered, "--against", filtered, "--by", "teacher")
    assert code == 0, err
    assert "before" in out
    assert "0 groups have another share of lost rows than before" in out


def test_json_and_parquet_have_every_line(congener, filtered, tmp_path):
    """`--json` prints the lines as objects, and `--output` writes them as Parquet."""
    file = str(tmp_path / "losses.parquet")
    code, out, err = congener("losses", filtered, "--json", "--output", file, "--trait", "heron")
    assert code == 0, err
    found = json.loads(out)
    assert (found["lost"], found["rows"], found["trait"]) == (40, 80, "heron")
    assert found["table"] == pl.read_parquet(file).to_dicts()


@pytest.mark.parametrize("place", ["run", "run/losses.parquet", "."])
def test_the_file_must_be_outside_of_runs(congener, filtered, tmp_path, place):
    """A file in a run, which `verify` would refuse, and a folder are refused at once."""
    code, _, err = congener("losses", filtered, "--output", str(tmp_path / place))
    assert code in (4, 6)
    assert "finished run" in err or "is a folder" in err
    assert congener("verify", filtered)[0] == 0


def test_a_wrong_grouping_is_refused(congener, filtered):
    """The error lists the groupings, with the exit code of a wrong option."""
    code, _, err = congener("losses", filtered, "--by", "colour")
    assert code == 2
    assert "length, language, topic" in err


def test_many_groups_are_cut():
    """A table has a limit, and a line says how many groups it leaves out."""
    groups = {f"t{number}": (100, 100 * (number % 2)) for number in range(60)}
    table, _ = tabulate({"teacher": groups})
    found = Losses(None, 6_000, 3_000, {"reject": 3}, {"file": 2}, table)
    parts = list(LossResult("run", found, has_earlier=False, output=None).render())
    (shown,) = (part for part in parts if not isinstance(part, str))
    assert shown.row_count == GROUPS_SHOWN
    assert "40 more groups: --json, or --output" in parts
    assert "not counted here: reject 3" in parts
    assert "groups of fewer than 20 rows aren't compared: file 2" in parts


def test_nothing_to_compare_is_said():
    """A run with a single group says so, and one without lost rows has nothing to say of groups."""
    found = Losses(None, 9, 3, {}, {}, tabulate({})[0])
    parts = list(LossResult("run", found, has_earlier=False, output=None).render())
    assert "there are no two groups to compare" in parts
    none = Losses(None, 0, 0, {}, {}, tabulate({})[0])
    assert list(LossResult("run", none, False, None).render()) == ["lost: 0 of 0 rows (none)"]
    whole = Losses(
        None, 200, 0, {}, {"file": 2}, tabulate({"teacher": {"a": (100, 0), "b": (100, 0)}})[0]
    )
    assert list(LossResult("run", whole, False, None).render()) == ["lost: 0 of 200 rows (0.00%)"]


def test_groups_that_do_not_differ_have_a_table_only_on_request():
    """The verdict comes first; the groups nearest to a difference would read like findings."""
    groups = {"t1": (100, 3), "t2": (100, 4), "t3": (100, 5)}
    found = Losses(None, 300, 12, {}, {}, tabulate({"teacher": groups})[0])
    parts = list(LossResult("run", found, has_earlier=False, output=None).render())
    assert parts[1].startswith("0 of 3 groups differ from the other rows")
    assert parts[2] == "3 groups: --json, or --output"
    assert all(isinstance(part, str) for part in parts)
    chosen = list(LossResult("run", found, False, None, is_chosen=True).render())
    (shown,) = (part for part in chosen if not isinstance(part, str))
    assert shown.row_count == 3
    assert chosen.index(parts[1]) < chosen.index(shown)


def test_all_rows_have_a_line_beside_an_earlier_run():
    """The whole has both counts with totals and a test, and what else differs is said."""
    shift = RateShift(None, 3, 400, 31, 900, 0.004, 0.004)
    found = Losses(None, 900, 31, {}, {}, tabulate({})[0], shift, False, ("the policies differ",))
    parts = list(LossResult("run", found, has_earlier=True, output=None).render())
    assert parts[1:3] == [
        "all rows: 3 of 400 (0.75%) before, 31 of 900 (3.44%) now; p = 0.004 (Fisher's exact test)",
        "the policies differ",
    ]
    same = found._replace(same_rows=True)
    parts = list(LossResult("run", same, has_earlier=True, output=None).render())
    assert "p =" not in parts[1]
    assert parts[2] == "both runs read the same files, so their difference isn't tested"
    assert LossResult("run", found, True, None).to_json()["shift"]["rows_before"] == 400
