"""`congener lineage`: from which of several candidates a model's habits come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from classifiers.lineage.families import compare_manner, rank_families, weigh_manner
from classifiers.lineage.habits import GramUse, Habit, count_usage, find_habits
from classifiers.lineage.ranking import (
    Ranking,
    choose_weights,
    rank_candidates,
    weigh,
)
from classifiers.lineage.resemblance import Resemblance, measure_resemblance
from classifiers.lineage.tokens import TokenisedTexts, count_grams, tokenise
from classifiers.lineage.trees import Join, build_tree
from pipelines.ancestry.answers import (
    ModelAnswers,
    NamedCorpus,
    read_answers,
    require_distinct,
)
from pipelines.ancestry.copies import Copy, drop_copies, find_same_answers, find_same_files
from pipelines.ancestry.families import Families, FamilyShare, list_shares, sort_families
from schemas.errors import CardError
from schemas.events import Listener, Noticed, ignore
from schemas.notices import Notice, format_count

MOST_ANSWERS = 1_000
"""How many answers of each model are compared.

The evaluation used 805; more take longer and change little.
"""

FEW_ANSWERS = 200
"""Below this number of answers, a notice says that the probabilities are rough."""

SHOWN_HABITS = 20


class Lineage(NamedTuple):
    """What was found for one model.

    `ranking` refers to candidates by their place in `candidates`. `habits` are those that the model
    shares with the best candidate. `left_out` are candidates that are one of the models. `families`
    are those that were asked about, likeliest first.
    """

    model: str
    candidates: tuple[str, ...]
    ranking: Ranking
    habits: list[Habit]
    answers: int
    shared_prompts: int
    left_out: tuple[Copy, ...] = ()
    families: tuple[FamilyShare, ...] = ()

    @property
    def best(self) -> str:
        """Return the name of the best candidate."""
        return self.candidates[self.ranking.candidates[0].candidate]

    @property
    def is_none(self) -> bool:
        """Return whether it is likelier that none of the candidates is the parent."""
        return self.ranking.none > 0.5

    @property
    def verdict(self) -> str | None:
        """Return the name of the likeliest parent, or None if no candidate is likely."""
        return None if self.is_none else self.best


class Family(NamedTuple):
    """What was found for all models, and the tree of models and candidates.

    The tree's leaves are places in `names`; the first `len(lineages)` of them are the models.
    """

    lineages: list[Lineage]
    names: tuple[str, ...]
    tree: list[Join]


class _Gathered(NamedTuple):
    """All answers in one array: each text's model and prompt, and its half for habits."""

    texts: TokenisedTexts
    model: np.ndarray
    prompt: np.ndarray
    half: np.ndarray


def trace_lineage(
    models: Sequence[NamedCorpus],
    candidates: Sequence[NamedCorpus],
    references: Sequence[NamedCorpus] = (),
    most: int = MOST_ANSWERS,
    listener: Listener = ignore,
    families: Sequence[str] = (),
) -> Family:
    """Rank the candidates for each model, and find the habits that it inherited.

    Without references, the candidates themselves are what is usual. The result doesn't depend on
    the other models, nor on the order of files and rows. Candidates that are one of the models are
    left out for all models. `families` are patterns of candidates' names, as `NAME=PATTERN`; each
    model also gets the probability of each family.

    Raises: CardError: a name occurs twice, there are too few models to say what is usual, or a
    candidate that was named is one of the models. Raises: InputError: a corpus can't be read.
    """
    copies = list(find_same_files(models, candidates))
    kept = _leave_out(copies, candidates, listener)
    require_roles(models, kept, references)
    asked, teachers = (_read_all(role, most, listener) for role in (models, kept))
    same = list(find_same_answers(asked, teachers))
    candidates = _leave_out(same, kept, listener)
    require_roles(models, candidates, references)
    groups = sort_families(families, [item.name for item in candidates])
    names = {item.name for item in candidates}
    teachers = [item for item in teachers if item.name in names]
    usual = _read_all(references, most, listener)
    _say(listener, f"comparing {format_count(len(asked + teachers + usual), 'model')}")
    family = _compare_all(asked, teachers, usual, groups)
    lineages = [item._replace(left_out=(*copies, *same)) for item in family.lineages]
    for item in lineages:
        if not item.ranking.uses_prompts:
            _say(listener, f"{item.model}: {NO_PROMPTS}")
    return family._replace(lineages=lineages)


def _read_all(corpora: Sequence[NamedCorpus], most: int, listener: Listener) -> list[ModelAnswers]:
    read = []
    for corpus in corpora:
        read.append(read_answers(corpus, most))
        _say(listener, describe_answers(read[-1]))
    return read


def _leave_out(
    copies: Sequence[Copy], candidates: Sequence[NamedCorpus], listener: Listener
) -> list[NamedCorpus]:
    """Return the candidates that aren't copies of a model, and say which ones are."""
    kept = drop_copies(copies, candidates, "--candidates")
    for copy in copies:
        _say(listener, f"{copy}, so it is left out of the candidates")
    return kept


def _compare_all(
    models: Sequence[ModelAnswers],
    candidates: Sequence[ModelAnswers],
    references: Sequence[ModelAnswers],
    groups: Families,
) -> Family:
    """Compare all models, rank the candidates for each of `models`, and build the tree."""
    read = [*models, *candidates, *references]
    found = gather(read)
    usual = np.zeros(len(read), bool)
    usual[len(models) + (len(candidates) if references else 0) :] = True
    likeness = measure_resemblance(found.texts, found.model, found.prompt, usual)
    usage = count_usage(found.texts, found.model, found.half, len(read))
    places = np.arange(len(models), len(models) + len(candidates))
    names = tuple(item.name for item in read)
    lineages = [
        _describe(read, found, likeness, usage, student, places) for student in range(len(models))
    ]
    if groups.names:
        shares = _rank_families(found, likeness, usual, groups, names[len(models) :])
        lineages = [item._replace(families=own) for item, own in zip(lineages, shares, strict=True)]
    leaves = np.arange(len(models) + len(candidates))
    return Family(lineages, names[: len(leaves)], build_tree(_compare(likeness, leaves)))


def _rank_families(
    found: _Gathered,
    likeness: Resemblance,
    usual: np.ndarray,
    groups: Families,
    names: Sequence[str],
) -> list[tuple[FamilyShare, ...]]:
    """Return the families of each model. `names` begins with those of the candidates."""
    counts = count_grams(found.texts, 1).counts
    manner = compare_manner(counts, found.model, found.prompt, usual)
    shares = []
    for student in range(len(usual) - len(names)):
        places = slice(len(usual) - len(names), len(usual) - len(names) + len(groups.of_candidate))
        measures = (manner.plain, manner.steady, likeness.overlap)
        evidence = weigh_manner(*(measure[student, places] for measure in measures))
        ranked = rank_families(evidence, groups.of_candidate, len(groups.names))
        shares.append(list_shares(groups, ranked, evidence, names))
    return shares


NO_PROMPTS = (
    "some candidates have too few answers to the same prompts, so only the wording is compared; "
    "this finds fewer parents"
)


def require_roles(
    models: Sequence[NamedCorpus],
    candidates: Sequence[NamedCorpus],
    references: Sequence[NamedCorpus],
) -> None:
    """Check that there is a model, and enough others to compare it with.

    Raises: CardError: something is missing, or a name occurs twice.
    """
    example = "congener lineage --model NAME=FILE --candidates NAME=FILE --candidates NAME=FILE"
    if not models or not candidates:
        missing = "--candidates" if models else "--model"
        raise CardError("is needed", where=missing, remedy=example)
    if len(candidates) < 2 and len(references) < 2:
        raise CardError(
            "one candidate can't be compared with anything",
            where="--candidates",
            remedy="name more candidates, or at least two unrelated models with --reference",
        )
    corpora = (*models, *candidates, *references)
    require_distinct(corpora, "--model, --candidates, --reference")


def describe_answers(read: ModelAnswers) -> str:
    """Say how many answers a model has, and what was left out."""
    text = f"{read.name}: {format_count(len(read.answers), 'answer')}"
    if read.rows > len(read.answers):
        text += f" of {format_count(read.rows, 'row')}"
    if read.rejects:
        text += f"; {format_count(read.rejects, 'row')} can't be read"
    if len(read.answers) < FEW_ANSWERS:
        text += "; with so few, probabilities are rough"
    return text


def gather(read: Sequence[ModelAnswers]) -> _Gathered:
    """Put all answers into arrays. Prompts are numbered; answers without a prompt have -1."""
    numbers: dict[str, int] = {}
    model, prompt, half = [], [], []
    for place, item in enumerate(read):
        for position, answer in enumerate(item.answers):
            known = answer.key is not None
            model.append(place)
            prompt.append(numbers.setdefault(answer.key, len(numbers)) if answer.key else -1)
            half.append(int(answer.key[0], 16) % 2 if known and answer.key else position % 2)
    texts = tokenise([answer.text for item in read for answer in item.answers])
    return _Gathered(texts, *(np.array(item, np.int64) for item in (model, prompt, half)))


def _describe(
    read: Sequence[ModelAnswers],
    found: _Gathered,
    likeness: Resemblance,
    usage: GramUse,
    student: int,
    candidates: np.ndarray,
) -> Lineage:
    """Return what was found for one model."""
    ranking = rank_candidates(likeness, student, candidates)
    best = ranking.candidates[0].candidate
    others = np.setdiff1d(np.arange(candidates[0], len(read)), [best])
    first = int(candidates[0])
    places = [item._replace(candidate=item.candidate - first) for item in ranking.candidates]
    return Lineage(
        read[student].name,
        tuple(read[place].name for place in candidates),
        ranking._replace(candidates=places),
        find_habits(usage, found.texts.vocabulary, student, best, others, SHOWN_HABITS),
        len(read[student].answers),
        int(likeness.shared[student, candidates].min()),
    )


def _compare(likeness: Resemblance, leaves: np.ndarray) -> np.ndarray:
    """Return how alike models are, by the evidence that ranks candidates."""
    place = np.ix_(leaves, leaves)
    wording, overlap = likeness.wording[place], likeness.overlap[place]
    return weigh(wording, overlap, choose_weights(overlap))


def _say(listener: Listener, text: str) -> None:
    listener(Noticed(Notice(text, is_recorded=False)))
