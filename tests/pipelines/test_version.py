"""The versions of congener and of other packages."""

import re
import tomllib
from importlib import metadata

import pytest

from pipelines import version
from pipelines.version import PACKAGES, VERSION, find_commit, find_package_versions, name_code


def test_installed_version_is_the_codes():
    """The installed distribution has the code's version."""
    assert metadata.version("congener") == VERSION


def test_versions_of_what_decides_bytes():
    """Installed packages have versions, and absent packages aren't listed."""
    found = find_package_versions()
    assert set(found) <= set(PACKAGES)
    assert found["pyarrow"] == metadata.version("pyarrow")


def test_constraints_fit_the_project(root):
    """Installed packages have the versions that the constraints name."""
    lines = [
        line
        for line in (root / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    wanted = dict(line.split("==") for line in lines)
    installed = {found.name.lower(): found.version for found in metadata.distributions()}
    assert {name: installed[name] for name in wanted if name in installed} == {
        name: wanted[name] for name in wanted if name in installed
    }
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    needed = {
        re.split(r"[\[<>=~!]", line)[0]
        for line in (*project["dependencies"], *project["optional-dependencies"]["dev"])
    }
    assert needed & set(wanted) <= set(installed)


def test_the_commit_of_a_checkout_is_found(root):
    """A checkout's commit has 40 digits, and a mark for changed files."""
    found = find_commit()
    if not (root / ".git").exists():
        assert found is None
    else:
        assert re.fullmatch("[0-9a-f]{40}(-dirty)?", found)


def test_without_git_the_commit_is_unknown(monkeypatch):
    """Without git, the commit is None."""
    monkeypatch.setenv("PATH", "")
    assert find_commit() is None


@pytest.mark.parametrize(
    ("commit", "name"),
    [
        ("06723eb8a1c2" + "0" * 28, f"{VERSION}+06723eb8a1c2"),
        ("06723eb8a1c2" + "0" * 28 + "-dirty", f"{VERSION}+06723eb8a1c2-dirty"),
        (None, VERSION),
    ],
)
def test_the_name_of_the_code(monkeypatch, commit, name):
    """The code's name is its version, with the commit if known."""
    monkeypatch.setattr(version, "find_commit", lambda: commit)
    name_code.cache_clear()
    assert name_code() == name
    name_code.cache_clear()
