"""The `congener` command, which `python -m congener` also runs."""

import atexit
import os
import sys

from congener.import_path import leave_out_current_folder

TYPE_CHECKING = False  # the name in `typing`, which isn't loaded yet
if TYPE_CHECKING:
    from typing import NoReturn

GONE = "the current folder no longer exists\n  remedy: change to another folder: cd"


def main() -> None:
    """Run the command line with congener's own packages, and exit with the command's code."""
    try:
        leave_out_current_folder()
        from congener.origins import require_own_packages

        require_own_packages()
    except FileNotFoundError:
        sys.stderr.write(f"congener: {GONE}\n")
        sys.exit(2)
    except ImportError as error:
        sys.stderr.write("".join(char if char.isprintable() else "?" for char in str(error)) + "\n")
        sys.exit(2)
    from pipelines.cli.main import main as run_command_line

    try:
        run_command_line()
    except SystemExit as ended:
        end_process(ended.code if isinstance(ended.code, int) else int(ended.code is not None))


def end_process(code: int) -> "NoReturn":
    """End the process without tearing down the interpreter.

    Arrow, Polars and torch keep threads until the process ends. The teardown can force such a
    thread to end, and C++ then aborts the process, which loses the exit code. `atexit` handlers
    still run.
    """
    atexit._run_exitfuncs()  # noqa: SLF001 - os._exit skips them
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # the stream is None if the shell closed it
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
