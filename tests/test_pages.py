"""The tutorial and other pages: their commands print the output that the pages show."""

import os
import re
import shutil
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.corpora import write_rows
from tests.support.pages import Step, find_difference, read_steps, run_steps

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")
TUTORIAL = read_steps((DOCS / "tutorial.md").read_text(encoding="utf-8"))
POLICY = read_steps((DOCS / "policy.md").read_text(encoding="utf-8"))


def name_step(step: Step) -> str:
    """Return a step's line and command as a test id."""
    return f"{step.line}: {step.command}"


def prepare_folder(folder: Path) -> dict[str, str]:
    """Copy the pages' files to a folder, and return the commands' environment.

    `data/` is the reader's own corpus, and `mixed/` has a file that doesn't fit.
    """
    for name in ("docs/example", "pipelines/sample"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copytree(DOCS / "example" / "own", folder / "data")
    shutil.copytree(ROOT / "pipelines" / "sample" / "chat", folder / "mixed")
    write_rows(folder / "mixed" / "b.jsonl", [{"messages": "not a list"}] * 3)
    commands = Path(sys.executable).parent
    return os.environ | {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "80",
    }


def read_demo_recipe() -> str:
    """Return the command of `make demo` after the installation."""
    recipe = re.search(r"\ndemo: .*\n\t\$\(BIN\)/(.*)\n", (ROOT / "Makefile").read_text())
    assert recipe is not None
    return recipe[1]


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory):
    """Run the tutorial, and return each step's status and output."""
    folder = tmp_path_factory.mktemp("tutorial")
    environment = prepare_folder(folder)
    installed = Step(0, f"make() {{ {read_demo_recipe()}; }}")
    return run_steps([installed, *TUTORIAL], folder, environment)[1:]


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """Run the policy guide, and return each step's status and output."""
    folder = tmp_path_factory.mktemp("policy")
    return run_steps(POLICY, folder, prepare_folder(folder))


def check_step(step: Step, outcome: tuple[int, list[str]]) -> None:
    """Check a step's output, and that it fails only if the page shows an error."""
    status, lines = outcome
    output = "\n".join(lines)
    assert (status != 0) == any(line.startswith("congener: ") for line in step.shown), output
    if any(step.shown) and not step.writes:
        assert (find_difference(step.shown, lines), output) == (None, output)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(TUTORIAL)), ids=map(name_step, TUTORIAL))
def test_the_tutorial_shows_what_happens(tutorial, number):
    """Each command of the tutorial prints the output that the page shows."""
    check_step(TUTORIAL[number], tutorial[number])


@pytest.mark.parametrize("number", range(len(POLICY)), ids=map(name_step, POLICY))
def test_the_policy_guide_shows_what_happens(policy, number):
    """Each command of the policy guide prints the output that the page shows."""
    check_step(POLICY[number], policy[number])


@pytest.mark.slow
def test_the_commands_of_the_readme_work(tmp_path):
    """The README's commands succeed in order."""
    found = re.findall(r"^ {4}(congener .*?)(?: {2,}#.*)?$", README, re.MULTILINE)
    steps = [Step(0, line) for line in found]
    assert len(steps) >= 3
    outcomes = run_steps(steps, tmp_path, prepare_folder(tmp_path))
    assert [
        (step.command, status, lines)
        for step, (status, lines) in zip(steps, outcomes, strict=True)
        if status
    ] == []


def test_no_command_of_the_tutorial_is_left_out():
    """Every command in the tutorial's blocks has the prompt."""
    page = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    assert re.findall(r"^ {4}(?:congener|python|make) .*$", page, re.MULTILINE) == []


def test_the_python_guide_shows_what_happens(capsys):
    """The first example in the Python guide prints the frame that the guide shows."""
    page = (DOCS / "python.md").read_text(encoding="utf-8")
    block = re.search(r"^ {4}import congener\n(?:(?: {4}.*)?\n)*", page, re.MULTILINE)
    assert block is not None
    code, shown = textwrap.dedent(block[0]).split("\n\nshape:")
    exec(code, {})
    lines = f"shape:{shown}".splitlines()
    assert find_difference(lines, capsys.readouterr().out.splitlines()) is None


@pytest.mark.parametrize(
    ("shown", "lines", "difference"),
    [
        (["a", "b"], ["a", "b"], None),
        (["a", "…"], ["a", "b", "c"], None),
        (["a", "…", "c"], ["a", "b", "c"], None),
        (["…", "b", "…"], ["a", "b", "c"], None),
        (["a", "b"], ["a", "c"], "shown: 'b'; instead: ['c']"),
        (["a"], ["a", "b"], "not shown: 'b'"),
        (["a", "…", "d"], ["a", "b", "c"], "shown: 'd'; instead: ['c']"),
        (["a", "b"], ["a", "99 of 220 rows, 3 rows/s, 978 tokens/s, 0.6 min left", "b"], None),
        (["1.8 s, 12 rows/s"], ["22.0 s, 1,200 rows/s"], None),
        (["score 0.6001"], ["score 0.6003"], None),
        (["score 0.6001"], ["score 0.6101"], "shown: 'score 0.6001'; instead: ['score 0.6101']"),
        (["0.60"], ["0.61"], "shown: '0.60'; instead: ['0.61']"),
        (["8 rows"], ["9 rows"], "shown: '8 rows'; instead: ['9 rows']"),
    ],
)
def test_differences_from_a_page_are_found(shown, lines, difference):
    """A wildcard is any number of lines, and times and last digits may vary."""
    assert find_difference(shown, lines) == difference
