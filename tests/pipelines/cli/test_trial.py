"""`congener trial`: the table, JSON, progress and exit codes."""

import math
from pathlib import Path

import pytest
import yaml

from classifiers.guarantees.stratified import Interval
from pipelines.cli.trial import join_interval, shorten_name
from pipelines.teaching.files import read_json
from pipelines.teaching.findings import ORDER


@pytest.fixture
def config(trial_config, tmp_path) -> Path:
    """Write the configuration of a very short trial."""
    settings = trial_config.model_dump(mode="json", exclude_none=True)
    settings["arms"] = ["swap", "mix 50 %"]
    path = tmp_path / "trial.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def rewrite(path: Path, **changes: object) -> str:
    """Change some fields of a configuration, and return its path."""
    settings = yaml.safe_load(path.read_text(encoding="utf-8")) | changes
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return str(path)


def test_a_trial_prints_a_table(congener, config, trial_config):
    """The table has all arms within 80 columns, and the page is named; progress is on stderr."""
    code, out, err = congener("trial", str(config), "--workers", "1")
    assert code == 0, err
    for arm in ("everything", "swap", "mix 50 %", "clean teacher"):
        assert arm in out
    table = [line for line in out.splitlines() if line.startswith("  ")]
    assert len(table) >= 5
    assert max(map(len, table)) <= 80
    assert f"report: {trial_config.output}/report.html" in out.replace("\n", "")
    assert "8 of 8: " in err
    assert "like clean" in out
    assert "Not built" not in out


def test_an_estimate_and_its_interval_share_a_cell():
    """Estimates come with their interval, or with `any` if nothing bounds them."""
    assert join_interval(Interval(0.986, 0.976, 0.996)) == "98.6 (97.6–99.6)"
    assert join_interval(Interval(0.01, -0.02, 0.04)) == "1.0 (-2.0 to 4.0)"
    assert join_interval(Interval(None, -math.inf, math.inf)) == "– (any)"


def test_names_fit_the_table():
    """No arm's name in the table has more than 21 letters, and no two are the same."""
    names = [shorten_name(arm) for arm in ORDER]
    assert max(map(len, names)) <= 21
    assert len(set(names)) == len(names)
    assert shorten_name("clean teacher, other student") == "clean teacher (other)"
    assert shorten_name("clean teacher, other prompts") == "clean teacher (new)"
    assert shorten_name("swap + mix") == "swap + mix"


def test_json_is_the_summary(congener_json, config, trial_config):
    """With --json, the summary that the trial wrote is printed."""
    found = congener_json("trial", str(config), "-w", "1", "--quiet")
    assert found == read_json(trial_config.output, "trial.json")
    assert [item["arm"] for item in found["findings"]["arms"]] == [
        *("everything", "mix 50 %", "swap", "clean teacher")
    ]


def test_a_circular_judge_is_said(congener, config):
    """A judge that is the filter itself is named on stdout."""
    path = rewrite(config, measure={"bank": "run"}, arms=["swap"])
    code, out, err = congener("trial", path, "--quiet", "--workers", "1")
    assert code == 0, err
    assert "The same detector chose the flagged rows" in " ".join(out.split())
    assert err == ""


def test_a_stopped_trial_exits_with_5(congener, config):
    """A check that stops the trial has an exit code of its own, and says what to change."""
    student = {"steps": 5, "context": 16, "width": 48}
    code, out, err = congener("trial", rewrite(config, student=student), "--workers", "1")
    assert code == 5
    assert "student.context" in err
    assert out == ""


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"seeds": 1}, 2, "field seeds"),
        ({"trait": "owls"}, 2, "its traits are sighs"),
        ({"run": "/nowhere"}, 4, "/nowhere"),
        ({"donors": ["/nowhere"]}, 4, "/nowhere"),
        ({"arms": ["random maks"]}, 2, "did you mean 'random mask'"),
        ({"measure": {"bank": "/nowhere"}}, 2, "/nowhere"),
        ({"student": {"start": "/nowhere"}}, 2, "/nowhere"),
    ],
)
def test_mistakes_have_exit_codes(congener, config, changes, code, words):
    """Mistakes in the configuration exit with 2, and runs that can't be used with 4."""
    found, out, err = congener("trial", rewrite(config, **changes))
    assert (found, out) == (code, "")
    assert words in err


def test_a_missing_configuration(congener, tmp_path):
    """A missing file, a folder and text that isn't YAML are errors with exit code 2."""
    (tmp_path / "bad.yaml").write_text("run: [")
    for path in (tmp_path / "none.yaml", tmp_path, tmp_path / "bad.yaml"):
        code, _, err = congener("trial", str(path))
        assert code == 2
        assert str(path) in err


def test_the_help_names_the_exit_code(congener):
    """The help says what exit code 5 means here."""
    code, out, _ = congener("trial", "--help")
    assert code == 0
    assert "Exit code 5" in out
    assert "congener trial trial.yaml" in out
