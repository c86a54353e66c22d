"""The page of the three jobs: its commands work in the order that it gives."""

import os
import re
import shutil
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.support.pages import Step, run_steps
from tests.support.students import build_student

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "jobs.md").read_text(encoding="utf-8")
JOBS = {part.splitlines()[0]: part for part in PAGE.split("\n## ")[1:]}

# A person's part, and sizes that fit the sample corpus of 220 rows. Without a model, filtering it
# takes a second, so the commands are tested in this form.
IN_PLACE = {
    "congener review run/ --reviewer ada": "python -m tests.support.readers rows run/ ada",
    "congener review run/ --certify audit.jsonl --reviewer ada": (
        "python -m tests.support.readers items run/ audit.jsonl ada"
    ),
    "--draw 300 --at-most 5%": "--draw 160 --at-most 20%",
    "--rows 100": "--rows 20",
    "--rows 200": "--rows 40",
    "--tokenizer STUDENT": "--tokenizer student/",
}
NO_MODEL = " --signals lexicon --signals wording"
# A command that finds a difference, as these do, exits with 1.
FINDS_DIFFERENCES = re.compile("congener (diff|audit)")


def read_commands(job: str) -> list[str]:
    """Return a job's commands, in order."""
    return re.findall(r"^ {7}(congener .*)$", JOBS[job], re.MULTILINE)


def write_steps(command: str) -> list[Step]:
    """Return a command in the form in which it is tested, and what a person does after it."""
    for shown, tested in IN_PLACE.items():
        command = command.replace(shown, tested)
    steps = [Step(0, command + (NO_MODEL if command.startswith("congener filter") else ""))]
    if " traits new " in command:
        steps.append(Step(0, "cp pep-talk/*.jsonl my-trait/"))
    if " traits eval " in command:
        labels = (re.findall(r"--labels (\S+)", command) or ["my-trait.labels.jsonl"])[0]
        steps.append(Step(0, f"python -m tests.support.readers lines {labels}"))
        steps.append(Step(0, command))
    return steps


@pytest.fixture
def environment(tmp_path):
    """Put a corpus, a clean one, an earlier release, a student and a policy into a folder."""
    chat = ROOT / "pipelines" / "sample" / "chat"
    for name in ("data", "last-release", "unread"):
        shutil.copytree(chat, tmp_path / name)
    (tmp_path / "last-release" / "borealis.jsonl").unlink()
    shutil.copytree(ROOT / "docs" / "example" / "pep-talk", tmp_path / "pep-talk")
    shutil.copytree(chat, tmp_path / "clean")
    build_student().save_pretrained(tmp_path / "student")
    (tmp_path / "policy.yaml").write_text("traits: {vendor-phrasing: {action: mask}}\n")
    commands = Path(sys.executable).parent
    return os.environ | {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
def test_the_commands_of_a_job_work_in_their_order(job, tmp_path, environment):
    """Each command succeeds on what the commands before it wrote."""
    steps = [step for command in read_commands(job) for step in write_steps(command)]
    outcomes = run_steps(steps, tmp_path, environment)
    failed = [
        (step.command, status, lines)
        for step, (status, lines) in zip(steps, outcomes, strict=True)
        if status > bool(FINDS_DIFFERENCES.match(step.command))
    ]
    assert failed == []


@pytest.mark.slow
def test_released_rows_stay_released_after_another_policy(tmp_path, environment):
    """As the first job says, rows that were put back are in the last run's clean rows."""
    commands = read_commands(next(iter(JOBS)))
    steps = [step for command in commands for step in write_steps(command)]
    run_steps(steps, tmp_path, environment)
    decisions = pl.read_parquet(tmp_path / "run3" / "ledger" / "*.parquet")
    labels = pl.read_ndjson(tmp_path / "run.review" / "labels-ada.jsonl")
    released = decisions.join(labels, on=["source", "row"], how="semi")
    assert released.height == labels.select("source", "row").unique().height > 0
    assert "quarantine" not in released["decision"].to_list()


def test_every_job_begins_with_its_first_command():
    """The page has three jobs, each with five commands or more."""
    assert len(JOBS) == 3
    assert all(len(read_commands(job)) >= 5 for job in JOBS)


def test_the_readme_names_every_job():
    """Its table links to each section of the page."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    anchors = [re.sub("[^a-z]+", "-", job.lower()) for job in JOBS]
    assert [f"docs/jobs.md#{anchor}" in readme for anchor in anchors] == [True] * 3
