"""`python -m congener` and the console script."""

import subprocess
import sys
from importlib import metadata

import pytest

from congener.__main__ import main
from pipelines.version import VERSION


def test_the_console_script_is_this_module():
    """The installed command calls `main`, which checks the origins of packages first."""
    (script,) = metadata.entry_points(group="console_scripts", name="congener")
    assert script.value == "congener.__main__:main"


def test_python_m_prints_the_version():
    """The module runs as a command."""
    command = [sys.executable, "-m", "congener", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"congener {VERSION}\n"


def test_a_foreign_package_ends_with_2(monkeypatch, capsys):
    """The line goes to stderr, without a traceback."""
    monkeypatch.setattr("congener.origins.PACKAGES", ("json",))
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "needs its own package 'json'" in capsys.readouterr().err
