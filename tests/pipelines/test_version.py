"""The version of congener, and of the packages that decide a run's bytes."""

import re
import tomllib
from importlib import metadata

from pipelines.version import PACKAGES, VERSION, find_package_versions


def test_installed_version_is_the_codes():
    """The installed distribution has the same version as the code."""
    assert metadata.version("congener") == VERSION


def test_versions_of_what_decides_bytes():
    """Installed packages are listed with their versions, and absent packages aren't listed."""
    found = find_package_versions()
    assert set(found) <= set(PACKAGES)
    assert found["pyarrow"] == metadata.version("pyarrow")


def test_constraints_fit_the_project(root):
    """Installed packages have the constrained versions; only packages of extras may be absent."""
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
