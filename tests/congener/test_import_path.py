"""The current folder leaves Python's import path before anything is imported from it."""

import subprocess
import sys

from congener.import_path import INSTALL_FOLDER, leave_out_current_folder

RUN = "import os\nos.write(1, __name__.encode() + b' was imported from the current folder')\n"


def test_only_the_current_folder_leaves_the_path(monkeypatch, tmp_path):
    """Only the current folder is removed from the path, in any spelling."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", str(INSTALL_FOLDER), str(tmp_path), "/elsewhere", "."])
    leave_out_current_folder()
    assert sys.path == [str(INSTALL_FOLDER), "/elsewhere"]


def test_congeners_own_folder_stays_on_the_path(monkeypatch):
    """The current folder stays on the path if congener is installed there."""
    monkeypatch.chdir(INSTALL_FOLDER)
    monkeypatch.setattr(sys, "path", ["", "/elsewhere"])
    leave_out_current_folder()
    assert sys.path == ["", "/elsewhere"]


def load_modules(folder, name):
    """Return the names of the modules that `python -m NAME` has loaded when it runs `name`."""
    show = "import sys\nprint(*sys.modules)\n"
    (folder / f"{name}.py").write_text(show)
    done = subprocess.run(
        [sys.executable, "-m", name], cwd=folder, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_no_module_beside_a_data_set_runs(tmp_path):
    """`python -m congener` runs none of the files in the current folder that it could import.

    Python itself imports some of its modules before it runs congener.
    """
    loaded = load_modules(tmp_path, "shows_modules")
    folder = tmp_path / "data"
    folder.mkdir()
    for name in {*sys.stdlib_module_names, "orjson", "pyarrow", "typer", "yaml"} - loaded:
        (folder / f"{name}.py").write_text(RUN)
    assert {"typing.py", "pathlib.py", "json.py"} <= {path.name for path in folder.iterdir()}
    done = subprocess.run(
        [sys.executable, "-m", "congener", "--version"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("congener ")
    assert (done.returncode, done.stderr) == (0, "")
