"""The students of a trial as jobs: their keys, what is kept, and the checks after training."""

from pathlib import Path

import pytest

from classifiers.heredity.arms import Arm
from classifiers.heredity.outcomes import Outcome
from pipelines.teaching.files import write_json
from pipelines.teaching.jobs import (
    Job,
    find_kept,
    keep_student,
    list_jobs,
    require_sound_students,
    teach_all,
)
from pipelines.teaching.settling import settle_trial
from pipelines.teaching.students import Answered
from schemas.errors import TrialError
from schemas.trials import Accepted, TrialConfig


@pytest.fixture
def setting(trial_config):
    """Settle a trial of three arms and two seeds."""
    return settle_trial(trial_config)


def change(config: TrialConfig, **changes) -> TrialConfig:
    """Return a configuration with some fields changed."""
    return TrialConfig.model_validate({**config.model_dump(), **changes})


def build_job(arm="drop", seed=0, *, other=False):
    """Return a job without rows."""
    return Job(Arm(arm, ()), seed, "key", other)


def test_each_student_has_its_own_key(trial_config, setting):
    """A key depends on the arm's rows, the seed and what all students share."""
    jobs = list_jobs(trial_config, setting)
    assert len(jobs) == 8
    assert len({job.name for job in jobs}) == 8
    keys = {job.key for job in jobs}
    assert len(keys) == 6  # here a swap has the rows of the clean teacher
    other = setting._replace(key="other")
    assert not keys & {job.key for job in list_jobs(trial_config, other)}


def test_the_rows_of_every_arm_are_written(trial_config, setting):
    """Each arm has a file, also if its controls are trained from other weights."""
    list_jobs(trial_config, setting)
    files = sorted(path.name for path in Path(trial_config.output, "arms").glob("*.jsonl"))
    assert files == ["clean-teacher.jsonl", "everything.jsonl", "mask.jsonl", "swap.jsonl"]


def test_controls_have_other_students_if_all_begin_alike(trial_config):
    """With one number of first weights, both controls are trained from others, too."""
    student = {**trial_config.student.model_dump(), "initialisation": 3}
    config = change(trial_config, student=student)
    jobs = list_jobs(config, settle_trial(config))
    others = [job for job in jobs if job.other]
    assert {job.arm.name for job in others} == {
        "everything, other student",
        "clean teacher, other student",
    }
    assert len(jobs) == 12


def test_what_a_student_said_is_kept(tmp_path):
    """A kept student comes back whole for the same key, and not for another."""
    job = build_job()
    outcomes = [Outcome("drop", 0, "trait 1", "trait", 0.5)]
    answered = Answered({"trait 1": ["a", "b"]}, outcomes, 7, 0.25, (1.5, 0.5), "digest", 1)
    keep_student(str(tmp_path), job, answered)
    kept = find_kept(str(tmp_path), job)
    assert kept._replace(losses=tuple(kept.losses)) == answered
    assert find_kept(str(tmp_path), job._replace(key="other")) is None
    assert find_kept(str(tmp_path), build_job("mask")) is None
    write_json(str(tmp_path), f"students/{job.name}", {"key": "another"})
    assert find_kept(str(tmp_path), job) is None


def test_students_are_judged(trial_config, setting):
    """Each yielded student has outcomes of the trait and of capability."""
    jobs = list_jobs(trial_config, setting)[:1]
    ((job, answered),) = teach_all(trial_config, setting, jobs, workers=2)
    assert job == jobs[0]
    metrics = {item.metric for item in answered.outcomes}
    assert metrics == {"trait", "capability"}
    assert {item.arm for item in answered.outcomes} == {"everything"}


def test_arms_that_read_fewer_tokens_stop_the_trial():
    """Tokens are summed over seeds, and those of other students are compared apart."""
    jobs = [build_job(), build_job(seed=1), build_job("mask"), build_job("mask", 1)]
    found = [Answered({}, [], tokens) for tokens in (100, 90, 95, 95)]
    require_sound_students(Accepted(), jobs, found)
    found[0] = Answered({}, [], 50)
    with pytest.raises(TrialError, match="arm drop: has 140 tokens, but mask has 190"):
        require_sound_students(Accepted(), jobs, found)
    require_sound_students(Accepted(tokens=0.3), jobs, found)
    apart = [build_job(other=number < 2) for number in range(4)]
    require_sound_students(Accepted(), apart, found)


def test_students_without_tokens_are_not_compared():
    """A command's students, and a student before training, have read nothing here."""
    jobs = [build_job(), build_job("mask")]
    require_sound_students(Accepted(), jobs, [Answered({}, []), Answered({}, [], 50)])


def test_judged_loops_stop_the_trial():
    """Loops are counted over all seeds of an arm."""
    jobs = [build_job(), build_job(seed=1)]
    answers = {"trait 1": ["a"] * 10}
    found = [Answered(answers, [], loops=loops) for loops in (2, 0)]
    require_sound_students(Accepted(), jobs, found)
    found[1] = found[1]._replace(loops=1)
    with pytest.raises(TrialError, match="arm drop: 3 of 20 answers repeat themselves"):
        require_sound_students(Accepted(), jobs, found)
    require_sound_students(Accepted(loops=0.2), jobs, found)
