"""`congener mix`: options, output and exit codes."""

import json

import pytest

from pipelines.cli.mix import tabulate_lots
from schemas.mixes import LOTS_SHOWN, LotMix, MixCounts


@pytest.fixture
def given(held, tmp_path):
    """Return the arguments of a mix with one donor, and its output."""
    output = str(tmp_path / "mixed")
    donor = str(held / "elm.jsonl")
    words = ["mix", str(held / "run"), "--donor", donor, "--share", "0.25", "--output", output]
    return words, output


def test_a_mix_shows_lots_donors_and_the_next_commands(congener, given):
    """The tables count added rows, and the last lines say what to do next."""
    words, output = given
    code, out, err = congener(*words)
    assert code == 0, err
    assert "teacher atlas" in out
    assert "25.58%" in out
    assert "elm" in out
    assert f"done: {output}" in out
    assert f"43 rows in {output}/clean" in out
    assert f"congener inspect {output} --decision mix" in out
    assert "added 11 rows to 32, which is 25.58% of both" in err
    assert "29 clean rows of the donors can be drawn" in err
    code, out, err = congener("verify", output)
    assert code == 0, err
    assert "whole: 51 rows" in out


def test_json_has_the_record_of_the_mix(congener_json, given):
    """The manifest is printed without its long lists."""
    found = congener_json(*given[0])
    assert found["mix"]["share"] == 0.25
    assert found["mix"]["counts"]["by_donor"] == {"elm": 11}
    assert found["conservation"]["by_decision"]["mix"] == 11
    assert "outputs" not in found


def test_quiet_prints_nothing(congener, given):
    """Without warnings, a quiet mix says nothing."""
    code, out, err = congener(*given[0], "--quiet")
    assert (code, out.strip(), err.strip()) == (0, "", "")


def test_the_new_run_opens_in_every_command(congener, given):
    """`inspect` shows the added rows, and `report` counts them."""
    words, output = given
    assert congener(*words, "--quiet")[0] == 0
    code, out, err = congener("inspect", output, "--decision", "mix")
    assert code == 0, err
    assert "elm answer 1" in out
    assert "11 rows with the decision mix" in out
    code, out, err = congener("inspect", output)
    assert code == 0, err
    code, _, err = congener("report", output)
    assert code == 0, err
    code, out, err = congener("verify", output)
    assert code == 0, err
    assert "page: compared" in out


def test_a_run_without_a_mix_has_no_added_rows(congener, held):
    """The error says which command adds rows."""
    code, _, err = congener("inspect", str(held / "run"), "--decision", "mix")
    assert code == 4
    assert "congener mix writes a run with clean rows of donors" in err


@pytest.mark.parametrize(
    ("left_out", "problem"),
    [
        ("--output", "--output is needed"),
        ("--donor", "a donor is needed"),
        ("--share", "--share is"),
    ],
)
def test_what_is_missing_is_named(congener, given, left_out, problem):
    """The remedy is a whole command."""
    words = list(given[0])
    place = words.index(left_out)
    del words[place : place + 2]
    code, _, err = congener(*words)
    assert code == 2
    assert problem in err
    assert "--donor CORPUS --share 0.25 --output RUN2" in err


@pytest.mark.parametrize("share", ["0", "1", "-0.5", "2", "nan", "a quarter"])
def test_a_share_outside_its_bounds_is_an_error(congener, given, share):
    """Nothing is written."""
    words = [share if word == "0.25" else word for word in given[0]]
    code, _, err = congener(*words)
    assert code == 2
    assert "share" in err


def test_a_finished_mix_needs_restart(congener, given):
    """The exit code says that the folder can't be used."""
    words, _ = given
    assert congener(*words, "--quiet")[0] == 0
    code, _, err = congener(*words)
    assert code == 4
    assert "the run is finished" in err
    assert congener(*words, "--restart", "--quiet")[0] == 0


def test_a_missing_run_and_a_missing_donor_are_errors(congener, given, tmp_path):
    """Each error names the path."""
    words = list(given[0])
    code, _, err = congener("mix", str(tmp_path / "nothing"), *words[2:])
    assert code == 4
    assert "nothing" in err
    words[3] = str(tmp_path / "missing.jsonl")
    code, _, err = congener(*words)
    assert code == 2
    assert "missing.jsonl" in err


def test_a_short_share_is_a_warning_also_if_quiet(congener, given):
    """The run is published, and the warning says which share was reached."""
    words = ["0.6" if word == "0.25" else word for word in given[0]]
    code, _, err = congener(*words, "--quiet")
    assert code == 0
    assert "at most 47.54%" in err
    assert "of 24" in err


def test_lots_that_miss_most_rows_come_first():
    """The table lists a number of lots, counts the others, and adds up all of them."""
    lots = tuple(
        LotMix(teacher=f"t{number:02}", rows=10, wanted=5, added=number % 6) for number in range(30)
    )
    table = tabulate_lots(MixCounts(lots=lots))
    first = list(table.columns[0].cells)
    assert len(first) == LOTS_SHOWN + 2
    assert first[:5] == [f"teacher t{number:02}" for number in (0, 6, 12, 18, 24)]
    assert first[-2] == "10 more in manifest.json"
    assert list(table.columns[2].cells)[-1] == "75"
    assert list(table.columns[4].cells)[-1] == "75"


def test_added_rows_can_be_filtered_again(congener, given, held, tmp_path):
    """`clean/` of a mixed run is a corpus like any other."""
    words, output = given
    assert congener(*words, "--quiet")[0] == 0
    again = str(tmp_path / "again")
    code, out, err = congener(
        *("filter", "-i", f"{output}/clean", "-o", again, "-t", str(held / "heron"), "--json")
    )
    assert code == 0, err
    assert json.loads(out)["conservation"]["rows_in"] == 43
