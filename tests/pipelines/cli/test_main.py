"""The command line: commands, help, and exit codes."""

import errno
import importlib
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer

import pipelines
from pipelines.cli import main as cli
from pipelines.cli.main import COMMANDS
from pipelines.version import VERSION
from schemas.errors import CongenerError, InputError, ModelError, RunError, StorageError

SAMPLE = str(Path(pipelines.__file__).parent / "sample" / "chat")
ROOT = Path(__file__).parents[3]
RUN = [sys.executable, "-c", "from pipelines.cli.main import main; main()"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(congener, name):
    """Each command's help has an example on its own line, or lists subcommands."""
    code, out, _ = congener(name, "--help")
    assert code == 0
    assert f"\n  congener {name}" in out or "Commands:" in out
    assert "Traceback" not in out


def test_the_help_lists_commands_and_exit_codes(congener):
    """The help lists the commands in order, each on one uncut line."""
    code, out, _ = congener("--help")
    assert code == 0
    listed = out.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed] == list(COMMANDS)
    assert all(line.endswith(".") and not line.endswith("...") for line in listed)
    assert "Exit codes: 0 done" in out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_list_exists(name):
    """Each command in `COMMANDS` exists in its module."""
    module, _, attribute = COMMANDS[name].partition(":")
    found = getattr(importlib.import_module(module), attribute)
    assert callable(found) or isinstance(found, typer.Typer)


def test_only_a_misspelt_option_has_a_suggestion(congener):
    """An option of another command isn't taken for one with a slightly similar name."""
    code, _, err = congener("swap", "run", "--signals", "lexicon")
    assert code == 2
    assert "No such option" in err
    assert "--spans" not in err
    code, _, err = congener("swap", "run", "--span")
    assert "--spans" in err


def test_a_misspelt_command_has_a_suggestion(congener):
    """An unknown command is a usage error that suggests similar commands."""
    code, _, err = congener("fliter")
    assert code == 2
    assert "Did you mean 'filter'" in err


def test_version(congener):
    """--version prints the version."""
    assert congener("--version")[:2] == (0, f"congener {VERSION}\n")


def test_help_loads_nothing_heavy():
    """--help doesn't import slow libraries."""
    code = (
        "import sys; from pipelines.cli import main; list(map(main.load_command, main.COMMANDS)); "
        "heavy = {'torch', 'apache_beam', 'transformers', 'pyarrow', 'polars', 'pydantic'}; "
        "print(heavy & set(sys.modules))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert ended.stdout == "set()\n"


def test_examples_keep_their_lines():
    """Paragraphs with examples keep their line breaks, and Click rewraps others."""

    def command() -> None:
        """Do it.

        With care,
        of course.

        congener do it
        congener do it again
        """

    assert cli.format_help(command) == (
        "Do it.\n\nWith care,\nof course.\n\n\b\ncongener do it\ncongener do it again"
    )


def run_unread(*arguments: str) -> int:
    """Run the command line without a reader of its output; return the exit code."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        return subprocess.run(
            [*RUN, *arguments], check=False, stdout=pipe, stderr=pipe, cwd=ROOT
        ).returncode


def test_a_closed_pipe_stops_nothing(corpus, heron, tmp_path):
    """A run with a closed pipe is published, and `verify` keeps its exit code."""
    run = tmp_path / "run"
    assert run_unread("filter", "-i", str(corpus), "-o", str(run), "-t", str(heron)) == 0
    assert (run / "manifest.json").exists()
    next((run / "clean").iterdir()).write_bytes(b"")
    assert run_unread("verify", str(run)) == 5
    shell = f"{sys.executable} -c 'from pipelines.cli.main import main; main()' verify {run}"
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        command = ["sh", "-c", f"{shell} {closed}"]
        assert subprocess.run(command, check=False, capture_output=True, cwd=ROOT).returncode == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("filter",), "--input and --output are needed"),
        (("filter", "--input", "nowhere-at-all", "--output", "x"), "matches no file"),
        (("filter", "--inptu", "x"), "No such option"),
        (("filter", "--column", "x"), "NAME=COLUMN"),
        (
            ("filter", "-i", "a.jsonl", "b.jsonl", "-o", "x"),
            "give every input its own --input, or quote a glob",
        ),
        (("filter", "-i", SAMPLE, "-o", "x", "--bank", "nowhere"), "nowhere: is not a bank"),
        (("filter", "--runner", "spark"), "spark"),
        (("filter", "--workers", "0"), "--workers"),
        (("filter", "--config", "nowhere.yaml"), "can't be read"),
        (("filter", "-i", "a", "-o", "b", "--signals", "heads"), "--signals: is 'heads', not one"),
        (("filter", "-i", "a", "-o", "b", "--format", "nope"), "--format: is 'nope', not one of"),
        (("filter", "a b", "-o", "c"), "congener filter --input 'a b' --output c"),
        (("filter", "-i", "a"), "congener filter --input a --output RUN"),
        (("filter", "-i", "a", "-o", "b", "--config", "gs://b/c.yaml"), "this machine's disk"),
        (("inspect",), "Missing argument"),
    ],
)
def test_mistakes_exit_with_two(congener, tmp_path, monkeypatch, arguments, message):
    """A mistake prints a line or two without a trace, and leaves no file behind."""
    monkeypatch.chdir(tmp_path)
    code, _, err = congener(*arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", "nowhere"),
        ("report", "nowhere"),
        ("verify", "nowhere"),
        ("filter", "-i", "nowhere", "-o", "file"),
    ],
)
def test_a_folder_that_is_no_run_exits_with_four(congener, tmp_path, monkeypatch, arguments):
    """Every command exits with the same code for an unusable run folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    code, _, err = congener(*arguments)
    assert (code, "Traceback" in err) == (4, False)


@pytest.mark.parametrize(("name", "shown"), [("[b]x[/]", "[b]x[/]"), ("\x1b[2J", "<U+001B>[2J")])
def test_a_name_in_an_error_is_shown_and_not_obeyed(congener, tmp_path, name, shown):
    """A file name with markup or a terminal escape is printed as plain text."""
    assert shown in congener("filter", "-i", str(tmp_path / name), "-o", "x")[2]


def test_the_cause_behind_a_runners_error_is_found():
    """A congener error inside a Beam error is found."""
    wrapped = RuntimeError("while running ParDo")
    wrapped.__cause__ = ModelError("no GPU")
    assert str(cli.find_cause(wrapped)) == "no GPU"
    assert list(cli.walk_causes(wrapped)) == [wrapped, wrapped.__cause__]
    assert cli.find_cause(RuntimeError("other")) is None


def fail_with(monkeypatch, error: BaseException) -> None:
    """Make every command raise an error."""

    def fail(**_):
        raise error

    monkeypatch.setattr(cli, "app", fail)


def test_ctrl_c_in_a_command_is_reported(congener, monkeypatch):
    """Ctrl-C inside a command, of which typer makes an exit code, prints the hint as well."""

    def interrupt(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.doctor.examine", interrupt)
    code, out, err = congener("doctor")
    assert (code, out) == (130, "")
    assert err == "congener: interrupted; the same command resumes the run\n"


def test_an_error_during_an_interrupt_is_reported(congener, monkeypatch):
    """A congener error during Ctrl-C is reported instead of the interrupt."""
    error = RunError("the job can't be cancelled")
    error.__context__ = KeyboardInterrupt()
    fail_with(monkeypatch, error)
    code, _, err = congener("doctor")
    assert (code, "can't be cancelled" in err) == (4, True)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_an_interrupt_exits_with_130(congener, monkeypatch, error):
    """Ctrl-C exits with 130 and a hint about resuming."""
    fail_with(monkeypatch, error)
    code, out, err = congener("doctor")
    assert (code, out) == (130, "")
    assert err == "congener: interrupted; the same command resumes the run\n"


def test_an_unexpected_error_keeps_its_trace(congener, monkeypatch):
    """An unexpected error is raised unchanged."""
    fail_with(monkeypatch, ZeroDivisionError("x"))
    with pytest.raises(ZeroDivisionError):
        congener("doctor")


def test_an_error_of_a_stage_is_reported_once(heron, tmp_path):
    """An error inside Beam is printed once, with its remedy and without a trace."""
    words = pa.DictionaryArray.from_arrays(
        pa.array([0] * 500, pa.int32()), pa.array(["x" * (1 << 20)])
    )
    pq.write_table(pa.table({"text": words}), tmp_path / "a.parquet")
    paths = ["-i", str(tmp_path / "a.parquet"), "-o", str(tmp_path / "run"), "-t", str(heron)]
    ended = subprocess.run(
        [*RUN, "filter", *paths, "--signals", "lexicon"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert ended.returncode == 2
    assert "shards.expansion" in ended.stderr.splitlines()[-1]
    assert ended.stderr.count("a.parquet: rows 0 to 500") == 1
    assert "Traceback" not in ended.stderr
    assert "while running" not in ended.stderr


def test_the_trace_of_an_unexpected_error_is_logged():
    """Beam's log leaves out only the errors that the command line reports."""
    errors = (ValueError("x"), ModelError("x"), KeyboardInterrupt())
    records = [logging.makeLogRecord({"exc_info": (type(error), error, None)}) for error in errors]
    assert [cli.is_unreported(record) for record in records] == [True, False, False]
    assert cli.is_unreported(logging.makeLogRecord({}))


def list_errors() -> list[type[CongenerError]]:
    """Return the error classes with an exit code."""
    return [kind for kind in CongenerError.__subclasses__() if kind.__module__ == "schemas.errors"]


@pytest.mark.parametrize("kind", list_errors(), ids=lambda kind: kind.__name__)
def test_every_error_exits_with_its_code(congener, monkeypatch, kind):
    """An error's class decides the exit code, and its message and remedy are printed."""
    fail_with(monkeypatch, kind("is wrong", where="a.jsonl", remedy="mend it"))
    code, out, err = congener("doctor")
    assert (code, out) == (kind.exit_code, "")
    assert err == "congener: a.jsonl: is wrong\n  remedy: mend it\n"


@pytest.mark.parametrize("kind", list_errors(), ids=lambda kind: kind.__name__)
def test_every_exit_code_is_documented(kind):
    """The help lists the exit code of every error."""
    codes = {part.split()[0] for part in cli.EXIT_CODES.partition(":")[2].split(";")}
    assert str(kind.exit_code) in codes


def test_beams_step_is_left_out_of_a_message(congener, monkeypatch):
    """Beam's step name is removed from a message."""
    fail_with(monkeypatch, ModelError("no GPU [while running 'Score/ParDo(Score)']"))
    assert congener("doctor")[2] == "congener: no GPU\n"


def test_commands_are_imported_when_needed(congener):
    """Running a command imports no other command's module."""
    code = (
        "import sys; sys.argv = ['congener', 'report', '--help']\n"
        "from pipelines.cli.main import main\n"
        "try:\n    main()\nfinally:\n"
        "    print(sorted(name for name in sys.modules if name.startswith('pipelines.cli.')))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = ended.stdout.splitlines()[-1]
    assert "pipelines.cli.report" in loaded
    assert not any(f"pipelines.cli.{name}'" in loaded for name in ("filter", "fit", "traits"))


def test_a_command_without_arguments_shows_the_help(congener):
    """Without a command, `congener` and `congener traits` list their commands."""
    for arguments in ((), ("traits",)):
        code, out, err = congener(*arguments)
        assert code == 2
        assert "Commands:" in out + err


def test_a_refused_path_is_an_error_of_the_input():
    """The error for a refused path names the path, even if another error wraps it."""
    refusal = OSError(errno.ENAMETOOLONG, "File name too long", "x" * 300)
    outer = RuntimeError("stage failed")
    outer.__cause__ = refusal
    for error in (refusal, outer):
        found = cli.describe_refusal(error)
        assert isinstance(found, InputError)
        assert (found.where, found.problem) == ("x" * 300, "can't be used: File name too long")


def test_a_broken_disk_is_an_error_of_the_storage():
    """A full or failing disk is reported as a storage error."""
    found = cli.describe_refusal(OSError(errno.EIO, "Input/output error", b"disk\xff"))
    assert isinstance(found, StorageError)
    assert found.where == os.fsdecode(b"disk\xff")


def test_other_errors_keep_their_trace():
    """A bug or a broken connection isn't mistaken for a refused path."""
    assert cli.describe_refusal(ValueError("x")) is None
    assert cli.describe_refusal(OSError(errno.EPIPE, "Broken pipe")) is None


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        ("EIO", StorageError),
        ("ENOSPC", StorageError),
        ("ESTALE", InputError),
        ("EMFILE", InputError),
    ],
)
def test_a_file_that_the_system_does_not_name_is_reported(number, kind):
    """A failed read or write without a path is still reported."""
    found = cli.describe_refusal(OSError(getattr(errno, number), "fails"))
    assert isinstance(found, kind)
    assert str(found).startswith("a file or folder: can't be used: fails")


def test_ascii_terminals_get_every_command(tmp_path):
    """A table is printed in ASCII on ASCII terminals."""
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [*RUN, "traits", "show", "héron"], capture_output=True, check=False, env=environment
    )
    assert ended.returncode == 2
    assert b"h?ron" in ended.stderr
    assert not {0x1B} & set(ended.stderr)


HELP = [
    *((name,) for name in COMMANDS),
    *(("traits", name) for name in ("list", "show", "new", "check")),
]


@pytest.mark.parametrize("words", [(), *HELP], ids=" ".join)
def test_help_fits_eighty_columns(congener, monkeypatch, words):
    """No command's help is wider than 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = congener(*words, "--help")
    assert code == 0
    assert [line for line in out.splitlines() if len(line) > 80] == []


def test_help_lists_options_in_groups(congener):
    """The help of `filter` has a heading for each group, with other options last."""
    out = congener("filter", "--help")[1]
    headings = [line for line in out.splitlines() if re.fullmatch(r"[A-Z][a-z ]+:", line)]
    assert headings[:2] == ["Input and output:", "Traits and policy:"]
    assert headings[-1] == "Other options:"
    assert "Options:" in congener("doctor", "--help")[1].splitlines()
