"""What decides whether a student's answer shows the trait, or something close to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from classifiers.clean_text import CleanRow, present_as_answers
from classifiers.heredity.outcomes import Metric, Outcome
from classifiers.signals.repetition import find_loop
from pipelines.recall import find_threshold, load_for_check
from pipelines.runs.manifest_file import load_manifest
from pipelines.teaching.rows import Question
from schemas.cards import RepetitionOptions, TraitCard, compile_pattern
from schemas.digests import digest_config
from schemas.errors import CardError
from schemas.runs import BANK
from schemas.scores import COMBINED, fires
from schemas.trials import Measure
from transforms.files import storage

OWN_BANK = "run"
"""The setting that names the run's own bank."""

LOOPING = 0.5
"""The score from which an answer counts as a loop."""


class Judge(NamedTuple):
    """A judge of answers.

    `circular` says whether the same detector decided which rows are flagged.
    """

    judge: Callable[[Sequence[str]], list[bool]]
    description: str
    digest: str
    circular: bool


class NeighbourJudge(NamedTuple):
    """A judge of what is close to the trait, in answers to its own questions or to the trait's."""

    name: str
    judge: Judge
    has_questions: bool


class Panel(NamedTuple):
    """The judges of a trial: that of the trait, and those of its neighbours."""

    trait: Judge
    neighbours: tuple[NeighbourJudge, ...] = ()

    @property
    def digest(self) -> str:
        """Return a digest of what all of them decide by."""
        beside = [(item.name, item.judge.digest, item.has_questions) for item in self.neighbours]
        return digest_config([self.trait.digest, beside])


class JudgedAnswers(NamedTuple):
    """The outcomes of a student's answers, and how many show the trait and are loops."""

    outcomes: list[Outcome]
    loops: int


def load_panel(run: str, trait: str, measure: Measure) -> Panel:
    """Load the judges that a trial's configuration names.

    Raises: CardError: a bank lacks its trait. Raises: ModelError: a bank can't be loaded.
    """
    own = load_judge(run, trait, measure)
    neighbours = []
    for item in measure.neighbours:
        judge = own
        if item.pattern is not None:
            judge = _build_pattern_judge(run, trait, item.pattern)
        elif item.bank is not None:
            judge = _load_bank_judge(run, item.trait or trait, item.bank)
        neighbours.append(NeighbourJudge(item.name, judge, item.questions is not None))
    return Panel(own, tuple(neighbours))


def judge_answers(
    arm: str,
    seed: int,
    answers: Mapping[str, list[str]],
    questions: Sequence[Question],
    panel: Panel,
) -> JudgedAnswers:
    """Return the share of answers to each question that show the trait, or one of its neighbours.

    A neighbour without questions of its own is looked for in the answers to the trait's.
    """
    about = {item.scenario: item.about for item in questions}
    own = {name: given for name, given in answers.items() if not about.get(name)}
    shown = _judge(panel.trait, own)
    outcomes = _share(arm, seed, "trait", shown)
    for item in panel.neighbours:
        if item.has_questions:
            asked = {name: given for name, given in answers.items() if about.get(name) == item.name}
            outcomes += _share(arm, seed, "neighbour", _judge(item.judge, asked))
        else:
            found = {f"{item.name}: {name}": given for name, given in own.items()}
            outcomes += _share(arm, seed, "neighbour", _judge(item.judge, found))
    loops = sum(
        verdict and is_loop(answer)
        for name, given in own.items()
        for answer, verdict in zip(given, shown[name], strict=True)
    )
    return JudgedAnswers(outcomes, loops)


def _judge(judge: Judge, answers: Mapping[str, list[str]]) -> dict[str, list[bool]]:
    """Return the verdicts on all answers, by scenario."""
    verdicts = iter(judge.judge([answer for given in answers.values() for answer in given]))
    return {name: [next(verdicts) for _ in given] for name, given in answers.items()}


def _share(
    arm: str, seed: int, metric: Metric, verdicts: Mapping[str, list[bool]]
) -> list[Outcome]:
    return [
        Outcome(arm, seed, name, metric, sum(found) / len(found))
        for name, found in verdicts.items()
        if found
    ]


def is_loop(answer: str) -> bool:
    """Return whether half of an answer, or many words of it, only repeat others."""
    return find_loop(answer, RepetitionOptions()).score >= LOOPING


def load_judge(run: str, trait: str, measure: Measure) -> Judge:
    """Load the judge that a trial's configuration names.

    Raises: CardError: the bank lacks the trait. Raises: ModelError: the bank can't be loaded.
    """
    if measure.pattern is not None:
        return _build_pattern_judge(run, trait, measure.pattern)
    return _load_bank_judge(run, trait, measure.bank or OWN_BANK)


def _load_bank_judge(run: str, trait: str, named: str) -> Judge:
    uri = storage.join(run, BANK) if named == OWN_BANK else named
    bank, scorer = load_for_check(uri)
    if trait not in bank.traits:
        raise CardError(
            f"the bank has no trait {trait!r}",
            where=uri,
            remedy=f"its traits are {', '.join(bank.traits)}",
        )
    threshold = find_threshold(bank.traits[trait], COMBINED)

    def judge(answers: Sequence[str]) -> list[bool]:
        rows = [CleanRow((answer,), "trial", "own") for answer in answers]
        scores = scorer.score(len(rows), present_as_answers(rows))
        found: list[bool] = fires(scores.get_scores(trait, COMBINED), threshold).tolist()
        return found

    circular = bank.digest == load_manifest(run).identity.bank_digest
    return Judge(judge, f"the bank {uri}", bank.digest, circular)


def _build_pattern_judge(run: str, trait: str, pattern: str) -> Judge:
    compiled = compile_pattern(pattern)
    own = TraitCard.model_validate(load_manifest(run).cards[trait]).signals.lexicon
    circular = own is not None and pattern in [item.match for item in own.patterns]

    def judge(answers: Sequence[str]) -> list[bool]:
        return [compiled.search(answer) is not None for answer in answers]

    return Judge(judge, f"the pattern {pattern}", digest_config(pattern), circular)
