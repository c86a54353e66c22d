"""The house's rules: layers, names, prints, sizes."""

import ast
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

PACKAGES = ("schemas", "classifiers", "transforms", "pipelines")
ROOT = Path(__file__).resolve().parents[1]
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> Iterator[str]:
    """Yield the top-level names that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_down(path):
    """A layer imports itself and those below it; Beam stays above classifiers."""
    layer = path.relative_to(ROOT).parts[0]
    above = set(PACKAGES[PACKAGES.index(layer) + 1 :])
    if layer in ("schemas", "classifiers"):
        above.add("apache_beam")
    assert not above & set(imported(path))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_prints_on_workers_nor_unpickles(path):
    """No print below the command line, and no pickle from disk anywhere."""
    names = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert "print" not in names
    assert not {"pickle", "joblib", "dill"} & set(imported(path))


def test_no_other_distribution_owns_our_names():
    """The four top-level packages are congener's alone in this environment."""
    owners = metadata.packages_distributions()
    assert {name: set(owners.get(name, [])) - {"congener"} for name in PACKAGES} == {
        name: set() for name in PACKAGES
    }


def test_functions_and_modules_stay_small():
    """Median function at most 10 lines, nine in ten at most 35, none over 80; no module over 600 lines."""
    lengths = sorted(
        node.end_lineno - node.lineno + 1
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert lengths[len(lengths) // 2] <= 10
    assert lengths[int(len(lengths) * 0.9)] <= 35
    assert lengths[-1] <= 80
    assert max(len(path.read_text().splitlines()) for path in MODULES) <= 600


def test_every_module_has_a_test_of_its_own():
    """Tests mirror the packages, file for file."""
    wanted = {
        path.relative_to(ROOT).with_name(f"test_{path.name}")
        for path in MODULES
        if path.name not in ("__init__.py", "commands.py", "encoders.py")
    }
    missing = sorted(str(path) for path in wanted if not (ROOT / "tests" / path).exists())
    assert missing == []
