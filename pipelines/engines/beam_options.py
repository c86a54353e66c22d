"""Check Beam's options: unknown options, and options that contradict a preset, are errors.

Beam itself only warns about an unknown option, and lets later options override earlier ones.
"""

from __future__ import annotations

import difflib
from argparse import Namespace
from collections.abc import Sequence
from typing import Any, NoReturn

from apache_beam.options.pipeline_options import PipelineOptions, _BeamArgumentParser

from pipelines.engines.interface import Preset
from schemas.errors import CardError

SYNTAX = "Beam's options come after -- and are written --name=value"


def combine_options(preset: Preset, given: Sequence[str] = ()) -> list[str]:
    """Combine a preset's options with the user's options.

    Raises: CardError: an option is unknown, contradicts the preset, or fails the preset's check.
    """
    fixed, added = parse_options(preset.fixed, preset), parse_options(given, preset)
    for name, value in added.items():
        _require_agreement(name, value, preset.runner, fixed)
    defaults = [
        option
        for option in preset.defaults
        if not parse_options([option], preset).keys() & {**fixed, **added}
    ]
    combined = [*preset.fixed, *defaults, *given]
    preset.check(PipelineOptions(combined))
    return combined


def parse_options(options: Sequence[str], preset: Preset) -> dict[str, Any]:
    """Return the given options as Beam parses them, without defaults.

    Raises: CardError: Beam doesn't know an option, or its value has the wrong type.
    """
    parser = _build_parser(preset.extra)
    unset = Namespace(**dict.fromkeys(vars(parser.parse_args([]))))  # drops argparse's defaults
    found, unknown = parser.parse_known_args(list(options), unset)
    if unknown:
        close = difflib.get_close_matches(unknown[0].split("=")[0], parser.known, 1)
        raise CardError(
            f"Beam has no option {unknown[0]!r}",
            remedy=f"did you mean {close[0]}?" if close else SYNTAX,
        )
    return {name: value for name, value in vars(found).items() if value is not None}


def _require_agreement(name: str, value: Any, runner: str, fixed: dict[str, Any]) -> None:
    """Refuse an option that contradicts a fixed one. Lists are merged, so they never contradict."""
    if name == "runner":
        wanted = runner
    elif name in fixed and not isinstance(value, list) and value != fixed[name]:
        wanted = fixed[name]
    else:
        return
    raise CardError(
        f"--{name} can't be {value!r} here: the preset sets {wanted!r}",
        remedy="leave it out, or choose another --runner",
    )


class _Parser(_BeamArgumentParser):
    """Beam's parser, which here raises an error with a remedy instead of ending the process."""

    @property
    def known(self) -> list[str]:
        return [name for action in self._actions for name in action.option_strings]

    def error(self, message: str) -> NoReturn:
        raise CardError(f"a Beam option is wrong: {message}", remedy=SYNTAX)


def _build_parser(extra: Sequence[str]) -> _Parser:
    parser = _Parser(allow_abbrev=False, add_help=False)
    for kind in {str(kind): kind for kind in PipelineOptions.__subclasses__()}.values():
        if "_add_argparse_args" in vars(kind):
            kind._add_argparse_args(parser)  # noqa: SLF001
    for name in extra:
        parser.add_argument(f"--{name}")
    return parser
