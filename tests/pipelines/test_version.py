"""The version, and the versions that decide bytes."""

import tomllib
from importlib import metadata

from pipelines.version import PACKAGES, VERSION, package_versions


def test_installed_version_is_the_codes():
    """The distribution's version comes from the code."""
    assert metadata.version("congener") == VERSION


def test_versions_of_what_decides_bytes():
    """Installed packages are listed with their versions, absent ones aren't."""
    found = package_versions()
    assert set(found) <= set(PACKAGES)
    assert found["pyarrow"] == metadata.version("pyarrow")


def test_constraints_fit_the_project(root):
    """Every constraint is satisfied by what is installed, so that tests speak of the versions shipped."""
    lines = [line for line in (root / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    wanted = dict(line.split("==") for line in lines)
    differing = {name: version for name, version in wanted.items() if name != "duckdb" and metadata.version(name) != version}
    assert differing == {}
    assert "congener" in tomllib.loads((root / "pyproject.toml").read_text())["project"]["name"]
