"""House rules for the code: layers, import cycles, names, printing, sizes and mirrored tests."""

import ast
import graphlib
import itertools
import sys
from collections import defaultdict
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

LAYERS = ("schemas", "classifiers", "transforms", "pipelines", "congener")
"""The packages from bottom to top. Each imports only itself and lower packages."""

ROOT = Path(__file__).resolve().parents[1]
MODULES = [path for package in LAYERS for path in sorted((ROOT / package).rglob("*.py"))]
PYTHON = [
    path
    for folder in (*LAYERS, "tests", "benchmarks", "deploy")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def relative(path: Path) -> str:
    """Return a path relative to the repository's root."""
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    """Return a file's dotted module name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def mirror(path: Path) -> Path:
    """Return the path of a module's test file."""
    test = f"test_{path.stem.strip('_')}.py"
    return ROOT / "tests" / path.relative_to(ROOT).with_name(test)


def has_code(path: Path) -> bool:
    """Return whether a module has more than a docstring."""
    return len(ast.parse(path.read_text(encoding="utf-8")).body) > 1


NAMES = {module_name(path): path for path in MODULES}
STDLIB = sys.stdlib_module_names


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted names that a module imports, even in functions or under TYPE_CHECKING.

    `from a import b` yields `a.b` for modules and other names.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{relative(path)}:{node.lineno}: the import is relative"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_modules(path: Path) -> set[str]:
    """Return the congener modules that a module imports."""
    known = set()
    for name in imports(path):
        candidates = (name, name.rpartition(".")[0])
        known |= set(itertools.islice((found for found in candidates if found in NAMES), 1))
    return known


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """Return a cycle of imports, with the same module first and last, or an empty list."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1][::-1]
    return []


def definitions(kind: type | tuple[type, ...]) -> Iterator[tuple[Path, ast.AST]]:
    """Yield every definition of this kind in the source, with its file."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, kind):
                yield path, node


def count_lines(paths: list[Path]) -> int:
    """Count the lines of some files."""
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def differ_by_a_letter(one: str, other: str) -> bool:
    """Return whether one letter added, removed or replaced makes the names equal."""
    if len(one) > len(other):
        one, other = other, one
    if len(other) - len(one) > 1:
        return False
    pairs = enumerate(zip(one, other, strict=False))
    same = next((index for index, (a, b) in pairs if a != b), len(one))
    rest = one[same:] if len(one) < len(other) else one[same + 1 :]
    return one != other and rest == other[same + 1 :]


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_imports_point_down(path):
    """A layer imports only itself and lower layers; `schemas` and `classifiers` import no Beam."""
    layer = path.relative_to(ROOT).parts[0]
    above = set(LAYERS[LAYERS.index(layer) + 1 :])
    if layer in ("schemas", "classifiers"):
        above.add("apache_beam")
    assert not above & {name.split(".")[0] for name in imports(path)}


def test_no_modules_import_each_other_in_a_circle():
    """The graph of all imports has no cycle, not even inside a function."""
    graph = {name: imported_modules(path) for name, path in NAMES.items()}
    assert sum(map(len, graph.values())) > len(graph), "modules import each other at all"
    assert " imports ".join(find_cycle(graph)) == ""


def test_a_circle_is_found_and_named():
    """A cycle starts and ends with the same module, and a graph without a cycle has none."""
    graph = {"a": {"b", "d"}, "b": {"c"}, "c": {"a"}, "d": set()}
    cycle = find_cycle(graph)
    assert cycle[0] == cycle[-1]
    assert set(cycle) == {"a", "b", "c"}
    assert all(imported in graph[name] for name, imported in itertools.pairwise(cycle))
    assert find_cycle(graph | {"c": {"d"}}) == []


def test_every_import_counts(tmp_path, monkeypatch):
    """Imports in functions, in classes and under TYPE_CHECKING are edges of the graph."""
    monkeypatch.setattr(sys.modules[__name__], "NAMES", dict.fromkeys(["a", "a.b", "c", "d"]))
    path = tmp_path / "module.py"
    path.write_text(
        "from a import b, name\nfrom a.b import other\nimport os\n"
        "if TYPE_CHECKING:\n    import c\n\ndef f():\n    import d as renamed\n"
    )
    assert imported_modules(path) == {"a", "a.b", "c", "d"}


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_nothing_prints_on_workers_nor_unpickles(path):
    """No module calls `print` or imports a library that unpickles."""
    names = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert "print" not in names
    assert not {"pickle", "joblib", "dill"} & {name.split(".")[0] for name in imports(path)}


def test_no_other_distribution_owns_our_names():
    """No other distribution here has packages with our names."""
    owners = metadata.packages_distributions()
    assert {name: set(owners.get(name, [])) - {"congener"} for name in LAYERS} == {
        name: set() for name in LAYERS
    }


@pytest.mark.parametrize("layer", [layer for layer in LAYERS if (ROOT / layer).is_dir()])
def test_packages_are_marked_as_typed(layer):
    """Each package has a `py.typed` for other projects' type checkers."""
    assert (ROOT / layer / "py.typed").is_file()


def test_no_module_is_named_like_one_of_the_standard_library():
    """No module or package has the name of a standard library module."""
    taken = {relative(path) for name, path in NAMES.items() if set(name.split(".")) & STDLIB}
    assert taken == set()


def test_no_two_classes_share_a_name():
    """Every class in the source has its own name."""
    places = defaultdict(list)
    for path, node in definitions(ast.ClassDef):
        places[node.name].append(f"{relative(path)}:{node.lineno}")
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_two_neighbours_differ_by_a_letter():
    """Names of neighbouring modules differ by more than one letter."""
    folders = defaultdict(set)
    for name in NAMES:
        folder, _, last = name.rpartition(".")
        folders[folder].add(last)
    pairs = [
        f"{folder}: {one}, {other}"
        for folder, names in folders.items()
        for one, other in itertools.combinations(sorted(names), 2)
        if differ_by_a_letter(one, other)
    ]
    assert pairs == []


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("run", "runs", True),
        ("runs", "run", True),
        ("cards", "carts", True),
        ("lots", "plots", True),
        ("runs", "runs", False),
        ("fit", "filter", False),
        ("banks", "cards", False),
        ("abc", "acb", False),
    ],
)
def test_names_that_differ_by_a_letter_are_recognised(one, other, expected):
    """Only names with one added, removed or replaced letter are recognised."""
    assert differ_by_a_letter(one, other) is expected


def test_functions_are_short():
    """Half of the functions have at most 10 lines, nine in ten at most 35, and all at most 60."""
    lengths = sorted(
        (node.end_lineno - node.lineno + 1, f"{relative(path)}:{node.lineno} {node.name}")
        for path, node in definitions((ast.FunctionDef, ast.AsyncFunctionDef))
    )
    assert lengths[len(lengths) // 2][0] <= 10
    assert lengths[int(len(lengths) * 0.9)][0] <= 35
    assert [item for item in lengths if item[0] > 60] == []


def test_modules_are_short():
    """No module has more than 500 lines."""
    lengths = {relative(path): count_lines([path]) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > 500} == {}


def test_every_module_has_a_test_of_its_own():
    """Tests mirror the packages, file for file."""
    wanted = {mirror(path): path for path in MODULES if has_code(path)}
    assert len(wanted) > 50
    assert [relative(path) for test, path in wanted.items() if not test.exists()] == []


def test_the_design_says_what_every_module_has():
    """The design's tables list every module, except single commands in `cli/`."""
    design = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    tables = {part.split("\n")[0]: part for part in design.split("### Modules of ")[1:]}
    for path in MODULES:
        package, *parts = path.relative_to(ROOT).with_suffix("").parts
        command = parts[0] == "cli" and (path.parents[1] / path.name).exists()
        if has_code(path) and path.name != "__init__.py" and not command:
            assert f"`{'/'.join(parts)}`" in tables[package], f"{relative(path)} has no row there"


def test_every_test_has_a_module_that_it_mirrors():
    """Every test file mirrors a module."""
    tests = {path for layer in LAYERS for path in (ROOT / "tests" / layer).rglob("test_*.py")}
    assert {relative(path) for path in tests - {mirror(path) for path in MODULES}} == set()


def test_tests_import_no_layer_above_their_own():
    """The tests of a layer import no package above it."""
    above = {
        f"{relative(path)}: {name}"
        for number, layer in enumerate(LAYERS)
        for path in sorted((ROOT / "tests" / layer).rglob("*.py"))
        for name in imports(path)
        if name.split(".")[0] in LAYERS[number + 1 :]
    }
    assert above == set()


def test_tests_share_helpers_through_support_alone():
    """No test file imports from another test file."""
    paths = [path for path in PYTHON if path.relative_to(ROOT).parts[0] == "tests"]
    shared = {
        f"{relative(path)}: {name}"
        for path in paths
        for name in imports(path)
        if any(part.startswith("test_") for part in name.split(".")[:-1])
    }
    assert shared == set()


@pytest.mark.parametrize("layer", [layer for layer in LAYERS if (ROOT / layer).is_dir()])
def test_tests_are_as_long_as_the_source(layer):
    """Each package has at least as many lines of tests as of source."""
    source = count_lines([path for path in MODULES if path.relative_to(ROOT).parts[0] == layer])
    assert count_lines(sorted((ROOT / "tests" / layer).rglob("*.py"))) >= source > 0
