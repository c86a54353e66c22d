"""The options that commands share, in groups, and the settings that they override.

A group is a dataclass of options. `spread_groups` replaces each group among a command's parameters
with its options. A `Setting` in a field's annotation names the setting that the option overrides.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_type_hints

import typer
from typer.models import OptionInfo

from schemas.errors import CardError
from transforms.files.locations import expand_home, require_reachable

if TYPE_CHECKING:
    from pipelines.config import FilterConfig


def expand_argument(path: str) -> str:
    """Expand `~` in a path, because a shell doesn't expand it in quotes.

    Raises: InputError: the system can't look up the path.
    """
    expanded = expand_home(path)
    require_reachable(expanded)
    return expanded


def expand_arguments(paths: list[str] | None) -> list[str]:
    """Expand `~` in paths to the home folder.

    Raises: InputError: the system can't look up a path.
    """
    return [expand_argument(path) for path in paths or ()]


Config = Annotated[
    str | None,
    typer.Option("--config", help="A YAML file with settings; options given here replace them."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only warnings and errors.")]
Restart = Annotated[
    bool, typer.Option("--restart", help="Remove the content of the output and start over.")
]
Run = Annotated[
    str, typer.Argument(metavar="RUN", help="A finished run's folder.", callback=expand_argument)
]
BeamOptions = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[-- BEAM OPTIONS]",
        help="Beam's own options, as --name=value; unknown options are errors.",
    ),
]


OTHER_OPTIONS = "Other options"
"""The heading of options without a group."""


class Setting(NamedTuple):
    """The configuration setting that an option overrides.

    The setting takes the option's value, or `value` if the option is a flag.
    """

    path: str
    value: bool | None = None


@dataclass(frozen=True)
class Options:
    """A group of options.

    `heading` is the group's heading in the help.
    """

    heading = OTHER_OPTIONS

    @classmethod
    def to_parameters(cls) -> Iterator[inspect.Parameter]:
        """Yield the group's options as parameters of a command."""
        hints = get_type_hints(cls, include_extras=True)
        for item in fields(cls):
            info = next(part for part in hints[item.name].__metadata__ if type(part) is OptionInfo)
            info.rich_help_panel = cls.heading
            yield inspect.Parameter(
                item.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=item.default,
                annotation=hints[item.name],
            )

    @classmethod
    def name_options(cls) -> Iterator[tuple[str, str]]:
        """Yield each setting's path and option."""
        for hint in get_type_hints(cls, include_extras=True).values():
            found = {type(item): item for item in hint.__metadata__}
            if Setting in found:
                yield found[Setting].path, found[OptionInfo].default  # typer's place for the name

    def to_settings(self) -> dict[str, Any]:
        """Return the settings' values, keyed by path."""
        settings: dict[str, Any] = {}
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            given = getattr(self, name)
            setting = next((item for item in hint.__metadata__ if isinstance(item, Setting)), None)
            if setting and given not in (None, False, []):
                value = tuple(given) if isinstance(given, list) else given
                settings[setting.path] = value if setting.value is None else setting.value
        return settings


@dataclass(frozen=True)
class InputOptions(Options):
    """The corpus."""

    heading = "Input and output"

    inputs: Annotated[
        list[str] | None,
        Setting("input"),
        typer.Option(
            "--input",
            "-i",
            help="A file, folder or glob, local or a URI (gs, s3, https, hf), or - for standard "
            "input; repeatable.",
        ),
    ] = None


@dataclass(frozen=True)
class TraitOptions(Options):
    """The traits."""

    heading = "Traits and policy"

    traits: Annotated[
        list[str] | None,
        Setting("traits"),
        typer.Option(
            "--traits",
            "-t",
            help="A trait folder, a folder of trait folders, the id of a library trait, or "
            "'library' for all of the library; repeatable (default: library).",
        ),
    ] = None


@dataclass(frozen=True)
class SignalOptions(TraitOptions):
    """The traits, their signals, and their bank."""

    signals: Annotated[
        list[str] | None,
        Setting("signals"),
        typer.Option(
            "--signals",
            help="Use only this signal: exemplars, head, wording, classifier, lexicon, "
            "repetition or language; repeatable.",
        ),
    ] = None
    bank: Annotated[
        str | None,
        Setting("bank"),
        typer.Option("--bank", help="A fitted bank; without --traits, all of its traits are used."),
    ] = None


@dataclass(frozen=True)
class BackgroundOptions(Options):
    """The clean sample."""

    heading = "Traits and policy"

    background: Annotated[
        list[str] | None,
        Setting("background"),
        typer.Option(
            "--background",
            help="Your own clean sample, in any corpus format. Thresholds are calibrated on it, "
            "and their guarantee holds for text like it; repeatable. 'corpus' takes a random "
            "sample of the input itself as mostly clean, which is no help for a trait that is "
            "common there.",
        ),
    ] = None


@dataclass(frozen=True)
class LabelFileOptions(Options):
    """The labels with which cards are fitted."""

    heading = "Traits and policy"

    labels: Annotated[
        list[str] | None,
        Setting("labels"),
        typer.Option(
            "--labels",
            metavar="FILE",
            help="Rows that were read, with true, false or unsure for a trait (JSON Lines, CSV or "
            "Parquet); repeatable. Half of them are used for the fit, and half measure it.",
        ),
    ] = None
    accept_definition: Annotated[
        bool,
        Setting("accept_definition", True),
        typer.Option(
            "--accept-definition",
            help="Use labels that were given before a card's title or description changed.",
        ),
    ] = False


@dataclass(frozen=True)
class LabelOptions(LabelFileOptions):
    """The labels with which a run fits its cards, and the rows that they name."""

    labels_run: Annotated[
        str | None,
        Setting("labels_run"),
        typer.Option(
            "--labels-run",
            metavar="RUN",
            help="A finished run with the labelled rows, if they aren't in the input.",
        ),
    ] = None


@dataclass(frozen=True)
class ModelOptions(Options):
    """The encoder, and the models' device."""

    heading = "Models"

    encoder: Annotated[
        str | None,
        Setting("encoder.model"),
        typer.Option(
            "--encoder",
            help="The encoder's hub id or local folder (default: all-MiniLM-L6-v2).",
        ),
    ] = None
    encoder_revision: Annotated[
        str | None,
        Setting("encoder.revision"),
        typer.Option("--encoder-revision", help="The full 40-digit commit of a hub encoder."),
    ] = None
    device: Annotated[
        Literal["auto", "cpu", "cuda"] | None,
        Setting("hardware.device"),
        typer.Option("--device", help="The device that models run on; cuda needs a GPU."),
    ] = None
    precision: Annotated[
        Literal["auto", "fp32", "bf16"] | None,
        Setting("hardware.precision"),
        typer.Option(
            "--precision", help="auto means bf16 on a GPU that supports it, and fp32 elsewhere."
        ),
    ] = None


def read_settings(config: str | None, *groups: Options) -> FilterConfig:
    """Read a configuration file, and override settings with options.

    Raises: CardError: the file can't be read, or a setting is wrong.
    """
    changes: dict[str, Any] = {}
    for group in groups:
        changes |= group.to_settings()
    options = {path: name for group in groups for path, name in group.name_options()}
    given = {path: name for path, name in options.items() if path in changes}
    return apply_settings(config, changes, given)


def apply_settings(
    config: str | None, changes: dict[str, Any], options: Mapping[str, str] | None = None
) -> FilterConfig:
    """Read a configuration file, or take the defaults, and override some settings.

    `changes` maps setting paths to values. `options` maps setting paths to options, for errors.

    Raises: CardError: the file can't be read, or a setting is wrong.
    """
    from pydantic import ValidationError

    from pipelines.config import FilterConfig, read_config
    from schemas.problems import describe_problems

    settings = read_config(config).model_dump()
    for path, value in changes.items():
        *sections, name = path.split(".")
        section = settings
        for step in sections:
            section = section[step]
        section[name] = value
    try:
        return FilterConfig.model_validate(settings)
    except ValidationError as error:
        raise CardError(
            describe_problems(error, options or {}),
            remedy="--help lists the values of each option",
        ) from error


def spread_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with its groups' options as parameters, as typer requires."""
    groups: dict[str, type[Options]] = {}
    parameters: list[inspect.Parameter] = []
    for name, kind in get_type_hints(command, include_extras=True).items():
        if isinstance(kind, type) and issubclass(kind, Options):
            groups[name] = kind
            parameters += kind.to_parameters()
        elif name != "return":
            default = inspect.signature(command).parameters[name].default
            parameters.append(
                inspect.Parameter(
                    name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind
                )
            )

    @functools.wraps(command)
    def call(**given: Any) -> None:
        for name, kind in groups.items():
            options = {item.name: given.pop(item.name) for item in fields(kind)}
            given[name] = kind(**options)
        command(**given)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return call
