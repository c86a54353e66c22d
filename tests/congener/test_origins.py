"""Python finds congener's own packages, or an error names the foreign folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from congener import origins
from congener.origins import INSTALL_FOLDER, PACKAGES, find_package

HOSTILE = "from pathlib import Path\nPath(r'{marker}').write_text('imported')\n"


@pytest.fixture
def hostile(tmp_path):
    """Make foreign packages with congener's names, which leave a marker if imported."""
    marker = tmp_path / "marker"
    folder = tmp_path / "work"
    for name in (*PACKAGES, "orjson"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(HOSTILE.format(marker=marker))
    return folder, marker


def run_python(folder, *arguments, **environment):
    """Run Python in a folder; return exit code, stdout and stderr."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_own_packages_are_found():
    """Every package comes from congener's install folder."""
    origins.require_own_packages()
    assert {find_package(name) for name in PACKAGES} == {INSTALL_FOLDER / name for name in PACKAGES}


def test_a_package_that_does_not_exist_is_none():
    """A missing package gives None."""
    assert find_package("no_such_package_anywhere") is None


def test_a_module_without_a_spec_is_found_nowhere(monkeypatch):
    """A hand-made module has no origin."""
    module = type(sys)("by_hand")
    module.__spec__ = None
    monkeypatch.setitem(sys.modules, "by_hand", module)
    assert find_package("by_hand") is None


def test_a_missing_package_is_reported(monkeypatch):
    """The error for a missing package names the package."""
    monkeypatch.setattr(origins, "PACKAGES", ("no_such_package_anywhere",))
    with pytest.raises(ImportError, match="has no package 'no_such_package_anywhere'"):
        origins.require_own_packages()


def test_a_package_of_somebody_else_is_named_in_one_line(hostile):
    """The error for a foreign folder called `schemas` names that folder."""
    folder, marker = hostile
    code = "import congener\ntry:\n    congener.open_run\nexcept ImportError as e:\n    print(e)"
    code, out, err = run_python(folder, "-c", code)
    assert (code, err) == (0, "")
    assert out.count("\n") == 1
    assert f"needs its own package 'schemas' in {INSTALL_FOLDER}" in out
    assert str(folder / "schemas") in out
    assert "rename that folder, or start Python in a different folder" in out
    assert not marker.exists(), "nothing of the folder was run"


def test_python_m_congener_leaves_the_current_folder_out(hostile):
    """`python -m congener` runs its own packages in any current folder."""
    folder, marker = hostile
    code, out, err = run_python(folder, "-m", "congener", "--version")
    assert (code, err) == (0, "")
    assert out.startswith("congener ")
    assert not marker.exists()


def test_a_package_on_pythonpath_is_refused(hostile, tmp_path):
    """With a foreign package first on PYTHONPATH, the command prints one line and exits with 2."""
    folder, marker = hostile
    code, out, err = run_python(
        tmp_path, "-m", "congener", "--version", PYTHONPATH=str(folder), PYTHONSAFEPATH="1"
    )
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert str(folder / "schemas") in err
    assert not marker.exists()


def test_home_is_the_folder_of_the_packages():
    """The install folder contains the `origins` module."""
    assert Path(origins.__file__).resolve().is_relative_to(INSTALL_FOLDER)
