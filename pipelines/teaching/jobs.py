"""The students of a trial as jobs: which there are, which are done, and training the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import NamedTuple

from classifiers.heredity.arms import CLEAN_TEACHER, EVERYTHING, Arm, name_other
from classifiers.heredity.effects import UNTRAINED
from classifiers.heredity.outcomes import Outcome
from classifiers.students.checks import Tolerances, require_equal_tokens, require_few_loops
from pipelines.teaching.commands import teach_by_command
from pipelines.teaching.files import (
    STUDENTS,
    name_file,
    read_json,
    write_arm,
    write_data_sets,
    write_json,
)
from pipelines.teaching.judges import judge_answers
from pipelines.teaching.settling import SettledTrial
from pipelines.teaching.students import Answered
from schemas.digests import digest_config
from schemas.trials import Accepted, TrialConfig


class Job(NamedTuple):
    """A student to train: its arm and seed, and the digest of everything that decides it.

    An `other` student begins with weights that aren't those of the trial's other students.
    """

    arm: Arm
    seed: int
    key: str
    other: bool = False

    @property
    def name(self) -> str:
        """Return the name of the student's file."""
        return f"{name_file(self.arm.name)}-{self.seed}.json"


def list_jobs(config: TrialConfig, setting: SettledTrial) -> list[Job]:
    """Write the rows of all arms, and return the students to train on them.

    If all seeds begin with the same weights, the two controls have other students too: only a
    trait that is readable in the text reaches them. A student that can speak before training is
    asked once before it.
    """
    write_data_sets(config.output, [arm.name for arm in setting.arms])
    has_own_students, plan = config.command is None, setting.plan
    jobs = []
    if has_own_students and plan.asks_untrained:
        jobs.append(Job(Arm(UNTRAINED, ()), 0, digest_config([setting.key, UNTRAINED])))
    for arm in setting.arms:
        digest = write_arm(config.output, arm)
        is_control = arm.name in (EVERYTHING, CLEAN_TEACHER)
        has_others = is_control and has_own_students and plan.has_others
        for other in (False, True) if has_others else (False,):
            named = arm._replace(name=name_other(arm.name)) if other else arm
            for seed in range(config.seeds):
                key = digest_config([setting.key, digest, seed, other])
                jobs.append(Job(named, seed, key, other))
    return jobs


def find_kept(output: str, job: Job) -> Answered | None:
    """Return what an earlier attempt's student said, if it is the same student."""
    saved = read_json(output, f"{STUDENTS}/{job.name}")
    if saved is None or saved.get("key") != job.key:
        return None
    outcomes = [Outcome(job.arm.name, job.seed, *item) for item in saved["outcomes"]]
    names = ("tokens", "truncated", "losses", "weights", "loops")
    return Answered(saved["answers"], outcomes, *(saved[name] for name in names))


def keep_student(output: str, job: Job, answered: Answered) -> None:
    """Write what a student said, so that it isn't trained again."""
    saved = {
        "key": job.key,
        "arm": job.arm.name,
        "seed": job.seed,
        "answers": answered.answers,
        "outcomes": [[item.scenario, item.metric, item.value] for item in answered.outcomes],
        "tokens": answered.tokens,
        "truncated": answered.truncated,
        "losses": answered.losses,
        "weights": answered.weights,
        "loops": answered.loops,
    }
    write_json(output, f"{STUDENTS}/{job.name}", saved)


def teach_all(
    config: TrialConfig, setting: SettledTrial, jobs: Sequence[Job], workers: int
) -> Iterator[tuple[Job, Answered]]:
    """Train, question and judge all students, and yield each one when it is done."""
    questions, panel = setting.questions, setting.panel
    if config.command is not None:
        for job in jobs:
            yield job, teach_by_command(config.command, job.arm, job.seed, questions, panel)
        return
    for job, answered in _run_jobs(setting, jobs, workers):
        judged = judge_answers(job.arm.name, job.seed, answered.answers, questions, panel)
        outcomes = [*judged.outcomes, *answered.outcomes]
        yield job, answered._replace(outcomes=outcomes, loops=judged.loops)


def _run_jobs(
    setting: SettledTrial, jobs: Sequence[Job], workers: int
) -> Iterator[tuple[Job, Answered]]:
    """Train students here or in processes of their own. A judge stays in this process."""
    teach, questions = setting.plan.teach, setting.questions
    if workers == 1 or len(jobs) < 2 or not setting.plan.is_parallel:
        for job in jobs:
            yield job, teach(job.arm, job.seed, questions, other=job.other)
        return
    context = get_context("spawn")  # a forked process may inherit torch's held locks
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
        running = {
            pool.submit(teach, job.arm, job.seed, questions, other=job.other): job for job in jobs
        }
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def require_sound_students(
    accepted: Accepted, jobs: Sequence[Job], found: Sequence[Answered]
) -> None:
    """Stop if arms read different numbers of tokens, or if what is judged are loops.

    Students with other first weights may have another tokenizer, so they are compared apart.

    Raises: TrialError: an arm read much less, or many of its answers are loops.
    """
    tolerances = Tolerances(accepted.truncated, accepted.tokens, accepted.loops)
    tokens: dict[bool, dict[str, int]] = {False: {}, True: {}}
    answers, loops = dict[str, int](), dict[str, int]()
    for job, answered in zip(jobs, found, strict=True):
        name, group = job.arm.name, tokens[job.other]
        if answered.tokens is not None:
            group[name] = group.get(name, 0) + answered.tokens
        answers[name] = answers.get(name, 0) + sum(map(len, answered.answers.values()))
        loops[name] = loops.get(name, 0) + answered.loops
    for group in tokens.values():
        require_equal_tokens(group, tolerances)
    for name, looping in loops.items():
        require_few_loops(looping, answers[name], tolerances, f"arm {name}")
