"""`congener filter`: its options, its output and its exit codes."""

import json
from pathlib import Path

import pytest

import pipelines.filter
from pipelines.cli.filter import CorpusOptions, parse_columns
from pipelines.cli.options import read_settings
from schemas.errors import CardError


@pytest.fixture
def arguments(corpus, heron, tmp_path) -> tuple[str, ...]:
    """Return a command line that filters the small corpus."""
    run = str(tmp_path / "run")
    return ("filter", "--input", str(corpus), "--output", run, "--traits", str(heron))


def test_a_run_is_published_and_described(congener, arguments):
    """The end of the output is the run's folder and the next commands."""
    code, out, err = congener(*arguments)
    run = arguments[4]
    assert code == 0, err
    assert out == f"done: {run}\nnext: congener inspect {run}; congener report {run}\n"
    assert (Path(run) / "manifest.json").exists()


def test_json_is_the_manifest_in_brief(congener, arguments):
    """With --json stdout is JSON alone, and progress is on stderr."""
    code, out, err = congener(*arguments, "--json")
    assert code == 0
    manifest = json.loads(out)
    assert manifest["conservation"]["by_decision"] == {"keep": 32, "quarantine": 8}
    assert not {"outputs", "shards"} & set(manifest)
    assert "40 rows" in err


def test_a_finished_run_is_refused_unless_restarted(congener, arguments):
    """A second run ends with 4, and --restart replaces the first one."""
    assert congener(*arguments)[0] == 0
    code, _, err = congener(*arguments)
    assert (code, "finished" in err) == (4, True)
    assert congener(*arguments, "--restart")[0] == 0


def test_a_budget_exits_with_three(congener, arguments, policy):
    """An exceeded budget has its own exit code, and nothing is published."""
    code, _, err = congener(*arguments, "--policy", policy("removal_budget: 0"))
    assert code == 3
    assert "nothing was published" in err
    assert not (Path(arguments[4]) / "manifest.json").exists()


def test_beam_options_come_after_two_dashes(congener, arguments):
    """Beam's options come after `--`; an unknown one ends the run before any shard."""
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
    congener(*arguments, *more, "--restart", "--vectors", "--workers", "2", "--", "--a=b")
    config = seen["config"]
    assert (config.corpus.format, config.corpus.columns) == ("messages", {"messages": "messages"})
    assert (config.corpus.teacher.constant, config.corpus.teacher.column) == ("atlas", None)
    assert (config.vectors, config.engine.workers) == (True, 2)
    assert (seen["restart"], seen["beam_options"]) == (True, ("--a=b",))
    assert seen["command"][1] == "filter"


def test_columns_are_parsed():
    """A column's name may hold `=`, and a pair without one is an error."""
    assert parse_columns(["messages=dialogue", "text=a=b"]) == {
        "messages": "dialogue",
        "text": "a=b",
    }
    with pytest.raises(CardError, match="'x' is not NAME=COLUMN"):
        parse_columns(["x"])


def test_a_teacher_on_the_command_line_replaces_the_files(tmp_path):
    """Name and column of a teacher exclude each other, so that one option replaces both."""
    path = tmp_path / "c.yaml"
    path.write_text("corpus: {teacher: {constant: atlas}}\n")
    teacher = read_settings(str(path), CorpusOptions(teacher_column="model")).corpus.teacher
    assert (teacher.column, teacher.constant) == ("model", None)


def test_an_interrupt_inside_a_runner_is_an_interrupt(congener, monkeypatch, arguments):
    """Ctrl-C while Beam works arrives inside an error of Beam's, and still ends with 130."""

    def interrupt(*_, **__):
        raise RuntimeError("bundle failed") from KeyboardInterrupt()

    monkeypatch.setattr(pipelines.filter, "execute", interrupt)
    code, _, err = congener(*arguments)
    assert code == 130
    assert "same command resumes" in err
