"""`congener decide`: options, output and exit codes."""

import json

import pytest

from pipelines.cli.decide import skip_known
from pipelines.runs.publication import record_notices
from schemas.events import Event, Noticed, RowsPlanned
from schemas.notices import Notice, warn
from tests.support.runs import read_ledger


@pytest.fixture
def given(held, tmp_path):
    """Return the arguments that let a run flag its herons, and the output."""
    policy = tmp_path / "flag.yaml"
    policy.write_text("traits: {heron: {action: flag}}\n")
    output = str(tmp_path / "again")
    return ["decide", str(held / "run"), "--policy", str(policy), "--output", output], output


def test_a_table_compares_the_decisions(congener, given):
    """The table has the old and the new counts, and the last lines say what to do next."""
    words, output = given
    code, out, err = congener(*words)
    assert code == 0, err
    rows = [line.split() for line in out.splitlines()]
    assert ["flag", "0", "8", "+8"] in rows
    assert ["quarantine", "8", "0", "-8"] in rows
    assert f"done: {output}" in out
    assert f"40 rows in {output}/clean" in out
    assert out.endswith(f"next: congener diff {words[1]} {output}\n")
    code, out, err = congener("verify", output, "--inputs")
    assert code == 0, err


def test_masks_are_mentioned_at_the_end(congener, given, tmp_path):
    """A decided run says what `filter` says about masked rows, with the same command."""
    words, output = given
    (tmp_path / "flag.yaml").write_text("traits: {heron: {action: mask}}\n")
    code, out, err = congener(*words)
    assert code == 0, err
    assert f"for the trainer: 40 rows in {output}/clean; 8 have masks" in out
    assert "A trainer ignores masks and learns the masked text" in out
    assert f"      congener apply-masks {output} --output TOKENS --tokenizer STUDENT" in out


def test_what_the_run_said_is_not_said_again(run):
    """Only notices that the earlier run doesn't have reach the listener, and all other events."""
    folder, manifest = "a run", run[1]
    idle = warn("exception 1 of the policy matches no row")
    said = (Notice("read: congener inspect 'a run'"), warn("odd"), idle)
    passed: list[Event] = []
    known = record_notices(manifest, said)
    listener = skip_known(passed.append, (folder, known), "b")
    events = (
        Noticed(Notice("read: congener inspect b")),
        Noticed(warn("odd")),
        Noticed(warn("odder")),
        Noticed(idle),
        RowsPlanned(3, 0),
    )
    for event in events:
        listener(event)
    assert passed == list(events[2:])


def test_dropped_rows_cannot_be_checked(congener, given, tmp_path):
    """If the new policy drops more rows, the command says that their text is gone."""
    words, output = given
    (tmp_path / "flag.yaml").write_text("traits: {heron: {action: drop}}\n")
    said = (
        "8 rows are dropped, and a run keeps no text of dropped rows: neither the report nor "
        "congener certify can find wrong removals among them"
    )
    for more in (("--dry-run",), ()):
        code, out, err = congener(*words, *more)
        assert code == 0, err
        assert said in " ".join(out.split())
    (tmp_path / "same.yaml").write_text("traits: {heron: {action: drop}}\nremoval_budget: 0.9\n")
    given_again = ("decide", output, "--policy", str(tmp_path / "same.yaml"), "--dry-run")
    code, out, err = congener(*given_again)
    assert code == 0, err
    assert "text of dropped rows" not in out


def test_json_has_the_manifest(congener_json, given, held):
    """The manifest is printed without its long lists."""
    found = congener_json(*given[0])
    assert found["conservation"]["by_decision"] == {"flag": 8, "keep": 32}
    assert found["circumstances"]["decided_from"]
    assert "outputs" not in found


def test_quiet_prints_nothing(congener, given):
    """Without warnings, a quiet decision says nothing."""
    code, out, err = congener(*given[0], "--quiet")
    assert (code, out.strip(), err.strip()) == (0, "", "")


def test_a_finished_run_is_replaced_only_on_demand(congener, given):
    """A finished run isn't overwritten without --restart."""
    words, _ = given
    assert congener(*words)[0] == 0
    code, _, err = congener(*words)
    assert code == 4
    assert "finished" in err
    assert congener(*words, "--restart")[0] == 0


@pytest.mark.parametrize("leave", ["--policy", "--output"])
def test_policy_and_output_are_needed(congener, given, leave):
    """The remedy is a whole command."""
    words = [*given[0]]
    place = words.index(leave)
    del words[place : place + 2]
    code, _, err = congener(*words)
    assert code == 2
    assert f"{leave} is needed" in err
    assert "--policy POLICY --output RUN2" in err


def test_mistakes_have_exit_codes(congener, given, tmp_path):
    """A policy for another trait, a missing policy, and a folder without a run are refused."""
    words, _ = given
    policy = tmp_path / "stork.yaml"
    policy.write_text("traits: {stork: {action: drop}}\n")
    words[3] = str(policy)
    code, _, err = congener(*words)
    assert code == 2
    assert "stork" in err
    words[3] = str(tmp_path / "nowhere.yaml")
    assert congener(*words)[0] == 2
    code, _, err = congener("decide", str(tmp_path), *words[2:])
    assert code == 4
    assert "is not a run" in err


def test_rows_that_are_held_anew_need_a_threshold_within_the_floor(congener, given, tmp_path):
    """A threshold below the span floor is refused, and the run's folder stays free."""
    words, output = given
    policy = tmp_path / "low.yaml"
    policy.write_text("traits: {heron: {threshold: 0.01}}\n")
    words[3] = str(policy)
    code, _, err = congener(*words)
    assert code == 4
    assert "would fire at 0.0100" in err
    assert congener(*given[0][:3], str(tmp_path / "flag.yaml"), "-o", output)[0] == 0


def test_a_dry_run_writes_nothing(congener, congener_json, given, held, tmp_path):
    """The counts are printed without an output, and exceptions for no row are named last."""
    words = ["decide", str(held / "run"), "--policy", str(tmp_path / "flag.yaml"), "--dry-run"]
    (tmp_path / "flag.yaml").write_text(
        "traits: {heron: {action: flag}}\n"
        "exceptions: [{row: '0.jsonl:77', trait: heron, action: keep, reason: a slip},\n"
        " {row: '0.jsonl:0', action: keep, reason: a slip}]\n"
    )
    code, out, err = congener(*words)
    assert code == 0, err
    lines = [*out.splitlines()]
    assert lines.pop() == (
        "warning: exception 2 of the policy (row 0.jsonl:0) changes nothing: no trait fired on "
        "that row"
    )
    assert ["flag", "0", "8", "+8"] in [line.split() for line in lines]
    assert lines[-1] == "warning: exception 1 of the policy (row 0.jsonl:77) matches no row"
    assert "8 rows would be decided otherwise: 8 from quarantine to flag" in lines
    assert ["2", "*", "row", "0.jsonl:0", "1", "none"] in [line.split() for line in lines]
    found = congener_json(*words)
    assert found["moved"] == [{"before": "quarantine", "after": "flag", "rows": 8}]
    assert [item["rows"] for item in found["effects"]] == [0, 1]
    assert found["now"] == {"flag": 8, "keep": 32}
    assert "text of dropped rows" not in out
    assert not (tmp_path / "again").exists()
    assert congener("decide", str(held / "run"), "--dry-run")[0] == 2


def test_an_exception_for_no_row_is_the_last_line(congener, given, tmp_path):
    """A mistyped row is warned of at the end of the output, where it is seen."""
    words, _ = given
    (tmp_path / "flag.yaml").write_text(
        "exceptions: [{row: '0.jsonl:77', action: keep, reason: a slip}]\n"
    )
    code, out, err = congener(*words)
    assert code == 0, err
    assert out.splitlines()[-1] == (
        "warning: 1 exception of the policy matches no row, so it changed nothing: "
        "1 (row 0.jsonl:77); the reason is above"
    )


@pytest.mark.parametrize("more", [(), ("--dry-run",), ("--quiet",)])
def test_strict_fails_if_an_exception_changes_nothing(congener, given, tmp_path, more):
    """A row on which no trait fired is as much of a mistake as a row that doesn't exist."""
    words, _ = given
    text = "exceptions: [{row: '0.jsonl:0', action: keep, reason: read}]\n"
    (tmp_path / "flag.yaml").write_text(text)
    assert congener(*words, *more)[0] == 0
    code, out, err = congener(*words, *more, "--restart", "--strict")
    assert code == 8, err
    assert "changes nothing: no trait fired on that row" in " ".join((out + err).split())
    if not more:
        assert out.splitlines()[-1] == (
            "warning: 1 exception of the policy changes nothing on its row: 1 (row 0.jsonl:0); "
            "the reason is above"
        )


@pytest.mark.parametrize("name", ["0.jsonl:999", "atlantis"])
@pytest.mark.parametrize("more", [(), ("--dry-run",), ("--quiet",)])
def test_strict_fails_if_an_exception_matches_no_row(congener, given, tmp_path, name, more):
    """A policy with an idle exception exits with 8 under --strict, as a test and as a run."""
    words, _ = given
    kind = f"row: '{name}'" if ":" in name else f"trait: heron, lot: {{teacher: {name}}}"
    text = f"exceptions: [{{{kind}, action: keep, reason: read}}]\n"
    (tmp_path / "flag.yaml").write_text(text)
    code, out, err = congener(*words, *more, "--strict")
    assert code == 8, err
    assert "exception 1" in out + err or "1 exception" in out
    assert "matches no row" in " ".join((out + err).split())
    (tmp_path / "flag.yaml").write_text(text.replace("999", "1").replace("atlantis", "atlas"))
    code, _, err = congener(*words, "--restart", *more, "--strict")
    assert code == 0, err


@pytest.fixture
def released(congener, given, held, tmp_path):
    """Release two of the held herons, and return the new run's folder and both names."""
    names = [
        f"{row['source']}:{row['row']}"
        for row in read_ledger(held / "run")
        if row["decision"] == "quarantine"
    ][:2]
    exceptions = ", ".join(
        f"{{row: '{name}', trait: heron, action: keep, reason: read}}" for name in names
    )
    (tmp_path / "kept.yaml").write_text(f"exceptions: [{exceptions}]\n")
    output = str(tmp_path / "released")
    code, _, err = congener(
        "decide", str(held / "run"), "--policy", str(tmp_path / "kept.yaml"), "-o", output
    )
    assert code == 0, err
    return output, names


def test_a_release_is_kept_by_a_later_decision(congener, congener_json, released, given, tmp_path):
    """A file that names one trait keeps the run's exceptions, and the output says so."""
    run, names = released
    words = ("decide", run, "--policy", str(tmp_path / "flag.yaml"))
    said = f"flag.yaml changes the policy of {run}, and the rest of that policy still holds: "
    for more in (("--dry-run",), ("--output", str(tmp_path / "later"))):
        code, out, err = congener(*words, *more)
        assert code == 0, err
        assert f"{said}2 exceptions; --replace-policy leaves it out" in " ".join(
            (out + err).split()
        )
        assert ["flag", "0", "6", "+6"] in [line.split() for line in out.splitlines()]
    decisions = {
        f"{row['source']}:{row['row']}": row["decision"] for row in read_ledger(tmp_path / "later")
    }
    assert [decisions[name] for name in names] == ["keep", "keep"]
    found = congener_json(*words, "--dry-run")
    (tmp_path / "whole.json").write_text(json.dumps(found["policy"]))
    again = congener_json(
        *("decide", run, "--replace-policy", "--dry-run"),
        *("--policy", str(tmp_path / "whole.json")),
    )
    assert (again["now"], again["policy"]) == (found["now"], found["policy"])
    assert again["notes"] == []
    code, _, err = congener("verify", str(tmp_path / "later"), "--inputs")
    assert code == 0, err


def test_a_policy_alone_says_what_it_leaves_out(congener, released, given, tmp_path):
    """With --replace-policy, the released rows are decided like any other, and that is said."""
    run, _ = released
    words = ("decide", run, "--replace-policy", "--policy", str(tmp_path / "flag.yaml"))
    said = f"replaces the policy of {run}, of which this no longer holds: 2 exceptions"
    for more in (("--dry-run",), ("--output", str(tmp_path / "later"))):
        code, out, err = congener(*words, *more)
        assert code == 0, err
        assert said in " ".join((out + err).split())
        assert ["flag", "0", "8", "+8"] in [line.split() for line in out.splitlines()]


def test_a_dry_run_fails_as_the_run_would(congener, released, given, tmp_path):
    """A budget that the decisions exceed ends a dry run with the error of the run."""
    run, _ = released
    (tmp_path / "flag.yaml").write_text("removal_budget: 0.1\n")
    words = ("decide", run, "--policy", str(tmp_path / "flag.yaml"))
    for more in (("--dry-run",), ("--output", str(tmp_path / "later"))):
        code, _, err = congener(*words, *more)
        assert code == 3
        assert "6 of 40 rows (15.0%) exceed the removal_budget of 10.0%" in err
