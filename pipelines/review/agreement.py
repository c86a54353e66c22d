"""How far reviewers agree on the rows that several of them labelled, and what they agree on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from classifiers.guarantees.agreement import compute_kappa
from pipelines.review.judgements import Place, find_place, read_lines
from schemas.errors import CardError
from schemas.manifests import Manifest

FILE = re.compile(r"labels-(.+)\.jsonl")

Labels = Mapping[Place, Mapping[str, Any]]


class ReviewerPair(NamedTuple):
    """What two reviewers said about the same rows for one trait.

    `kappa` is Cohen's, over true, false and unsure; None if chance alone explains the agreement.
    """

    trait: str
    first: str
    second: str
    rows: int
    agreed: int
    kappa: float | None
    blind: int
    """How many of the rows both labelled without seeing scores and decisions."""


def read_reviews(folder: Path, manifest: Manifest) -> dict[str, Labels]:
    """Read the labels of all reviewers of a run, the last one for each row and trait.

    Raises: CardError: there is no file, or one was changed or is about another run.
    """
    found = {name[1]: path for path in folder.glob("*") if (name := FILE.fullmatch(path.name))}
    if not found:
        raise CardError(
            "has no file of labels",
            where=str(folder),
            remedy="label rows first: congener review RUN --reviewer NAME",
        )
    return {
        reviewer: {find_place(line): line for line in read_lines(path, manifest.digest)}
        for reviewer, path in sorted(found.items())
    }


def compare_reviewers(reviews: Mapping[str, Labels]) -> list[ReviewerPair]:
    """Compare every two reviewers on the rows that both labelled, trait by trait."""
    return [
        _compare(trait, one, other, reviews)
        for one, other in combinations(reviews, 2)
        for trait in sorted({place[2] for place in reviews[one].keys() & reviews[other].keys()})
    ]


def _compare(trait: str, one: str, other: str, reviews: Mapping[str, Labels]) -> ReviewerPair:
    shared = reviews[one].keys() & reviews[other].keys()
    places = sorted(place for place in shared if place[2] == trait)
    pairs = [(reviews[one][place], reviews[other][place]) for place in places]
    first, second = ([str(pair[at]["label"]) for pair in pairs] for at in (0, 1))
    agreed = sum(ours == theirs for ours, theirs in zip(first, second, strict=True))
    blind = sum(all(line.get("blind") for line in pair) for pair in pairs)
    kappa = compute_kappa(first, second)
    return ReviewerPair(trait, one, other, len(places), agreed, kappa, blind)


def merge_reviews(reviews: Mapping[str, Labels]) -> Iterator[dict[str, Any]]:
    """Yield one label for each row and trait, in order: unsure where reviewers differ.

    A label has the names of its reviewers, and their different reasons.
    """
    places = sorted({place for labels in reviews.values() for place in labels})
    for place in places:
        lines = [labels[place] for labels in reviews.values() if place in labels]
        yield _merge(lines)


def _merge(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = lines[0]
    given = {str(line["label"]) for line in lines}
    reasons = dict.fromkeys(line["reason"] for line in lines if line.get("reason"))
    return {
        **{name: first[name] for name in ("source", "row", "record_id", "trait")},
        "label": first["label"] if len(given) == 1 else "unsure",
        "time": max(line["time"] for line in lines),
        "reviewer": ", ".join(line["reviewer"] for line in lines),
        "picked": True,
        **({"reason": "; ".join(reasons)} if reasons else {}),
    }
