"""Turn a Flex Template's parameters into a `congener filter` command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from pipelines.cli.main import load_command, main
from schemas.errors import CardError

RUNNERS = ("DataflowRunner", "dataflow")
DOCUMENTED = "see docs/operations.md, Dataflow"


def run_template() -> None:
    """Run `congener filter` with a Flex Template launcher's parameters."""
    sys.argv[1:] = build_command_line(sys.argv[1:])
    main()


CANARIES = ("canaries", "canary_floor", "keep_list", "keep_list_budget")

LABELS = ("labels", "labels_run", "accept_definition")

ELSEWHERE = (*LABELS, "strict", "teacher_answers", *CANARIES)
"""Options of `filter` that a template doesn't take. Files of canaries are local.

Beam has an option `labels` of its own, for Dataflow's jobs. Fit labels into a bank, and name that.
A launcher ends before the job, so `--strict` belongs to the command that publishes the run.
Teachers' answers are compared before a job is sent: `filter --dry-run --teacher-answers`.
"""


def build_command_line(arguments: Sequence[str]) -> list[str]:
    """Return a Flex Template's parameters as a `congener filter` command line.

    The template's launcher passes all parameters as `--name=value`. Parameters that `filter` knows
    become options, and others become Beam options. List items are separated by commas, and flags
    are true or false.

    Raises: CardError: an argument isn't `--name=value`, a flag isn't true or false, or a runner
    other than Dataflow is given.
    """
    known = list_filter_options()
    own: list[str] = []
    beam: list[str] = []
    for argument in arguments:
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or (name in known and not equals):
            raise CardError(f"parameter {argument!r} isn't --name=value", remedy=DOCUMENTED)
        if name == "runner":
            _require_dataflow(value)
        elif name in known:
            own += _to_options(name, value, known[name])
        else:
            beam.append(argument)
    return ["filter", "--runner", "dataflow", *own, "--", *beam]


def _require_dataflow(value: str) -> None:
    if value not in RUNNERS:
        raise CardError(
            f"a Flex Template runs on Dataflow, not on {value!r}", remedy="leave --runner out"
        )


def _to_options(name: str, value: str, kind: type) -> list[str]:
    """Return the command line arguments for one parameter."""
    option = f"--{name.replace('_', '-')}"
    if not value:
        return []  # the console also sends empty parameters
    if kind is list:
        return [word for item in value.split(",") for word in (option, item.strip())]
    if kind is not bool:
        return [option, value]
    if value not in ("true", "false"):
        raise CardError(f"parameter {name} is {value!r}, not true or false", remedy=DOCUMENTED)
    return [option] if value == "true" else []


def list_filter_options() -> dict[str, type]:
    """Return the options of `congener filter` and their types: list, bool (a flag) or str.

    Names have underscores instead of hyphens.
    """
    options = [item for item in load_command("filter").params if item.param_type_name == "option"]
    found = {_to_name(option): _find_kind(option) for option in options}
    return {name: kind for name, kind in found.items() if name not in ELSEWHERE}


def _to_name(option: Any) -> str:
    return str(max(option.opts, key=len)).removeprefix("--").replace("-", "_")


def _find_kind(option: Any) -> type:
    if option.multiple:
        return list
    return bool if option.is_flag else str
