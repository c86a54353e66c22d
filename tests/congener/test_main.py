"""`python -m congener` and the console script."""

import subprocess
import sys
from importlib import metadata

import pytest

from congener.__main__ import main
from pipelines.version import VERSION


def test_the_console_script_is_this_module():
    """The installed command calls `congener.__main__`."""
    (script,) = metadata.entry_points(group="console_scripts", name="congener")
    assert script.value == "congener.__main__:main"


def test_python_m_prints_the_version():
    """`python -m congener` runs the command line."""
    command = [sys.executable, "-m", "congener", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"congener {VERSION}\n"


ABORTING = """
import atexit, ctypes, sys
libc = ctypes.CDLL(None)
libc.__cxa_atexit(libc.abort, None, None)  # as a thread does that outlives the interpreter
atexit.register(print, "handler")
from congener.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("arguments", "code", "out", "err"),
    [
        (["--version"], 0, f"congener {VERSION}\nhandler\n", ""),
        (["verify", "nowhere"], 4, "handler\n", "congener: nowhere: doesn't exist"),
        (["verify"], 2, "handler\n", "Missing argument"),
    ],
)
def test_code_and_output_survive_an_abort_at_exit(tmp_path, arguments, code, out, err):
    """An abort in C code at exit doesn't change the exit code, and exit handlers run."""
    command = [sys.executable, "-c", ABORTING, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, out)
    assert err in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_streams_that_a_shell_closed_change_no_code(closed):
    """The exit code stays the same if the output can't be printed."""
    command = ["sh", "-c", f"{sys.executable} -m congener verify {closed}"]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 2


def test_an_unexpected_error_ends_with_1():
    """An unexpected error is printed with its trace and exits with 1."""
    code = (
        "import pipelines.cli.main as cli\n"
        "from congener.__main__ import main\n"
        "cli.main = lambda: 1 / 0\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_a_foreign_package_ends_with_2(monkeypatch, capsys):
    """With a foreign package, the exit code is 2, and stderr names the package."""
    monkeypatch.setattr("congener.origins.PACKAGES", ("json",))
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "needs its own package 'json'" in capsys.readouterr().err


def test_a_folder_that_was_removed_ends_with_2(monkeypatch, capsys, tmp_path):
    """In a removed folder, the command exits with 2 before loading libraries."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "current folder no longer exists" in capsys.readouterr().err
