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


class OtherReviews(NamedTuple):
    """What other reviewers of a run said so far, and the files that can't be used."""

    labels: Mapping[str, Labels]
    unusable: tuple[str, ...] = ()

    def list_doubters(self, place: Place) -> list[str]:
        """Return who labelled a row for a trait, and didn't deny the finding."""
        pairs = ((name, labels.get(place)) for name, labels in self.labels.items())
        return [name for name, line in pairs if line is not None and line["label"] is not False]


def read_other_reviews(folder: Path, manifest: Manifest, reviewer: str) -> OtherReviews:
    """Read the files of all reviewers but one. A file that was changed is named, and left out."""
    labels: dict[str, Labels] = {}
    unusable = []
    for path in sorted(folder.glob("*")):
        name = FILE.fullmatch(path.name)
        if name and name[1] != reviewer:
            try:
                lines = read_lines(path, manifest.digest)
            except CardError:
                unusable.append(path.name)
            else:
                labels[name[1]] = {find_place(line): line for line in lines}
    return OtherReviews(labels, tuple(unusable))


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
