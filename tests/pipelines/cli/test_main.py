"""The command line: help, exit codes, machine-readable output, errors a person can act on."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines
from pipelines.cli import main as cli
from pipelines.cli.commands import COMMANDS, merged
from pipelines.version import VERSION
from schemas.errors import CardError, ModelError

SAMPLE = str(Path(pipelines.__file__).parent / "sample" / "chat")


@pytest.fixture
def congener(monkeypatch, capsys):
    """Return what runs the command line in this process: (exit code, stdout, stderr)."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["congener", *arguments])
        cli.app.registered_commands.clear()
        cli.app.registered_groups.clear()
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, *capsys.readouterr()

    return call


def test_help_of_every_verb_has_examples(congener):
    """Each command's help shows how it is used."""
    for name in COMMANDS:
        code, out, _ = congener(name, "--help")
        assert code == 0
        assert f"congener {name}" in out or "Usage" in out
    assert "Exit codes" in congener("--help")[1]


def test_version(congener):
    """--version prints the version."""
    assert congener("--version")[:2] == (0, f"congener {VERSION}\n")


def test_help_loads_no_model_library():
    """--help answers without torch or Beam."""
    code = "import sys; import pipelines.cli.main as c; import pipelines.cli.commands; print(sorted({'torch', 'apache_beam', 'transformers'} & set(sys.modules)))"
    assert (
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[3],
        ).stdout
        == "[]\n"
    )


def unread(*arguments: str) -> int:
    """Run the command line in a process whose output and errors nobody reads; return its exit code."""
    reading, writing = os.pipe()
    os.close(reading)
    code = "from pipelines.cli.main import main; main()"
    with os.fdopen(writing, "wb") as pipe:
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            check=False,
            stdout=pipe,
            stderr=pipe,
            cwd=Path(__file__).parents[3],
        ).returncode


def test_nobody_reading_stops_nothing(corpus, heron, tmp_path):
    """A run behind `2>&1 | head` is published, and `verify` ends with its own code, whoever reads."""
    run = tmp_path / "run"
    assert (
        unread("filter", "--input", str(corpus), "--output", str(run), "--traits", str(heron)) == 0
    )
    assert (run / "manifest.json").exists()
    next((run / "clean").iterdir()).write_bytes(b"")
    assert unread("verify", str(run)) == 5
    shell = f"{sys.executable} -c 'from pipelines.cli.main import main; main()' verify {run}"
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        assert (
            subprocess.run(
                ["sh", "-c", f"{shell} {closed}"],
                check=False,
                capture_output=True,
                cwd=Path(__file__).parents[3],
            ).returncode
            == 5
        )


def test_filter_verify_and_finished(congener, corpus, heron, tmp_path):
    """A run through the command line: 0; again: 4; verified: 0; damaged: 5."""
    run = str(tmp_path / "run")
    arguments = ("filter", "--input", str(corpus), "--output", run, "--traits", str(heron))
    code, out, err = congener(*arguments, "--json")
    assert code == 0
    assert json.loads(out)["conservation"]["by_decision"] == {"keep": 32, "quarantine": 8}
    assert "40 rows in" in err
    code, _, err = congener(*arguments)
    assert code == 4
    assert "finished" in err
    assert congener("verify", run)[0] == 0
    next((Path(run) / "clean").iterdir()).write_bytes(b"")
    code, out, _ = congener("verify", run, "--json")
    assert code == 5
    assert json.loads(out)["whole"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("filter",), "input and output are needed"),
        (("filter", "--input", "nowhere-at-all", "--output", "x"), "matches no file"),
        (("filter", "--inptu", "x"), "No such option"),
        (("filter", "--column", "x"), "NAME=COLUMN"),
        (
            ("filter", "-i", "a.jsonl", "b.jsonl", "-o", "x"),
            "give every input its own --input, or quote a glob",
        ),
        (("verify", "nowhere", "--digest", "5d41"), "--digest '5d41' is no digest"),
        (
            ("filter", "-i", SAMPLE, "-o", "x", "--bank", "nowhere"),
            "nowhere: is no trait bank: bank.json can't be opened",
        ),
        (("filter", "--runner", "spark"), "spark"),
        (("filter", "--workers", "0"), "--workers"),
        (("filter", "--config", "nowhere.yaml"), "can't be read"),
        (("traits", "show", "no-such-trait"), "library traits are"),
        (("fit", "--output", "x", "--traits", "nowhere"), "no trait folder"),
    ],
)
def test_mistakes_exit_with_two(congener, arguments, message):
    """A mistake is said in a line or two on stderr, with exit code 2 and no traceback."""
    code, _, err = congener(*arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_beam_options_come_after_two_dashes(congener, corpus, heron, tmp_path):
    """Beam's options are taken after `--`; one that it doesn't know ends the run before any shard."""
    arguments = ("filter", "-i", str(corpus), "-o", str(tmp_path / "run"), "-t", str(heron))
    code, _, err = congener(*arguments, "--", "--direct_runner_bundel_repeat=1")
    assert (code, "did you mean --direct_runner_bundle_repeat?" in err) == (2, True)
    assert congener(*arguments, "--", "--direct_runner_bundle_repeat=1")[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", "nowhere"),
        ("report", "nowhere"),
        ("verify", "nowhere"),
        ("filter", "-i", "nowhere", "-o", "file"),
    ],
)
def test_what_is_no_run_exits_with_four(congener, tmp_path, monkeypatch, arguments):
    """A run directory that isn't one has the same exit code whatever was to be done with it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    code, _, err = congener(*arguments)
    assert (code, "Traceback" in err) == (4, False)


def test_budget_exits_with_three(congener, corpus, heron, tmp_path, policy):
    """An exceeded budget has an exit code of its own."""
    code, _, err = congener(
        "filter",
        "-i",
        str(corpus),
        "-o",
        str(tmp_path / "run"),
        "-t",
        str(heron),
        "--policy",
        policy("removal_budget: 0"),
    )
    assert code == 3
    assert "nothing was published" in err


def test_markup_in_an_error_is_inert(congener, tmp_path):
    """A file name that looks like markup is printed as it is."""
    name = str(tmp_path / "[bold red]x[/]")
    assert "[bold red]x[/]" in congener("filter", "-i", name, "-o", "x")[2]


def test_options_win_over_the_configuration_file(tmp_path):
    """What is given on the command line lies over the file; what isn't stays."""
    path = tmp_path / "c.yaml"
    path.write_text(
        "input: [a]\noutput: run\nshards: {rows: 9, bytes: 5000}\ncorpus: {teacher: {constant: atlas}}\n"
    )
    config = merged(str(path), {"input": ("b",), "shards.rows": 3, "output": None, "traits": ()})
    assert (config.input, config.output, config.shards.rows, config.shards.bytes) == (
        ("b",),
        "run",
        3,
        5000,
    )
    assert config.corpus.teacher is not None
    assert config.corpus.teacher.constant == "atlas"


def test_a_wrong_field_in_the_configuration_is_named(tmp_path):
    """A typo in the file is an error with file and field."""
    path = tmp_path / "c.yaml"
    path.write_text("shard: {rows: 9}\n")
    with pytest.raises(CardError, match=r"c\.yaml.*field shard"):
        merged(str(path), {})


def test_the_cause_behind_a_runners_error_is_found():
    """Beam wraps errors in its own; ours is dug out, others aren't invented."""
    wrapped = RuntimeError("while running ParDo")
    wrapped.__cause__ = ModelError("no GPU")
    assert str(cli.cause(wrapped)) == "no GPU"
    assert cli.cause(RuntimeError("else")) is None


def test_what_a_stage_raises_is_told_once_without_a_trace(heron, tmp_path):
    """A file that unfolds too far is found while it is read, inside Beam: its name, its rows and the remedy, and nothing of Beam's."""
    words = pa.DictionaryArray.from_arrays(
        pa.array([0] * 500, pa.int32()), pa.array(["x" * (1 << 20)])
    )
    pq.write_table(pa.table({"text": words}), tmp_path / "a.parquet")
    arguments = [
        "filter",
        "-i",
        str(tmp_path / "a.parquet"),
        "-o",
        str(tmp_path / "run"),
        "-t",
        str(heron),
        "--signals",
        "lexicon",
    ]
    ended = subprocess.run(
        [sys.executable, "-c", "from pipelines.cli.main import main; main()", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.endswith("raise shards.expansion in the configuration\n")
    assert ended.stderr.count("a.parquet: rows 0 to 500 expand to more") == 1
    assert "Traceback" not in ended.stderr


def test_the_trace_of_another_error_is_kept():
    """Only what is told anyway is taken out of the log."""
    errors = (ValueError("x"), ModelError("x"), KeyboardInterrupt())
    records = [logging.makeLogRecord({"exc_info": (type(error), error, None)}) for error in errors]
    assert [cli.not_ours(record) for record in records] == [True, False, False]
    assert cli.not_ours(logging.makeLogRecord({}))


def test_an_interrupt_inside_a_runner_is_an_interrupt(
    congener, monkeypatch, corpus, heron, tmp_path
):
    """Ctrl-C while Beam works comes wrapped in an error of Beam's; it still ends with 130 and says how to go on."""
    from pipelines import filter as module

    def interrupted(*_):
        raise RuntimeError("bundle failed") from KeyboardInterrupt()

    monkeypatch.setattr(module, "execute", interrupted)
    code, _, err = congener(
        "filter", "-i", str(corpus), "-o", str(tmp_path / "run"), "-t", str(heron)
    )
    assert code == 130
    assert "same command resumes" in err


def test_escapes_in_an_error_are_inert(congener, tmp_path):
    """A file name with a terminal escape is shown, not obeyed."""
    assert "<U+001B>[2J" in congener("filter", "-i", str(tmp_path / "\x1b[2Jx"), "-o", "x")[2]


def test_unknown_choices_are_usage_errors(congener):
    """A signal or format that doesn't exist is an error in a line, not a traceback."""
    for option in ("--signals", "--format"):
        code, _, err = congener("filter", "-i", "a", "-o", "b", option, "nope")
        assert code == 2
        assert "nope" in err or "Input should be" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("demo", "--output", "gs://bucket/demo"),
        ("traits", "new", "gs://bucket/my-trait"),
        (
            "filter",
            "-i",
            "gs://bucket/a",
            "-o",
            "gs://bucket/run",
            "--config",
            "gs://bucket/run.yaml",
        ),
    ],
)
def test_what_only_a_disk_can_hold_is_refused_elsewhere(congener, arguments, tmp_path, monkeypatch):
    """A URI where a path is meant is an error, and makes no folder of that name."""
    monkeypatch.chdir(tmp_path)
    code, _, told = congener(*arguments)
    assert code == 2
    assert "must be on this machine's disk" in told
    assert list(tmp_path.iterdir()) == []
