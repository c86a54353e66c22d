"""`congener trial`: the table, JSON, progress and exit codes."""

import math
from pathlib import Path

import pytest
import yaml

from classifiers.guarantees.stratified import Interval
from pipelines.cli.trial import cut_name, join_interval, shorten_name
from pipelines.teaching.files import read_json
from pipelines.teaching.findings import ORDER

LOOSE = {"tokens": 0.3}
"""The corpus is small, so that some arms differ in tokens."""


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


@pytest.mark.slow
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


def test_long_names_of_slices_are_cut():
    """A name that would squeeze the other columns ends with an ellipsis."""
    assert cut_name("source feel") == "source feel"
    assert cut_name("x" * 34) == "x" * 34
    assert cut_name("x" * 35) == "x" * 33 + "…"


@pytest.mark.slow
def test_json_is_the_summary(congener_json, config, trial_config):
    """With --json, the summary that the trial wrote is printed."""
    found = congener_json("trial", str(config), "-w", "1", "--quiet")
    assert found == read_json(trial_config.output, "trial.json")
    assert [item["arm"] for item in found["findings"]["arms"]] == [
        *("everything", "mix 50 %", "swap", "clean teacher")
    ]


@pytest.mark.slow
def test_a_circular_judge_is_said(congener, config):
    """A judge that is the filter itself is named on stdout."""
    path = rewrite(config, measure={"bank": "run"}, arms=["swap"])
    code, out, err = congener("trial", path, "--quiet", "--workers", "1")
    assert code == 0, err
    assert "The same detector chose the flagged rows" in " ".join(out.split())
    assert err == ""


@pytest.mark.slow
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
@pytest.mark.slow
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


@pytest.mark.slow
def test_a_plan_trains_nothing(congener, congener_json, config, trial_config):
    """With --plan, arms and slices are shown within 80 columns, and nothing is written."""
    path = rewrite(config, slices={"names": ["source feel"], "budget": 0.3}, accepted=LOOSE)
    code, out, err = congener("trial", path, "--plan")
    assert (code, err) == (0, "")
    assert "clean teacher" in out
    assert max(len(line) for line in out.splitlines() if line.startswith("  ")) <= 80
    assert "source food" not in out
    words = " ".join(out.split())
    assert "16 students with 2 seeds for each arm" in words
    row = next(line for line in out.splitlines() if line.strip().startswith("source feel"))
    assert row.rstrip().endswith("yes")
    assert not Path(trial_config.output).exists()
    found = congener_json("trial", path, "--plan")
    assert set(found) == {*("arms", "slices", "unbuilt", "questions", "left_out", "obstacle")}
    assert len({size["rows"] for size in found["arms"].values()}) == 1
    assert [item["name"] for item in found["slices"] if item["is_tried"]] == ["source feel"]


@pytest.mark.slow
def test_a_plan_without_slices_proposes_some(congener_json, config):
    """Slices are planned also if none is configured, and none of them is tried."""
    found = congener_json("trial", str(config), "--plan")
    assert found["slices"]
    assert not any(item["is_tried"] for item in found["slices"])
    assert found["obstacle"] is None


@pytest.mark.slow
def test_a_plan_says_what_would_stop_the_trial(congener, config):
    """A check that would stop the trial is said with its remedy, and the plan is still shown."""
    code, out, _ = congener("trial", rewrite(config, accepted={"tokens": 0.0}), "--plan")
    assert code == 0
    words = " ".join(out.split())
    assert "The trial would stop. arm" in words
    assert "accepted.tokens" in words


@pytest.mark.slow
def test_slices_have_a_table(congener, config):
    """After a trial of slices, a second table says what each of them does."""
    slices = {"names": ["source feel"], "budget": 0.3}
    path = rewrite(config, slices=slices, arms=["swap"], accepted=LOOSE)
    code, out, err = congener("trial", path, "--quiet", "-w", "1")
    assert code == 0, err
    assert "leaves, %" in out
    assert max(len(line) for line in out.splitlines() if line.startswith("  ")) <= 80


@pytest.mark.slow
def test_an_unknown_slice_is_a_mistake(congener, config):
    """A slice that wasn't planned is an error that lists those that were."""
    path = rewrite(config, slices={"names": ["source owls"]})
    code, out, err = congener("trial", path, "--plan")
    assert (code, out) == (2, "")
    assert "no slice 'source owls'" in err
    assert "source feel" in err
