"""Options: their groups, and the settings that they override."""

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from pydantic import ValidationError

from pipelines.cli.filter import CorpusOptions, EngineOptions, FileOptions
from pipelines.cli.options import (
    InputOptions,
    ModelOptions,
    Options,
    Setting,
    SignalOptions,
    apply_settings,
    expand_argument,
    expand_arguments,
    read_settings,
    spread_groups,
)
from pipelines.config import FilterConfig
from schemas.errors import CardError, InputError

FILE = """
input: [a]
output: run
shards: {rows: 9, bytes: 5000}
corpus: {teacher: {constant: atlas}}
engine: {workers: 3}
"""


@pytest.fixture
def path(tmp_path) -> str:
    """Write a configuration file."""
    (tmp_path / "c.yaml").write_text(FILE)
    return str(tmp_path / "c.yaml")


def test_given_options_replace_the_files_settings(path):
    """An option overrides its setting, and other settings of the file stay."""
    config = read_settings(path, InputOptions(["b"]), CorpusOptions(rows_per_shard=3))
    assert (config.input, config.output) == (("b",), "run")
    assert (config.shards.rows, config.shards.bytes) == (3, 5000)
    assert config.corpus.teacher.constant == "atlas"
    assert config.engine.workers == 3


def test_options_that_are_not_given_change_nothing(path):
    """Without options, the file's settings apply, or else the defaults."""
    groups = (InputOptions(), SignalOptions(), ModelOptions(), EngineOptions(), FileOptions())
    assert read_settings(path, *groups) == read_settings(path)
    assert read_settings(None, *groups) == FilterConfig()
    assert [group.to_settings() for group in groups] == [{}] * 5


def test_every_kind_of_option_becomes_a_setting():
    """Options of every kind become settings."""
    groups = (
        SignalOptions(traits=["x", "y"], signals=["head"], bank="bank"),
        ModelOptions("model", "0" * 40, "cpu", "fp32"),
        EngineOptions("flink", 8, None, 5.0, no_wait=True),
        FileOptions(private_quarantine=True, vectors=True),
    )
    config = read_settings(None, *groups)
    assert (config.traits, config.signals, config.bank) == (("x", "y"), ("head",), "bank")
    assert (config.encoder.model, config.encoder.revision) == ("model", "0" * 40)
    assert (config.hardware.device, config.hardware.precision) == ("cpu", "fp32")
    engine = config.engine
    assert (engine.runner, engine.workers, engine.deadline, engine.wait) == ("flink", 8, 5, False)
    assert config.private_quarantine
    assert config.vectors


def test_every_setting_of_an_option_exists():
    """Every `Setting` names a field that exists in the configuration."""
    for group in (InputOptions, SignalOptions, ModelOptions, EngineOptions, FileOptions):
        for parameter in group.to_parameters():
            (setting,) = [
                item for item in parameter.annotation.__metadata__ if isinstance(item, Setting)
            ]
            section = FilterConfig().model_dump()
            for step in setting.path.split("."):
                section = section[step]


@pytest.mark.parametrize(
    ("text", "message"), [("shard: {rows: 9}", r"c\.yaml.*field shard"), ("input: [", "YAML")]
)
def test_a_mistake_in_the_file_is_named(tmp_path, text, message):
    """The error for a mistake in the file names the file and the field."""
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(CardError, match=message):
        read_settings(str(path))


def test_a_wrong_value_of_an_option_is_named():
    """The error for a wrong option names the setting."""
    with pytest.raises(CardError, match=r"corpus\.format[\s\S]*--help lists the values") as caught:
        apply_settings(None, {"corpus.format": "csv"})
    assert isinstance(caught.value.__cause__, ValidationError)


@dataclass(frozen=True)
class Colours(Options):
    """A group of options for tests."""

    red: Annotated[int, typer.Option("--red")] = 1
    blue: Annotated[bool, typer.Option("--blue")] = False


def test_groups_are_spread_into_single_options():
    """A command's parameters keep their order, with groups replaced by options."""
    seen = []

    @spread_groups
    def paint(
        name: Annotated[str, typer.Argument()],
        colours: Colours,
        thick: Annotated[bool, typer.Option("--thick")] = False,
    ) -> None:
        """Paint."""
        seen.append((name, colours, thick))

    parameters = inspect.signature(paint).parameters
    assert list(parameters) == ["name", "red", "blue", "thick"]
    assert parameters["name"].default is inspect.Parameter.empty
    assert (parameters["red"].default, paint.__doc__) == (1, "Paint.")
    paint(name="x", red=2, blue=True, thick=False)
    assert seen == [("x", Colours(red=2, blue=True), False)]


def test_a_spread_command_works_with_typer():
    """Typer sees single options, and the command receives groups."""
    seen = []
    app = typer.Typer(add_completion=False)

    @app.command()
    @spread_groups
    def paint(colours: Colours) -> None:
        seen.append(colours)

    app(["--red", "3"], standalone_mode=False)
    assert seen == [Colours(red=3)]


def test_arguments_are_expanded_and_looked_up(monkeypatch, tmp_path):
    """In an argument, `~` becomes the home folder, and names that are too long are errors."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand_argument("~/run") == f"{tmp_path}/run"
    assert expand_arguments(None) == []
    assert expand_arguments(["~/a", "b"]) == [f"{tmp_path}/a", "b"]
    with pytest.raises(InputError, match="can't be looked up: File name too long"):
        expand_arguments(["x" * 300])
