"""What decides whether a student's answer shows the trait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from classifiers.clean_text import CleanRow, present_as_answers
from pipelines.recall import find_threshold, load_for_check
from pipelines.runs.manifest_file import load_manifest
from schemas.cards import TraitCard, compile_pattern
from schemas.digests import digest_config
from schemas.errors import CardError
from schemas.runs import BANK
from schemas.scores import COMBINED, fires
from schemas.trials import Measure
from transforms.files import storage

OWN_BANK = "run"
"""The setting that names the run's own bank."""


class Judge(NamedTuple):
    """A judge of answers.

    `circular` says whether the same detector decided which rows are flagged.
    """

    judge: Callable[[Sequence[str]], list[bool]]
    description: str
    digest: str
    circular: bool


def load_judge(run: str, trait: str, measure: Measure) -> Judge:
    """Load the judge that a trial's configuration names.

    Raises: CardError: the bank lacks the trait. Raises: ModelError: the bank can't be loaded.
    """
    if measure.pattern is not None:
        return _build_pattern_judge(run, trait, measure.pattern)
    own = storage.join(run, BANK)
    uri = own if measure.bank in (OWN_BANK, None) else str(measure.bank)
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
