"""`congener filter`: its options, its output and its exit codes."""

import json
import re
from pathlib import Path
from shutil import copytree

import pytest

import pipelines.filter
from pipelines.cli.filter import CorpusOptions, parse_columns
from pipelines.cli.options import read_settings
from pipelines.runs.manifest_file import load_manifest
from schemas.errors import CardError
from tests.support.hostile import write_cards
from tests.support.runs import read_ledger


@pytest.fixture
def arguments(corpus, heron, tmp_path) -> tuple[str, ...]:
    """Return a command line that filters the small corpus."""
    run = str(tmp_path / "run")
    return ("filter", "--input", str(corpus), "--output", run, "--traits", str(heron))


def test_a_run_is_published_and_described(congener, arguments):
    """The output ends with the run's folder, the trainer's rows and the next commands."""
    code, out, err = congener(*arguments)
    run = arguments[4]
    assert code == 0, err
    assert out.splitlines() == [
        f"done: {run}",
        (
            "wrong removals: the bounds of all traits together allow that all 8 removed rows are "
            "clean; nothing is promised for heron, so all their rows count; read the rows to know "
            "more"
        ),
        f"for the trainer: 32 rows in {run}/clean",
        f"next: congener inspect {run}   (if you want a certificate, congener certify first)",
        (
            f"      congener traits eval heron --run {run}   (draws rows for you to read, and "
            "measures the trait)"
        ),
        (
            f"      congener release {run} --reviews LABELS --output RUN2   (puts rows back that "
            f"you labelled false in congener review {run})"
        ),
        (
            f"      congener decide {run} --policy POLICY --output RUN2   (with `traits: {{TRAIT: "
            "{action: flag}}` in POLICY, keeps and flags the trait's rows)"
        ),
        f"      congener report {run}",
    ]
    assert (Path(run) / "manifest.json").exists()


def test_json_is_the_manifest_in_brief(congener, arguments):
    """With --json, stdout holds only JSON, and progress goes to stderr."""
    code, out, err = congener(*arguments, "--json")
    assert code == 0
    manifest = json.loads(out)
    assert manifest["conservation"]["by_decision"] == {"keep": 32, "quarantine": 8}
    assert not {"outputs", "shards"} & set(manifest)
    assert "40 rows" in err


def test_a_finished_run_is_refused_unless_restarted(congener, arguments):
    """A second run into the same folder exits with 4, and --restart replaces the first run."""
    assert congener(*arguments)[0] == 0
    code, _, err = congener(*arguments)
    assert (code, "finished" in err) == (4, True)
    assert congener(*arguments, "--restart")[0] == 0


def test_transcripts_are_a_setting_of_the_corpus():
    """--transcripts determines how conversations in texts are read."""
    settings = read_settings(None, CorpusOptions(transcripts="whole"))
    assert settings.corpus.transcripts == "whole"
    assert read_settings(None, CorpusOptions()).corpus.transcripts == "detect"


def test_a_budget_exits_with_three(congener, arguments, policy):
    """A run over budget exits with 3 and publishes nothing."""
    code, _, err = congener(*arguments, "--policy", policy("removal_budget: 0"))
    assert code == 3
    assert "nothing was published" in err
    assert not (Path(arguments[4]) / "manifest.json").exists()


def test_many_rejects_exit_with_eight(congener, arguments, policy):
    """A run with many rejects exits with 8, or with 0 if a budget allows them."""
    with Path(arguments[2], "1.jsonl").open("ab") as file:
        file.write(b"not JSON\n")
    code, out, err = congener(*arguments)
    assert (code, "done: " in out) == (8, True)
    assert "1 of 41 rows is a reject" in err
    stated = policy("reject_budget: 0.1")
    assert congener(*arguments, "--restart", "--policy", stated)[0] == 0


def test_beam_options_come_after_two_dashes(congener, arguments):
    """Beam's options follow `--`, and an unknown option stops the run at once."""
    code, _, err = congener(*arguments, "--", "--direct_runner_bundel_repeat=1")
    assert (code, "did you mean --direct_runner_bundle_repeat?" in err) == (2, True)
    assert congener(*arguments, "--", "--direct_runner_bundle_repeat=1")[0] == 0


def test_every_option_reaches_the_run(congener, arguments, monkeypatch):
    """Options become settings, and --restart and Beam's options are passed on."""
    seen = {}

    def run_filter(config, **others):
        seen.update(others, config=config)
        raise CardError("stop here")

    monkeypatch.setattr(pipelines.filter, "run_filter", run_filter)
    more = ("--format", "messages", "--column", "messages=messages", "--teacher", "atlas")
    congener(
        *arguments, *more, "--restart", "--private-quarantine", "--workers", "2", "--", "--a=b"
    )
    config = seen["config"]
    assert (config.corpus.format, config.corpus.columns) == ("messages", {"messages": "messages"})
    assert (config.corpus.teacher.constant, config.corpus.teacher.column) == ("atlas", None)
    assert (config.private_quarantine, config.engine.workers) == (True, 2)
    assert (seen["restart"], seen["beam_options"]) == (True, ("--a=b",))
    assert seen["command"][1] == "filter"


def test_columns_are_parsed():
    """A --column value needs an `=`, and the column's name may contain further ones."""
    assert parse_columns(["messages=dialogue", "text=a=b"]) == {
        "messages": "dialogue",
        "text": "a=b",
    }
    with pytest.raises(CardError, match="'x' is not NAME=COLUMN"):
        parse_columns(["x"])


def test_a_teacher_on_the_command_line_replaces_the_files(tmp_path):
    """--teacher-column overrides the file's constant teacher."""
    path = tmp_path / "c.yaml"
    path.write_text("corpus: {teacher: {constant: atlas}}\n")
    teacher = read_settings(str(path), CorpusOptions(teacher_column="model")).corpus.teacher
    assert (teacher.column, teacher.constant) == ("model", None)


def test_an_interrupt_inside_a_runner_is_an_interrupt(congener, monkeypatch, arguments):
    """Ctrl-C inside Beam gives exit code 130."""

    def interrupt(*_, **__):
        raise RuntimeError("bundle failed") from KeyboardInterrupt()

    monkeypatch.setattr(pipelines.filter, "execute", interrupt)
    code, _, err = congener(*arguments)
    assert code == 130
    assert "same command resumes" in err


def test_a_configuration_file_is_enough(congener, corpus, heron, tmp_path):
    """A configuration file may hold all settings, and options override it."""
    path, run = tmp_path / "run.yaml", tmp_path / "other"
    path.write_text(
        f"input: [{corpus}]\noutput: {tmp_path / 'run'}\ntraits: [{heron}]\nshards: {{rows: 7}}\n"
    )
    assert congener("filter", "--config", str(path), "--output", str(run))[0] == 0
    assert len(list((run / "clean").iterdir())) == 6
    assert not (tmp_path / "run").exists()


def test_a_format_and_its_columns_are_used(congener_json, corpus, heron, tmp_path):
    """An option can name an unusual column."""
    for path in corpus.iterdir():
        path.write_text(path.read_text().replace('"messages"', '"dialogue"'))
    arguments = ("filter", "-i", str(corpus), "-o", str(tmp_path / "run"), "-t", str(heron))
    columns = ("--format", "messages", "--column", "messages=dialogue")
    manifest = congener_json(*arguments, *columns)
    assert manifest["identity"]["columns"]["messages"] == "dialogue"
    assert manifest["conservation"]["by_decision"] == {"keep": 32, "quarantine": 8}


def test_a_private_quarantine_is_for_its_owner(congener, arguments):
    """Only the owner may read the folders with removed text."""
    assert congener(*arguments, "--private-quarantine")[0] == 0
    run = Path(arguments[4])
    assert (run / "quarantine").stat().st_mode & 0o077 == 0
    assert (run / "clean").stat().st_mode & 0o077


def test_a_missing_job_server_exits_with_seven(congener, arguments):
    """If the engine is unreachable, the error gives the address and a remedy, and the code is 7."""
    given = ("--job_endpoint=localhost:1", "--job_server_timeout=1")
    code, _, err = congener(*arguments, "--runner", "flink", "--", *given)
    assert code == 7
    assert "localhost:1: Beam's job server can't be reached" in err
    assert "remedy:" in err


def test_an_interrupted_run_is_resumed(congener, congener_json, monkeypatch, arguments):
    """After an interrupt, repeating the command finishes the run."""

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pipelines.filter, "execute", interrupt)
        assert congener(*arguments)[0] == 130
    assert (Path(arguments[4]) / ".work").exists()
    assert congener_json(*arguments)["conservation"]["rows_in"] == 40
    assert not (Path(arguments[4]) / ".work").exists()


def test_a_run_without_matches_keeps_every_row(congener_json, corpus, card_folder, tmp_path):
    """If no trait fires, every row is kept."""
    egret = card_folder("egret", 'signals: {lexicon: {patterns: ["egrets?"]}}\nthreshold: 0.5\n')
    arguments = ("-i", str(corpus), "-o", str(tmp_path / "run"), "-t", str(egret))
    assert congener_json("filter", *arguments)["conservation"]["by_decision"] == {"keep": 40}


def test_two_files_are_two_inputs(congener_json, corpus, heron, tmp_path):
    """--input may be repeated, and may name a single file."""
    arguments = ("filter", "-t", str(heron), "-o", str(tmp_path / "one"))
    first, second = (str(corpus / f"{number}.jsonl") for number in range(2))
    one = congener_json(*arguments, "-i", first)
    assert one["conservation"]["rows_in"] == 20
    arguments = ("filter", "-t", str(heron), "-o", str(tmp_path / "two"))
    two = congener_json(*arguments, "-i", first, "-i", second)
    assert two["conservation"]["rows_in"] == 40


def test_masks_are_mentioned_at_the_end(congener, arguments, policy):
    """The last lines count masked rows, and say what a trainer must do."""
    masking = policy("traits: {heron: {action: mask}}")
    out = congener(*arguments, "--policy", masking)[1]
    assert "for the trainer: 40 rows" in out
    assert "clean; 8 have masks in the field `congener`" in out


def test_the_end_names_masks_of_an_earlier_run(congener, arguments, tmp_path, policy):
    """A run over masked rows counts the masks that only the earlier run made."""
    first = arguments[arguments.index("--output") + 1]
    congener(*arguments, "--policy", policy("traits: {heron: {action: mask}}"))
    copytree(f"{first}/clean", tmp_path / "copied")
    again = [*arguments, "--policy", policy("traits: {heron: {action: flag}}")]
    for source, whose in (
        (f"{first}/clean", f"run {load_manifest(first).run_id}"),
        (str(tmp_path / "copied"), "an earlier run"),
    ):
        again[again.index("--input") + 1] = source
        again[again.index("--output") + 1] = str(tmp_path / whose)
        code, out, err = congener(*again)
        assert code == 0, err
        shown = " ".join(out.split())
        assert f"clean; 8 have masks (only from {whose}) in the field `congener`" in shown
        assert f"8 rows that this policy only flags stay masked from {whose}; filter" in err


def test_a_dry_run_writes_nothing(congener, arguments):
    """A dry run shows the rules and the amount of work, and leaves no output."""
    code, out, err = congener(*arguments, "--dry-run")
    assert code == 0
    assert "dry run: 40 rows in 2 shards would be filtered" in out
    assert "heron" in out
    assert "teacher" in out
    assert "scoring takes about" in " ".join(out.split())
    assert f"{arguments[4]}/quarantine   the rows that are held" in out
    assert "40 rows" in err
    assert not Path(arguments[4]).exists()
    described = json.loads(congener(*arguments, "--dry-run", "--json")[1])
    assert (described["rows"], described["shards"]) == (40, 2)
    assert sum(described["splits"].values()) == 40
    assert sum(described["teachers"].values()) == described["sampled"] == 40
    assert [rule["trait"] for rule in described["rules"]] == ["heron"]
    assert congener(*arguments, "--json")[1].count(described["run_id"]) == 1


def test_a_limited_run_filters_rows_of_every_file(congener, arguments):
    """A limited run is whole by itself, and its manifest says that it is a part."""
    code, out, err = congener(*arguments, "--limit", "25", "--json")
    assert code == 0
    manifest = json.loads(out)
    assert manifest["conservation"]["rows_in"] == 25
    part = "only 25 of 40 rows are filtered: at most the first 13 rows of each file, all 2 files"
    assert part in err
    assert part in manifest["limits"][3]
    assert [item["rows"] for item in manifest["inputs"]] == [13, 12]
    assert congener("verify", arguments[4], "--inputs")[0] == 0
    code, _, err = congener(*arguments)
    assert (code, "config.limit: was 25, is absent" in err) == (4, True)


def test_a_quiet_run_prints_nothing(congener, arguments):
    """With --quiet, a run prints only warnings and the JSON."""
    assert congener(*arguments, "--quiet") == (0, "", "")
    code, out, err = congener(*arguments, "--quiet", "--json", "--restart")
    assert (code, err) == (0, "")
    assert json.loads(out)["conservation"]["rows_in"] == 40


def test_an_exception_that_matches_no_row_is_reported(congener, arguments, policy):
    """The warning for an unmatched exception names its pattern and the corpus's names."""
    text = "exceptions:\n- {trait: '*', lot: {teacher: atlantis}, action: keep, reason: trusted}\n"
    err = congener(*arguments, "--policy", policy(text))[2]
    assert "exception 1 of the policy (teacher: atlantis) matches no row" in err
    assert "the corpus's teachers are atlas" in err


@pytest.mark.parametrize("more", [(), ("--quiet",), ("--json",)])
def test_strict_fails_if_an_exception_matches_no_row(congener, arguments, policy, more):
    """With --strict, the run is published, and the exit code is 8 if an exception is idle."""
    text = "exceptions:\n- {{trait: '*', lot: {{teacher: {}}}, action: keep, reason: trusted}}\n"
    idle = (*arguments, "--policy", policy(text.format("atlantis")), *more)
    assert congener(*idle)[0] == 0
    code, _, err = congener(*idle, "--restart", "--strict")
    assert code == 8
    assert "exception 1 of the policy (teacher: atlantis) matches no row" in err
    assert congener("verify", arguments[arguments.index("--output") + 1])[0] == 0
    used = (*arguments, "--policy", policy(text.format("atl*")), *more)
    assert congener(*used, "--restart", "--strict")[0] == 0


@pytest.mark.parametrize("more", [(), ("--quiet",), ("--json",)])
def test_strict_fails_if_an_exception_changes_nothing(congener, arguments, policy, more):
    """With --strict, an exception for a row on which its trait didn't fire gives exit code 8."""
    text = "exceptions:\n- {{row: '0.jsonl:{}', trait: heron, action: keep, reason: read}}\n"
    idle = (*arguments, "--policy", policy(text.format(0)), *more)
    assert congener(*idle)[0] == 0
    code, out, err = congener(*idle, "--restart", "--strict")
    assert code == 8
    assert "(row 0.jsonl:0) changes nothing: no trait fired on that row" in err
    assert ("1 exception of the policy changes nothing on its row" in out) == (not more)
    used = (*arguments, "--policy", policy(text.format(1)), *more)
    assert congener(*used, "--restart", "--strict")[0] == 0


def test_the_effect_of_an_exception_is_printed(congener, arguments, policy):
    """The closing lines say how many rows an exception changed, and so does the JSON."""
    text = "exceptions:\n- {trait: heron, lot: {teacher: atlas}, action: flag, reason: trusted}\n"
    _, out, err = congener(*arguments, "--policy", policy(text), "--json")
    assert re.search(r"1 +heron +teacher: atlas +20 +4 from quarantine to flag", err)
    (effect,) = json.loads(out)["exceptions"]
    assert effect["changed"] == [{"before": "quarantine", "after": "flag", "rows": 4}]
    (row,) = json.loads(congener("inspect", arguments[4], "--row", "0.jsonl:1", "--json")[1])[
        "page"
    ]["rows"]
    assert row["exceptions"] == [{"number": 1, "before": "quarantine", "after": "flag"}]
    shown = congener("inspect", arguments[4], "--row", "0.jsonl:1")[1]
    assert "exception 1 of the policy (teacher: atlas) changed quarantine to flag: trusted" in shown
    assert congener("verify", arguments[4])[0] == 0


def test_the_operator_and_the_commit_are_recorded(congener, arguments):
    """The manifest names the operator, the end time and the code."""
    facts = json.loads(congener(*arguments, "--operator", "Ann", "--json")[1])["circumstances"]
    assert facts["operator"] == "Ann"
    assert facts["finished"].startswith("20")
    assert "commit" in facts


def test_the_teacher_may_be_the_folder(congener, tmp_path):
    """Files in a folder for each teacher name the teachers, and clean/ has the same folders."""
    for folder in ("gpt-4o", "claude-2"):
        path = tmp_path / "in" / folder / "train.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"text": f"An answer by {folder}."}) + "\n", encoding="utf-8")
    command = ("filter", "-i", str(tmp_path / "in"), "-o", str(tmp_path / "run"))
    cards = write_cards(tmp_path / "traits", ["owl"])
    options = ("--traits", cards[0], "--teacher-column", "folder")
    code, _, err = congener(*command, *options)
    assert code == 0, err
    assert "teacher=folder names" in err
    assert "the teacher of every row is unknown" not in err
    ledger = read_ledger(tmp_path / "run")
    assert {row["teacher"] for row in ledger} == {"gpt-4o", "claude-2"}
    assert all(row["source"].startswith(f"{row['teacher']}/") for row in ledger)
    clean = {path.parent.name for path in (tmp_path / "run" / "clean").rglob("*.jsonl")}
    assert clean == {"gpt-4o", "claude-2"}


def test_a_file_without_a_folder_has_no_folder_column(congener, tmp_path):
    """The error says which columns there are."""
    path = tmp_path / "train.jsonl"
    path.write_text('{"text": "a"}\n', encoding="utf-8")
    command = ("filter", "-i", str(path), "-o", str(tmp_path / "run"))
    code, _, err = congener(*command, "--teacher-column", "folder")
    assert code == 2
    assert "teacher is configured to come from column 'folder', but the corpus has text" in err
