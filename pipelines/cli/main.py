"""The command line: its list of commands, and the exit code of each error."""

from __future__ import annotations

import errno
import importlib
import inspect
import io
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from pipelines.cli.options import OTHER_OPTIONS
from pipelines.cli.output import print_error
from pipelines.display.terminal import (
    EscapingFormatter,
    escape_controls,
    never_fail,
    outlive_reader,
)
from pipelines.version import VERSION
from schemas.errors import (
    FAULT_REMEDY,
    INTERRUPTED,
    CongenerError,
    InputError,
    MachineError,
    StorageError,
    describe_machine_fault,
    find_machine_fault,
    walk_causes,
)

COMMANDS = {
    "demo": "pipelines.cli.demo:run_demo",
    "filter": "pipelines.cli.filter:filter_corpus",
    "estimate": "pipelines.cli.estimate:estimate_cost",
    "fit": "pipelines.cli.fit:fit_traits",
    "traits": "pipelines.cli.traits:app",
    "inspect": "pipelines.cli.inspection:inspect_run",
    "verify": "pipelines.cli.verify:verify_run",
    "report": "pipelines.cli.report:report_run",
    "decide": "pipelines.cli.decide:decide_again",
    "calibrate": "pipelines.cli.calibrate:calibrate_run",
    "diff": "pipelines.cli.diff:compare_two_runs",
    "losses": "pipelines.cli.losses:show_losses",
    "certify": "pipelines.cli.certify:certify",
    "swap": "pipelines.cli.swap:swap_answers",
    "mix": "pipelines.cli.mix:mix_rows",
    "review": "pipelines.cli.review:review_run",
    "release": "pipelines.cli.release:release_rows",
    "judge": "pipelines.cli.judge:judge_rows",
    "trial": "pipelines.cli.trial:run_student_trial",
    "lineage": "pipelines.cli.lineage:trace_model_lineage",
    "audit": "pipelines.cli.audit:audit_corpus",
    "monitor": "pipelines.cli.monitor:monitor_corpus",
    "apply-masks": "pipelines.cli.apply_masks:apply_run_masks",
    "export": "pipelines.cli.export:export_run",
    "doctor": "pipelines.cli.doctor:examine_environment",
}
"""The function or group of functions to import for each command."""

EXIT_CODES = """
Exit codes: 0 done; 1 diff, audit or monitor found a difference, or an unexpected error; 2 the
input, a card, a policy, a model or an option is wrong; 3 the run is over a budget, and nothing was
published; 4 the run's folder can't be used for this command; 5 verify found a difference, certify's
bound is above its target, a check stopped a trial, a lot contradicts its declared teacher, or
lineage found another parent than the expected one; 6 a disk or store refused to write, or the
machine lacks memory, threads or file handles; 7 the engine or an endpoint failed; 8 the run is
published, but more than 1 % of its rows are rejects; 130 interrupted.
"""
USAGE = 2

FULL_OR_BROKEN = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Errors that are the disk's fault, not the given path's."""

UNNAMED = (
    *FULL_OR_BROKEN,
    errno.ESTALE,
    errno.EISDIR,
    errno.EFBIG,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOENT,
)
"""File errors that are reported even without a file name."""

STEP = re.compile(r" \[while running '[^'\n]*'\]$")
"""Beam's addition to the message of an error in a stage."""


SIMILAR = 0.7
"""How similar an option's name is to an unknown one that may mean it. Of `--signals`, `--spans`
isn't a misspelling."""


class CommandGroup(TyperGroup):
    """The group of all commands. Each command is imported only when needed."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = dict.fromkeys(COMMANDS)  # type: ignore[assignment]  # names for suggestions

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """Return the command names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """Return the command with this name, or None."""
        return load_command(cmd_name) if cmd_name in COMMANDS else None

    def invoke(self, ctx: Any) -> Any:
        """Run a command. Typer would turn Ctrl-C into an exit code, of which `main` says nothing.

        Raises: typer.Abort: Ctrl-C was pressed.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise typer.Abort from error


class GroupedCommand(TyperCommand):
    """A command whose help lists the options under group headings."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; suggest only options whose names are nearly the unknown one."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            near = getattr(error, "possibilities", None)
            if near:
                name = getattr(error, "option_name", "")
                vars(error)["possibilities"] = get_close_matches(name, near, cutoff=SIMILAR)
            raise

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then each group of options."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            if record := option.get_help_record(ctx):
                heading = getattr(option, "rich_help_panel", None) or OTHER_OPTIONS
                is_argument = option.param_type_name == "argument"
                groups.setdefault("Arguments" if is_argument else heading, []).append(record)
        if OTHER_OPTIONS in groups:
            name = OTHER_OPTIONS if len(groups) > 2 else "Options"
            groups[name] = groups.pop(OTHER_OPTIONS)  # the last group
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


app = typer.Typer(
    name="congener",
    cls=CommandGroup,
    help="Find, measure and remove what a student model would inherit from its teacher's data.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@cache
def load_command(name: str) -> Any:
    """Import a command for typer."""
    module, _, attribute = COMMANDS[name].partition(":")
    command = getattr(importlib.import_module(module), attribute)
    if isinstance(command, typer.Typer):
        for below in command.registered_commands:
            below.help = format_help(below.callback) if below.callback else below.help
            below.cls = GroupedCommand
        return typer.main.get_command(command)
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name, cls=GroupedCommand, help=format_help(command))(command)
    return typer.main.get_command(single)


def format_help(command: Callable[..., Any]) -> str:
    """Return a command's docstring with markup that keeps line breaks in examples."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(
        f"\b\n{text}" if text.startswith("congener ") else text for text in paragraphs
    )


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"congener {VERSION}")
        raise typer.Exit


@app.callback()
def congener(
    version: bool = typer.Option(
        False,
        "--version",
        callback=_print_version,
        is_eager=True,
        help="Print the version and exit.",
    ),
) -> None:
    """Find, measure and remove what a student model would inherit from its teacher's data."""


def main() -> None:
    """Run the command line to its end, even if nobody reads the output, and exit with its code."""
    # If the shell closed a stream (`>&-`), it is None in Python.
    null = Path(os.devnull)
    given = [stream or null.open("w") for stream in (sys.stdout, sys.stderr)]
    sys.stdout, sys.stderr = (outlive_reader(never_fail(stream)) for stream in given)
    handler = logging.StreamHandler()
    handler.setFormatter(EscapingFormatter(logging.BASIC_FORMAT))
    # Beam warns about every missing extra
    logging.basicConfig(level=logging.ERROR, handlers=[handler])
    logging.getLogger("apache_beam.runners.common").addFilter(is_unreported)
    try:
        code = app(standalone_mode=False)  # this is the code of a typer.Exit, if one was raised
    except Exception as error:  # noqa: BLE001
        _exit_after(error)
    except KeyboardInterrupt:
        _exit_interrupted()
    sys.exit(code if isinstance(code, int) else 0)


def is_unreported(record: logging.LogRecord) -> bool:
    """Return whether a log record must be printed because `main` won't report it.

    Beam logs every error of a stage with its traceback.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, CongenerError | KeyboardInterrupt)


def _exit_after(error: Exception) -> NoReturn:
    """Print an error and exit with its code, or raise an unexpected error again."""
    if isinstance(error, typer.Abort):
        _exit_interrupted()
    if show := getattr(error, "show", None):  # a usage error
        message = io.StringIO()
        show(message)
        sys.stderr.write(escape_controls(message.getvalue()))
        sys.exit(USAGE)
    interrupted = any(isinstance(item, KeyboardInterrupt) for item in walk_causes(error))
    if interrupted and not isinstance(error, CongenerError):
        _exit_interrupted()
    found = find_cause(error) or describe_machine_fault(error) or describe_refusal(error)
    if found is None:
        sys.excepthook = _print_trace  # replaces the hook that typer has set
        raise error
    print_error(STEP.sub("", str(found)), red=found.exit_code != 0)
    sys.exit(found.exit_code)


def _print_trace(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print an unexpected error with control characters escaped. Its message may quote a corpus."""
    lines = traceback.format_exception(kind, error, trace)
    sys.stderr.write(escape_controls("".join(lines)))


def _exit_interrupted() -> NoReturn:
    print_error("interrupted; the same command resumes the run", red=False)
    sys.exit(INTERRUPTED)


def describe_refusal(error: BaseException) -> CongenerError | None:
    """Return an error to report if the system refused access to a path, or None.

    Most code that opens a path reports a refusal in more detail. This function covers the rest.
    """
    for item in walk_causes(error):
        if isinstance(item, OSError) and (item.filename is not None or item.errno in UNNAMED):
            return (StorageError if item.errno in FULL_OR_BROKEN else InputError)(
                f"can't be used: {item.strerror}",
                where=os.fsdecode(item.filename)
                if isinstance(item.filename, str | bytes)
                else "a file or folder",
                remedy="check the path, its permissions and the disk",
            )
    return None


def find_cause(error: BaseException | None) -> CongenerError | None:
    """Return the first congener error among an error and its causes, or None.

    A machine fault, such as a lack of file handles, replaces an error that blames the input.
    """
    found = next((item for item in walk_causes(error) if isinstance(item, CongenerError)), None)
    if found is not None and found.exit_code == USAGE and find_machine_fault(found):
        return MachineError(found.problem, where=found.where, remedy=FAULT_REMEDY)
    return found
