"""A Flex Template's parameters become a command line."""

import sys

import pytest

from pipelines.cli.flex_template import build_command_line, list_filter_options, run_template
from schemas.errors import CardError

PREFIX = ["filter", "--runner", "dataflow"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("input", "isn't --name=value"),
        ("--input", "isn't --name=value"),
        ("--vectors=yes", "vectors is 'yes', not true or false"),
        ("--runner=FlinkRunner", "runs on Dataflow, not on 'FlinkRunner'"),
    ],
)
def test_parameters_without_a_meaning_are_refused(argument, message):
    """Malformed parameters, flags that aren't true or false, and other runners are refused."""
    with pytest.raises(CardError, match=message):
        build_command_line([argument])


def test_unknown_parameters_are_beams():
    """Unknown parameters become Beam options."""
    given = ["--rows_per_shard=7", "--no_auth", "--project=p"]
    assert build_command_line(given) == [
        *PREFIX,
        "--rows-per-shard",
        "7",
        "--",
        "--no_auth",
        "--project=p",
    ]


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--signals=head, lexicon", ["--signals", "head", "--signals", "lexicon"]),
        ("--vectors=true", ["--vectors"]),
        ("--vectors=false", []),
        ("--bank=", []),
        ("--runner=DataflowRunner", []),
        ("--output=gs://bucket/run", ["--output", "gs://bucket/run"]),
    ],
)
def test_a_parameter_becomes_options(argument, words):
    """A list becomes repeated options, a flag has no value, and empty parameters are left out."""
    assert build_command_line([argument]) == [*PREFIX, *words, "--"]


def test_options_have_their_kinds():
    """The command line's declarations distinguish lists, flags and single values."""
    found = list_filter_options()
    kinds = [found[name] for name in ("input", "vectors", "no_wait", "output", "workers")]
    assert kinds == [list, bool, bool, str, str]
    assert not {"help", "beam_options"} & set(found)


def test_a_template_runs_the_command_line(monkeypatch, capsys):
    """The template's entry point passes its parameters on, and exits like the command line."""
    monkeypatch.setattr(sys, "argv", ["main.py", "--input=corpus/", "--output=gs://bucket/run"])
    with pytest.raises(SystemExit) as ended:
        run_template()
    assert ended.value.code == 2
    assert sys.argv[1:] == [*PREFIX, "--input", "corpus/", "--output", "gs://bucket/run", "--"]
    assert "can't reach this machine's disk" in capsys.readouterr().err


def test_every_kind_of_option_is_passed_on():
    """Every kind of `filter` option may be a parameter."""
    samples = {list: "a,b", bool: "true", str: "x"}
    known = list_filter_options()
    given = [f"--{name}={samples[kind]}" for name, kind in known.items() if name != "runner"]
    words = build_command_line(given)
    assert words[-1] == "--"
    for name, kind in known.items():
        option = f"--{name.replace('_', '-')}"
        assert words.count(option) == (2 if kind is list else 1), name
        if kind is str and name != "runner":
            assert words[words.index(option) + 1] == "x"


def test_a_value_may_hold_an_equals_sign():
    """A parameter's value may contain an equals sign."""
    words = build_command_line(["--column=messages=dialogue", "--labels=team=data"])
    assert words[3:] == ["--column", "messages=dialogue", "--", "--labels=team=data"]
