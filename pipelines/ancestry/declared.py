"""Checking the teachers that a corpus declares against the text of its lots."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from classifiers.lineage.authorship import (
    CERTAIN,
    Authors,
    find_common,
    find_rival,
    learn_authors,
    weigh_words,
)
from classifiers.lineage.tokens import count_grams, tokenise
from pipelines.ancestry.answers import ModelAnswers, parse_corpora, read_answers
from pipelines.corpus_sample import choose_tasks
from schemas.digests import digest_bytes
from schemas.errors import CardError, TeacherError
from schemas.lots import LOT_FIELDS, UNKNOWN, Lot
from schemas.notices import Notice, choose_form, format_count, list_names, warn
from transforms.files.planning import ShardPlan
from transforms.files.shards import read_task
from transforms.files.sources import Corpus
from transforms.identify import IdentifiedShard, identify
from transforms.records.formats import Layout

OPTION = "--teacher-answers"

FEWEST_ANSWERS = 50
"""How many answers a lot, or a known teacher, must have to be compared."""

MOST_ANSWERS = 400
"""How many answers of a known teacher or a lot are compared; more change little."""

READ_ROWS = 50_000
"""How many rows of the corpus are read for the check, at least."""

Outcome = Literal["fits", "contradicted", "few", "unknown", "undeclared"]


class Claim(NamedTuple):
    """A lot, or the small lots of one teacher together, and what its text says of its teacher.

    `rival` is the known teacher that fits better than the declared one, by `deviation` standard
    errors.
    """

    lot: Lot
    answers: int
    outcome: Outcome
    rival: str = ""
    deviation: float = 0.0

    def describe(self) -> str:
        """Return the lot's fields in words."""
        rest = [
            f"{name} {getattr(self.lot, name)}"
            for name in LOT_FIELDS[1:]
            if getattr(self.lot, name) != UNKNOWN
        ]
        return f"{self.lot.teacher} ({', '.join(rest)})" if rest else self.lot.teacher


def check_teachers(
    given: Sequence[str], corpus: Corpus, layout: Layout, tasks: Sequence[tuple[ShardPlan, ...]]
) -> Iterator[Notice]:
    """Compare every lot with the answers of known teachers, and yield what was found.

    Raises: TeacherError: a lot's text contradicts its declared teacher. Raises: CardError: fewer
    than two teachers are known. Raises: InputError: a teacher's answers can't be read.
    """
    known = [read_answers(named, MOST_ANSWERS) for named in parse_corpora(given, OPTION)]
    if few := [item.name for item in known if len(item.answers) < FEWEST_ANSWERS]:
        yield warn(
            f"{list_names(few)}: fewer than {FEWEST_ANSWERS} known answers, so no lot is compared "
            "with them"
        )
    claims = compare_lots(gather_lots(corpus, layout, tasks), known)
    yield from describe_claims(claims)
    if wrong := [claim for claim in claims if claim.outcome == "contradicted"]:
        raise TeacherError(
            "; ".join(map(describe_contradiction, wrong)),
            remedy="correct the teacher's name or leave these lots out; without "
            f"{OPTION}, nothing is checked",
        )


def gather_lots(
    corpus: Corpus, layout: Layout, tasks: Sequence[tuple[ShardPlan, ...]]
) -> dict[Lot, list[str]]:
    """Return the answers of each lot, at most `MOST_ANSWERS`, which digests of the texts choose.

    Lots with fewer than `FEWEST_ANSWERS` are put together by teacher.
    """
    found: dict[Lot, list[tuple[str, str]]] = {}
    for task in choose_tasks(tasks, READ_ROWS):
        for shard in read_task(task, corpus.select_schema(layout)):
            for lot, text in _take_answers(identify(shard, layout)):
                found.setdefault(lot, []).append(
                    (digest_bytes(text.encode("utf-8", "surrogatepass")), text)
                )
    merged: dict[Lot, list[tuple[str, str]]] = {}
    for lot, answers in sorted(found.items()):
        small = len(answers) < FEWEST_ANSWERS
        merged.setdefault(Lot(lot.teacher) if small else lot, []).extend(answers)
    return {
        lot: [text for _, text in heapq.nsmallest(MOST_ANSWERS, answers)]
        for lot, answers in merged.items()
    }


def _take_answers(shard: IdentifiedShard) -> Iterator[tuple[Lot, str]]:
    """Yield each row's last trained answer with its lot."""
    segments = shard.segments.select_side("trained")
    places = segments.find_in_scope(("assistant",), ("answer",)).tolist()
    last = {int(segments.rows[place]): place for place in places}
    for row, place in last.items():
        if segments.texts[place].strip():
            yield (
                shard.lots[row]._replace(names="", rejected_teacher=UNKNOWN),
                segments.texts[place],
            )


def compare_lots(lots: Mapping[Lot, Sequence[str]], known: Sequence[ModelAnswers]) -> list[Claim]:
    """Compare lots with known teachers that have enough answers, in the lots' order.

    Raises: CardError: fewer than two teachers have enough answers.
    """
    known = [item for item in known if len(item.answers) >= FEWEST_ANSWERS]
    if len(known) < 2:
        raise CardError(
            f"at least two teachers with {FEWEST_ANSWERS} answers each are needed, and "
            f"{format_count(len(known), 'teacher')} {choose_form(len(known), 'has', 'have')} them",
            where=OPTION,
            remedy="name the answers of more teachers, one file for each",
        )
    places = {_simplify(item.name): place for place, item in enumerate(known)}
    claims = [_judge_early(lot, answers, places) for lot, answers in lots.items()]
    open_lots = [claim.lot for claim in claims if claim.outcome == "fits"]
    if not open_lots:
        return claims
    authors, counts = _learn(known, [lots[lot] for lot in open_lots])
    of_lot = dict(zip(open_lots, counts, strict=True))
    return [
        _judge(claim, authors, of_lot[claim.lot], places, known) if claim.lot in of_lot else claim
        for claim in claims
    ]


def _simplify(name: str) -> str:
    """Return a teacher's name without its owner and without case: `OpenAI/GPT-4` is `gpt-4`."""
    return name.rpartition("/")[2].strip().casefold()


def _judge_early(lot: Lot, answers: Sequence[str], places: Mapping[str, int]) -> Claim:
    """Return the claim of a lot that can't be compared, or a preliminary `fits`."""
    outcome: Outcome = "fits"
    if lot.teacher == UNKNOWN:
        outcome = "undeclared"
    elif _simplify(lot.teacher) not in places:
        outcome = "unknown"
    elif len(answers) < FEWEST_ANSWERS:
        outcome = "few"
    return Claim(lot, len(answers), outcome)


def _learn(
    known: Sequence[ModelAnswers], lots: Sequence[Sequence[str]]
) -> tuple[Authors, list[csr_matrix]]:
    """Learn what tells the teachers apart; return it with the counts of every lot's words."""
    texts = [answer.text for item in known for answer in item.answers]
    found = tokenise([*texts, *(text for lot in lots for text in lot)])
    counts = count_grams(found, 1).counts
    counts = counts[:, find_common(counts[: len(texts)])]
    author = np.repeat(np.arange(len(known)), [len(item.answers) for item in known])
    authors = learn_authors(weigh_words(counts[: len(texts)]), author, len(known))
    ends = (len(texts) + np.cumsum([0, *map(len, lots)])).tolist()
    return authors, [counts[begin:end] for begin, end in pairwise(ends)]


def _judge(
    claim: Claim,
    authors: Authors,
    counts: csr_matrix,
    places: Mapping[str, int],
    known: Sequence[ModelAnswers],
) -> Claim:
    """Return the claim with the teacher that speaks most against the declared one."""
    rival = find_rival(authors, weigh_words(counts), places[_simplify(claim.lot.teacher)])
    outcome: Outcome = "contradicted" if rival.deviation >= CERTAIN else "fits"
    return claim._replace(
        outcome=outcome, rival=known[rival.teacher].name, deviation=rival.deviation
    )


def describe_claims(claims: Sequence[Claim]) -> Iterator[Notice]:
    """Say how many lots fit their declared teachers, and which ones weren't compared."""
    named = {
        outcome: [claim for claim in claims if claim.outcome == outcome]
        for outcome in ("fits", "contradicted", "few", "unknown", "undeclared")
    }
    compared = len(named["fits"]) + len(named["contradicted"])
    verb = choose_form(len(named["fits"]), "fits", "fit")
    yield Notice(
        f"declared teachers: {len(named['fits'])} of {format_count(compared, 'compared lot')} "
        f"{verb} the declared teacher's known answers"
    )
    reasons = (
        ("few", f"fewer than {FEWEST_ANSWERS} answers"),
        ("unknown", f"no known answers in {OPTION}"),
        ("undeclared", "no declared teacher"),
    )
    for outcome, reason in reasons:
        if lots := named[outcome]:
            names = list_names([claim.describe() for claim in lots])
            yield Notice(f"not compared, because there are {reason}: {names}")


def describe_contradiction(claim: Claim) -> str:
    """Say which teacher fits a lot better than the declared one."""
    return (
        f"{format_count(claim.answers, 'answer')} of the lot {claim.describe()} are more like "
        f"{claim.rival}'s than {claim.lot.teacher}'s ({claim.deviation:.1f} standard errors)"
    )
