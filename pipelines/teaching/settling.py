"""Everything that is settled before a trial's first student: arms, questions, judges, students."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from classifiers.heredity.arms import (
    CLEAN_TEACHER,
    EVERYTHING,
    Arm,
    Candidate,
    Example,
    Unbuilt,
)
from classifiers.heredity.building import build_arms
from classifiers.students.checks import (
    Tolerances,
    require_clean_teacher,
    require_equal_arms,
    require_unseen_questions,
)
from pipelines.runs.manifest_file import load_manifest
from pipelines.teaching.files import read_questions
from pipelines.teaching.judges import Panel, load_panel
from pipelines.teaching.rows import (
    Division,
    Question,
    build_candidates,
    collect_clean,
    collect_donors,
    divide_rows,
    read_corpus,
)
from pipelines.teaching.slicing import Slicing, build_arms_of_slices, plan_corpus
from pipelines.teaching.students import StudentPlan, plan_tiny
from pipelines.version import VERSION
from schemas.digests import digest_config
from schemas.errors import CardError, TrialError
from schemas.trials import SliceSettings, TinyStudent, TrialConfig

ORDER_SEED = 0
"""The seed of the arms' order and random draws. The students' seeds are others."""


class SettledTrial(NamedTuple):
    """What a trial will train and ask.

    `key` is a digest of what all students share. `slicing` has no plans unless slices are wanted.
    """

    arms: list[Arm]
    unbuilt: list[Unbuilt]
    questions: list[Question]
    panel: Panel
    plan: StudentPlan
    left_out: dict[str, int]
    inputs: dict[str, str]
    key: str
    slicing: Slicing = Slicing([])
    obstacle: TrialError | None = None


def settle_trial(config: TrialConfig, *, only_plans: bool = False) -> SettledTrial:
    """Read the runs, build the arms and the questions, and load the judges.

    With `only_plans`, slices are planned even if none is tried, and a check of the arms that would
    stop the trial becomes its `obstacle`.

    Raises: CongenerError: a run, an arm, a judge or a student can't be used.
    """
    columns = config.slices.columns if config.slices else ()
    corpus = read_corpus(config.run, config.trait, config.rows, columns)
    donors = collect_donors(config.donors, config.trait)
    swapped = collect_donors([config.swapped] if config.swapped else [], config.trait)
    beside = {
        item.name: read_questions(item.questions) or ()
        for item in config.measure.neighbours
        if item.questions is not None
    }
    asked = read_questions(config.questions.file)
    division = divide_rows(corpus.rows, donors, config.questions.held_out, asked, beside)
    panel = load_panel(config.run, config.trait, config.measure)
    candidates = build_candidates(division.rows, donors, swapped)
    clean = collect_clean(donors, division.rows, division.questions)
    plan = plan_students(config, candidates, clean)
    built, unbuilt = build_arms(candidates, plan.count, seed=ORDER_SEED, clean=clean)
    arms = choose_arms(config.arms, built, unbuilt)
    slicing = Slicing([])
    if only_plans or config.slices is not None:
        wanted = config.slices or SliceSettings()
        slicing = plan_corpus(division.rows, plan.count, wanted, ORDER_SEED)
    if config.slices is None:
        slicing = slicing._replace(tried=())
    else:
        own, slicing, missing = build_arms_of_slices(candidates, slicing, plan.count, ORDER_SEED)
        arms, unbuilt = [*arms, *own], [*unbuilt, *missing]
    obstacle = find_obstacle(config, arms, plan, division.questions)
    if obstacle is not None and not only_plans:
        raise obstacle
    return SettledTrial(
        arms,
        unbuilt,
        division.questions,
        panel,
        plan,
        {**corpus.left_out, **_count_kept(len(corpus.rows), division)},
        _list_inputs(config),
        _digest_shared(config, panel, plan, division.questions),
        slicing,
        obstacle,
    )


def plan_students(
    config: TrialConfig, candidates: Sequence[Candidate], clean: Sequence[Example]
) -> StudentPlan:
    """Settle how students are trained. A command's rows are counted in a tiny student's tokens.

    Raises: ModelError: a model to begin with can't be used.
    """
    if config.lora is not None:
        from pipelines.teaching.lora_students import plan_lora

        return plan_lora(config.lora, config.questions, config.accepted)
    texts = [*_list_texts(row.example for row in candidates), *_list_texts(clean)]
    texts += [row.donor for row in candidates if row.donor is not None]
    student = config.student or TinyStudent()
    return plan_tiny(student, texts, config.questions, config.accepted)


def _list_texts(examples: Iterable[Example]) -> list[str]:
    return [text for item in examples for text in (item.prompt, item.answer)]


def find_obstacle(
    config: TrialConfig, arms: Sequence[Arm], plan: StudentPlan, questions: Sequence[Question]
) -> TrialError | None:
    """Return why the arms' figures would mean nothing, or None.

    Arms may differ in size, a prompt may be trained on and asked, or students that can speak before
    training may have no clean teacher's students beside them.
    """
    try:
        require_equal_arms(arms, plan.count, Tolerances(tokens=config.accepted.tokens))
        require_unseen_questions(arms, [item.prompt for item in questions])
        if plan.asks_untrained:
            require_clean_teacher([arm.name for arm in arms])
    except TrialError as error:
        return error
    return None


def _list_inputs(config: TrialConfig) -> dict[str, str]:
    """Return the digest of each run's manifest."""
    runs = (config.run, *config.donors, *filter(None, [config.swapped]))
    return {run: load_manifest(run).digest for run in runs}


def _digest_shared(
    config: TrialConfig, panel: Panel, plan: StudentPlan, questions: Sequence[Question]
) -> str:
    """Return a digest of what decides all students besides their rows and seeds."""
    asking = config.questions.model_dump(include={"samples", "temperature", "tokens"})
    student = config.command or config.lora or config.student or TinyStudent()
    how = student.model_dump(mode="json")
    listed = [item._asdict() for item in questions]
    return digest_config([VERSION, how, asking, panel.digest, plan.origin, listed])


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
