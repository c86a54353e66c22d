"""`congener trial`: train students on a run with and without remedies, and compare them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from classifiers.heredity.arms import name_prompt
from classifiers.heredity.effects import TEACHER
from classifiers.heredity.outcomes import Outcome
from classifiers.library import read_yaml
from pipelines.config import require_local_path
from pipelines.teaching.files import (
    OF_SLICE,
    OUTCOMES,
    PAGE,
    QUESTIONS,
    SETTINGS,
    SUMMARY,
    encode_lines,
    encode_outcomes,
    read_fields,
    read_json,
    write_json,
)
from pipelines.teaching.findings import Findings, describe_findings, draw_findings
from pipelines.teaching.jobs import (
    Job,
    find_kept,
    keep_student,
    list_jobs,
    require_sound_students,
    teach_all,
)
from pipelines.teaching.judges import judge_answers
from pipelines.teaching.pages import render_page
from pipelines.teaching.settling import SettledTrial, settle_trial
from pipelines.teaching.slicing import Slicing
from pipelines.teaching.students import Answered
from pipelines.version import VERSION
from schemas.errors import CardError, RunError
from schemas.events import Listener, Noticed, ignore
from schemas.notices import Notice, format_count
from schemas.trials import TrialConfig
from transforms.files import storage
from transforms.files.locations import expand_home

CHANGEABLE = {"arms", "slices", "seeds", "accepted", "output"}
"""The settings that may change when a trial goes on in the same folder."""


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
    kept = {job.name: saved for job in jobs if (saved := find_kept(config.output, job))}
    waiting = [job for job in jobs if job.name not in kept]
    _say(listener, describe_start(setting, len(waiting), len(kept)))
    done = dict(kept)
    for job, answered in teach_all(config, setting, waiting, workers):
        done[job.name] = answered
        keep_student(config.output, job, answered)
        _say(listener, _describe_progress(job, answered, len(done), len(jobs)))
    found = [done[job.name] for job in jobs]
    require_sound_students(config.accepted, jobs, found)
    outcomes = [item for answered in found for item in answered.outcomes]
    outcomes += question_teacher(config, setting)
    unbuilt = [
        item for item in setting.unbuilt if not config.arms or item.name.startswith("slice ")
    ]
    is_fresh = config.command is None and not setting.plan.has_one_start
    findings = draw_findings(outcomes, unbuilt, fresh=is_fresh, slices=setting.slicing.tried)
    trial = Trial(config, setting, findings, summarise(config, setting, findings, jobs, found))
    _write(trial, outcomes, jobs, found)
    return trial


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


def question_teacher(config: TrialConfig, setting: SettledTrial) -> list[Outcome]:
    """Return the outcomes of the teacher's own answers, if a file has one to every question.

    Raises: CardError: the file can't be read, or a question has no answer.
    """
    if config.measure.teacher is None:
        return []
    about = [item for item in setting.questions if item.reference is None and not item.about]
    given: dict[str, list[str]] = {}
    for item in read_fields(config.measure.teacher, ("prompt", "answer")):
        given.setdefault(name_prompt(item["prompt"]), []).append(item["answer"])
    answers = {}
    for question in about:
        own = given.get(name_prompt(question.prompt))
        if own is None:
            raise CardError(
                f"has no answer to {question.prompt[:60]!r}",
                where=config.measure.teacher,
                remedy="give the teacher's answer to every question, or leave measure.teacher out",
            )
        answers[question.scenario] = own
    judged = judge_answers(TEACHER, 0, answers, about, setting.panel)
    return [item for item in judged.outcomes if item.metric == "trait"]


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
        circular=trial.setting.panel.trait.circular,
    )
    storage.write_bytes(storage.join(output, PAGE), page.encode())


def quote_answers(
    setting: SettledTrial, jobs: Sequence[Job], found: Sequence[Answered]
) -> list[tuple[str, dict[str, str]]]:
    """Return the questions about the trait with the first seed's first answer in each arm."""
    first = {
        job.arm.name: answered.answers
        for job, answered in zip(jobs, found, strict=True)
        if job.seed == 0 and OF_SLICE not in job.arm.name
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
        if item.reference is None and not item.about
    ]


def _list_facts(trial: Trial) -> dict[str, str]:
    """Return what identifies a trial, for its page."""
    setting = trial.setting
    sizes = {arm.name: len(arm.examples) for arm in setting.arms}
    return {
        **{f"run {run}": digest for run, digest in setting.inputs.items()},
        "judge": setting.panel.trait.description,
        **{f"judge of {item.name}": item.judge.description for item in setting.panel.neighbours},
        "students": "a command" if trial.config.command else setting.plan.description,
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
            "description": setting.panel.trait.description,
            "digest": setting.panel.trait.digest,
            "circular": setting.panel.trait.circular,
        },
        "questions": len(setting.questions),
        "left_out": setting.left_out,
        "models": setting.plan.describe(),
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
                "loops": answered.loops,
            }
            for job, answered in zip(jobs, found, strict=True)
        ],
        "slices": describe_slices(setting.slicing),
        "unbuilt": {item.name: item.reason for item in setting.unbuilt},
        "findings": describe_findings(findings),
    }


def describe_slices(slicing: Slicing) -> list[dict[str, Any]]:
    """Return the planned slices, without their rows."""
    return [
        {
            "name": plan.name,
            "rows": len(plan.rows),
            "tokens": plan.tokens,
            "flagged": plan.flagged,
            "excess": round(plan.excess, 4),
            "is_tried": plan.name in slicing.tried,
        }
        for plan in slicing.plans
    ]


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
