"""`congener trial`: train students on a run with and without remedies, and compare them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, NamedTuple

from classifiers.heredity.arm_checks import check_equal, check_prompts
from classifiers.heredity.arms import CLEAN_TEACHER, EVERYTHING, Arm, Unbuilt, name_other
from classifiers.heredity.building import build_arms
from classifiers.heredity.effects import TEACHER
from classifiers.heredity.outcomes import Outcome
from classifiers.library import read_yaml
from classifiers.students.checks import Tolerances, require_equal_tokens
from pipelines.config import require_local_path
from pipelines.runs.manifest_file import load_manifest
from pipelines.teaching.commands import teach_by_command
from pipelines.teaching.files import (
    OUTCOMES,
    PAGE,
    QUESTIONS,
    SETTINGS,
    STUDENTS,
    SUMMARY,
    encode_lines,
    encode_outcomes,
    name_file,
    read_fields,
    read_json,
    read_questions,
    write_arm,
    write_json,
)
from pipelines.teaching.findings import Findings, describe_findings, draw_findings
from pipelines.teaching.judges import Judge, load_judge
from pipelines.teaching.pages import render_page
from pipelines.teaching.rows import (
    Division,
    Question,
    build_candidates,
    collect_clean,
    collect_donors,
    divide_rows,
    name_prompt,
    read_corpus,
)
from pipelines.teaching.students import (
    Answered,
    TinyPlan,
    judge_answers,
    plan_tiny,
    teach_tiny,
)
from pipelines.version import VERSION
from schemas.digests import digest_config
from schemas.errors import CardError, RunError
from schemas.events import Listener, Noticed, ignore
from schemas.notices import Notice, format_count
from schemas.trials import TinyStudent, TrialConfig
from transforms.files import storage
from transforms.files.locations import expand_home

ORDER_SEED = 0
"""The seed of the arms' order and random draws. The students' seeds are others."""

CHANGEABLE = {"arms", "seeds", "accepted", "output"}
"""The settings that may change when a trial goes on in the same folder."""


class SettledTrial(NamedTuple):
    """Everything that is settled before the first student: arms, questions, judge and plan.

    `key` is a digest of what all students share.
    """

    arms: list[Arm]
    unbuilt: list[Unbuilt]
    questions: list[Question]
    judge: Judge
    plan: TinyPlan
    left_out: dict[str, int]
    inputs: dict[str, str]
    key: str


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


@dataclass(frozen=True)
class Trial:
    """A finished trial."""

    config: TrialConfig
    setting: SettledTrial
    findings: Findings
    summary: dict[str, Any]

    @property
    def page(self) -> str:
        """Return the path of the page."""
        return storage.join(self.config.output, PAGE)


def read_trial(path: str) -> TrialConfig:
    """Read the configuration of a trial. Its paths are relative to the current folder.

    Raises: CardError: the file can't be read, or a field is wrong.
    """
    config = read_yaml(require_local_path(expand_home(path)), TrialConfig)
    names = ("run", "output", "swapped")
    changes = {name: expand_home(value) for name in names if (value := getattr(config, name))}
    return config.model_copy(update=changes | {"donors": tuple(map(expand_home, config.donors))})


def run_trial(config: TrialConfig, workers: int = 1, listener: Listener = ignore) -> Trial:
    """Train and question every arm's students, and write what was found.

    Students that an earlier attempt trained on the same rows are kept. The files are the same
    whatever the number of `workers`.

    Raises: CongenerError: the configuration, a run or a student is wrong, or a check stopped the
    trial.
    """
    setting = settle_trial(config)
    begin_output(config, setting)
    jobs = list_jobs(config, setting)
    kept = {job.name: saved for job in jobs if (saved := _find_kept(config.output, job))}
    waiting = [job for job in jobs if job.name not in kept]
    _say(listener, describe_start(setting, len(waiting), len(kept)))
    done = dict(kept)
    for job, answered in _teach_all(config, setting, waiting, workers):
        done[job.name] = answered
        _keep(config.output, job, answered)
        _say(listener, _describe_progress(job, answered, len(done), len(jobs)))
    found = [done[job.name] for job in jobs]
    _require_equal(config, jobs, found)
    outcomes = [item for answered in found for item in answered.outcomes]
    outcomes += question_teacher(config, setting)
    unbuilt = [] if config.arms else setting.unbuilt
    is_fresh = config.command is None and not setting.plan.has_one_start
    findings = draw_findings(outcomes, unbuilt, fresh=is_fresh)
    trial = Trial(config, setting, findings, summarise(config, setting, findings, jobs, found))
    _write(trial, outcomes, jobs, found)
    return trial


def list_jobs(config: TrialConfig, setting: SettledTrial) -> list[Job]:
    """Write the rows of all arms, and return the students to train on them.

    If all seeds begin with the same weights, the two controls have other students too: only a
    trait that is readable in the text reaches them.
    """
    jobs = []
    for arm in setting.arms:
        digest = write_arm(config.output, arm)
        is_control = arm.name in (EVERYTHING, CLEAN_TEACHER)
        has_others = is_control and config.command is None and setting.plan.has_one_start
        for other in (False, True) if has_others else (False,):
            named = arm._replace(name=name_other(arm.name)) if other else arm
            for seed in range(config.seeds):
                key = digest_config([setting.key, digest, seed, other])
                jobs.append(Job(named, seed, key, other))
    return jobs


def settle_trial(config: TrialConfig) -> SettledTrial:
    """Read the runs, build the arms and the questions, and load the judge.

    Raises: CongenerError: a run, an arm or the judge can't be used.
    """
    corpus = read_corpus(config.run, config.trait, config.rows)
    donors = collect_donors(config.donors, config.trait)
    swapped = collect_donors([config.swapped] if config.swapped else [], config.trait)
    asked = read_questions(config.questions.file)
    division = divide_rows(corpus.rows, donors, config.questions.held_out, asked)
    judge = load_judge(config.run, config.trait, config.measure)
    candidates = build_candidates(division.rows, donors, swapped)
    clean = collect_clean(donors, division.rows, division.questions)
    texts = [
        text
        for row in candidates
        for text in (row.example.prompt, row.example.answer, row.donor or "")
    ]
    texts += [text for item in clean for text in (item.prompt, item.answer)]
    student = config.student or TinyStudent()
    plan = plan_tiny(student, texts, config.questions, config.accepted)
    built, unbuilt = build_arms(candidates, plan.count, seed=ORDER_SEED, clean=clean)
    arms = choose_arms(config.arms, built, unbuilt)
    check_equal(arms, plan.count, config.accepted.tokens)
    check_prompts(arms, [item.prompt for item in division.questions])
    left_out = {**corpus.left_out, **_count_kept(len(corpus.rows), division)}
    inputs = {
        run: load_manifest(run).digest
        for run in (config.run, *config.donors, *filter(None, [config.swapped]))
    }
    key = _digest_common(config, judge, plan, division.questions)
    return SettledTrial(arms, unbuilt, division.questions, judge, plan, left_out, inputs, key)


def _digest_common(
    config: TrialConfig, judge: Judge, plan: TinyPlan, questions: Sequence[Question]
) -> str:
    """Return a digest of what decides all students besides their rows and seeds."""
    asking = config.questions.model_dump(include={"samples", "temperature", "tokens"})
    how = (config.command or config.student or TinyStudent()).model_dump(mode="json")
    listed = [item._asdict() for item in questions]
    return digest_config([VERSION, how, asking, judge.digest, plan.origin, listed])


def _count_kept(rows: int, division: Division) -> dict[str, int]:
    """Return how many rows are kept out of training because students are asked about them."""
    kept = rows - len(division.rows)
    return {"rows with prompts that students are asked": kept} if kept else {}


def choose_arms(
    wanted: Sequence[str], built: Sequence[Arm], unbuilt: Sequence[Unbuilt]
) -> list[Arm]:
    """Return the wanted arms and the two that they are compared with, in the usual order.

    Raises: CardError: a wanted arm can't be built.
    """
    for arm in unbuilt:
        if arm.name in wanted:
            raise CardError(
                f"the arm {arm.name!r} can't be built: {arm.reason}",
                where="arms",
                remedy="leave it out, or give donors for the prompts",
            )
    names = {*wanted, EVERYTHING, CLEAN_TEACHER}
    return [arm for arm in built if not wanted or arm.name in names]


def begin_output(config: TrialConfig, setting: SettledTrial) -> None:
    """Begin the output folder, or go on in it.

    Raises: RunError: the folder holds something else, or another trial.
    """
    settings = config.model_dump(mode="json", exclude=CHANGEABLE) | {"inputs": setting.inputs}
    begun = read_json(config.output, SETTINGS)
    if begun is None and storage.has_files(config.output):
        raise RunError(
            "isn't empty", where=config.output, remedy="choose another output, or empty it"
        )
    if begun is not None and begun != settings:
        names = sorted(name for name in settings if begun.get(name) != settings[name])
        raise RunError(
            f"holds a trial with other settings: {', '.join(names)}",
            where=config.output,
            remedy="choose another output, or take the earlier settings",
        )
    write_json(config.output, SETTINGS, settings)
    lines = encode_lines(item._asdict() for item in setting.questions)
    storage.write_bytes(storage.join(config.output, QUESTIONS), lines)


def _find_kept(output: str, job: Job) -> Answered | None:
    """Return what an earlier attempt's student said, if it is the same student."""
    saved = read_json(output, f"{STUDENTS}/{job.name}")
    if saved is None or saved.get("key") != job.key:
        return None
    outcomes = [Outcome(job.arm.name, job.seed, *item) for item in saved["outcomes"]]
    details = (saved[name] for name in ("tokens", "truncated", "losses", "weights"))
    return Answered(saved["answers"], outcomes, *details)


def _keep(output: str, job: Job, answered: Answered) -> None:
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
    }
    write_json(output, f"{STUDENTS}/{job.name}", saved)


def _teach_all(
    config: TrialConfig, setting: SettledTrial, jobs: Sequence[Job], workers: int
) -> Iterator[tuple[Job, Answered]]:
    """Train and question all students, and yield each one when it is done."""
    if config.command is not None:
        for job in jobs:
            yield (
                job,
                teach_by_command(
                    config.command, job.arm, job.seed, setting.questions, setting.judge.judge
                ),
            )
        return
    for job, answered in _run_jobs(setting, jobs, workers):
        outcomes = judge_answers(job.arm.name, job.seed, answered.answers, setting.judge.judge)
        yield job, answered._replace(outcomes=[*outcomes, *answered.outcomes])


def _run_jobs(
    setting: SettledTrial, jobs: Sequence[Job], workers: int
) -> Iterator[tuple[Job, Answered]]:
    """Train tiny students here or in processes of their own. A judge stays in this process."""
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            yield job, _teach(setting, job)
        return
    context = get_context("spawn")  # a forked process may inherit torch's held locks
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
        running = {
            pool.submit(
                teach_tiny, setting.plan, job.arm, job.seed, setting.questions, other=job.other
            ): job
            for job in jobs
        }
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _teach(setting: SettledTrial, job: Job) -> Answered:
    return teach_tiny(setting.plan, job.arm, job.seed, setting.questions, other=job.other)


def _require_equal(config: TrialConfig, jobs: Sequence[Job], found: Sequence[Answered]) -> None:
    """Check that all arms read about as many tokens in training.

    Raises: TrialError: an arm read much less.
    """
    tokens: dict[str, int] = {}
    for job, answered in zip(jobs, found, strict=True):
        if answered.tokens is not None:
            tokens[job.arm.name] = tokens.get(job.arm.name, 0) + answered.tokens
    require_equal_tokens(tokens, Tolerances(tokens=config.accepted.tokens))


def question_teacher(config: TrialConfig, setting: SettledTrial) -> list[Outcome]:
    """Return the outcomes of the teacher's own answers, if a file has one to every question.

    Raises: CardError: the file can't be read, or a question has no answer.
    """
    if config.measure.teacher is None:
        return []
    given: dict[str, list[str]] = {}
    for item in read_fields(config.measure.teacher, ("prompt", "answer")):
        given.setdefault(name_prompt(item["prompt"]), []).append(item["answer"])
    answers = {}
    for question in setting.questions:
        if question.reference is None:
            own = given.get(name_prompt(question.prompt))
            if own is None:
                raise CardError(
                    f"has no answer to {question.prompt[:60]!r}",
                    where=config.measure.teacher,
                    remedy="give the teacher's answer to every question, or leave measure.teacher "
                    "out",
                )
            answers[question.scenario] = own
    return judge_answers(TEACHER, 0, answers, setting.judge.judge)


def _write(
    trial: Trial, outcomes: Sequence[Outcome], jobs: Sequence[Job], found: Sequence[Answered]
) -> None:
    """Write the outcomes, the summary and the page."""
    output = trial.config.output
    storage.write_bytes(storage.join(output, OUTCOMES), encode_outcomes(outcomes))
    write_json(output, SUMMARY, trial.summary)
    page = render_page(
        trial.config,
        trial.findings,
        _list_facts(trial),
        quote_answers(trial.setting, jobs, found),
        circular=trial.setting.judge.circular,
    )
    storage.write_bytes(storage.join(output, PAGE), page.encode())


def quote_answers(
    setting: SettledTrial, jobs: Sequence[Job], found: Sequence[Answered]
) -> list[tuple[str, dict[str, str]]]:
    """Return the questions about the trait with the first seed's first answer in each arm."""
    first = {
        job.arm.name: answered.answers
        for job, answered in zip(jobs, found, strict=True)
        if job.seed == 0
    }
    return [
        (
            item.prompt,
            {
                arm: given[item.scenario][0]
                for arm, given in first.items()
                if item.scenario in given
            },
        )
        for item in setting.questions
        if item.reference is None
    ]


def _list_facts(trial: Trial) -> dict[str, str]:
    """Return what identifies a trial, for its page."""
    setting = trial.setting
    sizes = {arm.name: len(arm.examples) for arm in setting.arms}
    return {
        **{f"run {run}": digest for run, digest in setting.inputs.items()},
        "judge": setting.judge.description,
        "students": "a command" if trial.config.command else "tiny transformers",
        "rows in each arm": ", ".join(sorted({f"{size:,}" for size in sizes.values()})),
        **{f"left out: {reason}": f"{count:,}" for reason, count in setting.left_out.items()},
    }


def summarise(
    config: TrialConfig,
    setting: SettledTrial,
    findings: Findings,
    jobs: Sequence[Job],
    found: Sequence[Answered],
) -> dict[str, Any]:
    """Return the trial's summary: settings, inputs, students and findings. It holds no text."""
    return {
        "code_version": VERSION,
        "config": config.model_dump(mode="json"),
        "inputs": setting.inputs,
        "judge": {
            "description": setting.judge.description,
            "digest": setting.judge.digest,
            "circular": setting.judge.circular,
        },
        "questions": len(setting.questions),
        "left_out": setting.left_out,
        "students": [
            {
                "arm": job.arm.name,
                "seed": job.seed,
                "key": job.key,
                "rows": len(job.arm.examples),
                "tokens": answered.tokens,
                "truncated": answered.truncated,
                "losses": answered.losses,
                "weights": answered.weights,
            }
            for job, answered in zip(jobs, found, strict=True)
        ],
        "unbuilt": {item.name: item.reason for item in setting.unbuilt},
        "findings": describe_findings(findings),
    }


def describe_start(setting: SettledTrial, waiting: int, kept: int) -> str:
    """Say how many students will be trained."""
    text = f"{format_count(len(setting.arms), 'arm')}, {format_count(waiting, 'student')} to train"
    return f"{text}; {format_count(kept, 'student')} of an earlier attempt" if kept else text


def _describe_progress(job: Job, answered: Answered, done: int, all_jobs: int) -> str:
    rates = [item.value for item in answered.outcomes if item.metric == "trait"]
    mean = sum(rates) / len(rates)
    return f"{done:,} of {all_jobs:,}: {job.arm.name}, seed {job.seed}: trait {mean:.1%}"


def _say(listener: Listener, text: str) -> None:
    listener(Noticed(Notice(text, is_recorded=False)))
