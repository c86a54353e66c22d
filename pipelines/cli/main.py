"""The command line: one verb a module; this one only names them, parses, and turns errors into exit codes."""

from __future__ import annotations

import inspect
import logging
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import typer
from rich.console import Console

from pipelines.display.terminal import lasting, plain
from pipelines.version import VERSION
from schemas.errors import CongenerError

EXIT_CODES = """
Exit codes: 0 done; 1 unexpected fault; 2 input, card, policy, model or usage is wrong; 3 a budget was exceeded and nothing
was published; 4 the run directory isn't what the command needs; 5 verify found a difference; 6 a disk or store refused to
write; 7 the engine failed; 130 interrupted.
"""

STEP = re.compile(r" \[while running '[^'\n]*'\]$")
"""What Beam adds to the message of an error that a stage raises."""

INTERRUPTED = "interrupted; the same command resumes"

app = typer.Typer(
    name="congener",
    help="Find, measure and remove what a student model would inherit from its teacher's data.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"congener {VERSION}")
        raise typer.Exit


@app.callback()
def congener(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Find, measure and remove what a student model would inherit from its teacher's data."""


def _register() -> None:
    from pipelines.cli.commands import COMMANDS

    for name, command in COMMANDS.items():
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name, help=_help(command))(command)


def _help(command: Callable[..., Any]) -> str:
    """Keep a docstring's line breaks: click folds paragraphs unless they begin with a backspace."""
    head, _, rest = inspect.cleandoc(command.__doc__ or "").partition("\n\n")
    paragraphs = [f"\b\n{part}" for part in rest.split("\n\n")] if rest else []
    return "\n\n".join([head, *paragraphs])


def main() -> None:
    """Run the command line; a reader of its output that goes away ends nothing."""
    sys.stdout, sys.stderr = lasting(sys.stdout), lasting(sys.stderr)
    logging.basicConfig(
        level=logging.ERROR
    )  # Beam warns of every extra that isn't installed; what matters is raised
    logging.getLogger("apache_beam.runners.common").addFilter(not_ours)
    _register()
    try:
        code = app(standalone_mode=False)  # a command's typer.Exit comes back as its code
        sys.exit(code if isinstance(code, int) else 0)
    except CongenerError as error:
        fail(STEP.sub("", str(error)), error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        fail(INTERRUPTED, 130)
    except Exception as error:
        show = getattr(error, "show", None)  # click's own usage errors
        if show is None:
            if any(isinstance(item, KeyboardInterrupt) for item in chain(error)):
                fail(INTERRUPTED, 130)
            found = cause(error)
            if found is None:
                raise
            fail(STEP.sub("", str(found)), found.exit_code)
        else:
            show()
        sys.exit(2)


def not_ours(record: logging.LogRecord) -> bool:
    """Say whether a log record isn't of an error that is told anyway, without the trace: Beam logs what a stage raises."""
    return not (
        record.exc_info and isinstance(record.exc_info[1], CongenerError | KeyboardInterrupt)
    )


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and all that it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def cause(error: BaseException | None) -> CongenerError | None:
    """Return the congener error that a runner wrapped in its own, if there is one."""
    return next((item for item in chain(error) if isinstance(item, CongenerError)), None)


def fail(message: str, code: int) -> None:
    """Print an error on stderr, nothing in it taken as markup, and exit."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        plain(f"congener: {message}"), markup=False, style=None if code in (0, 130) else "red"
    )
    sys.exit(code)
