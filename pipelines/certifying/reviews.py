"""Labels of the review page as answers about an audit's items, and why some don't count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from pipelines.certifying.answers import AuditAnswer, read_answers
from pipelines.label_files import is_table, read_entries
from pipelines.review.judgements import Place, find_place, read_lines
from schemas.certificates import AuditSample
from schemas.errors import CardError
from schemas.manifests import Manifest
from schemas.notices import format_count

NOT_BLIND = "given with scores and decisions in sight"
SEEN_BEFORE = "given blind after the same row was labelled in sight of its decision"
NOT_DRAWN = "on rows that the sample didn't draw"
NOT_AUDITED = "about traits that the audit doesn't have"
INCOMPLETE = "on items that lack a label for another trait of the audit"
"""Why a label of the review page doesn't count."""

Line: TypeAlias = Mapping[str, Any]


class ReviewCount(NamedTuple):
    """How many labels of a reviewer's file count, and why the others don't.

    `labels` counts labelled pairs of a row and a trait, and `items` the audit's items that the
    labels answer. `unused` counts labels by reason.
    """

    path: str
    reviewer: str
    labels: int
    counted: int
    items: int
    unused: Mapping[str, int]

    def describe_unused(self) -> Iterator[str]:
        """Yield each reason why labels don't count, with their number."""
        return (f"{count:,} {reason}" for reason, count in self.unused.items())

    def describe(self) -> str:
        """Say in a sentence which labels count."""
        text = (
            f"{self.path}: {self.counted:,} of {format_count(self.labels, 'label')} by "
            f"{self.reviewer} count, about {format_count(self.items, 'item')}"
        )
        return "; ".join((text, *(f"not {reason}" for reason in self.describe_unused())))


class GatheredAnswers(NamedTuple):
    """Answers, ordered by item and rater, and what became of the labels of the review page."""

    answers: list[AuditAnswer]
    reviews: list[ReviewCount]


def gather_answers(
    paths: Sequence[Path], manifest: Manifest, sample: AuditSample
) -> GatheredAnswers:
    """Read the answers of label files that the draw wrote, and of files of the review page.

    Raises: CardError: a file can't be read, or was changed; a line isn't a label of the sample; or
        a rater contradicts an own label.
    """
    reviewed = [path for path in paths if is_review(path)]
    sheets = [path for path in paths if path not in reviewed]
    found = {(answer.id, answer.rater): answer for answer in read_answers(sheets, sample)}
    counts = []
    for path in reviewed:
        answers, count = read_review(path, manifest, sample)
        counts.append(count)
        for answer in answers:
            if found.setdefault((answer.id, answer.rater), answer) != answer:
                raise CardError(
                    f"{answer.rater} has another label for item {answer.id} in another file",
                    where=str(path),
                    remedy="leave one of the two files out",
                )
    return GatheredAnswers([found[key] for key in sorted(found)], counts)


def is_review(path: Path) -> bool:
    """Return whether the review page wrote a file of labels, by its first line.

    Raises: CardError: the file can't be read.
    """
    if is_table(path):
        return False
    first = next(iter(read_entries(path)), None)
    return first is not None and {"before", "digest", "reviewer"} <= first.fields.keys()


def read_review(
    path: Path, manifest: Manifest, sample: AuditSample
) -> tuple[list[AuditAnswer], ReviewCount]:
    """Read a reviewer's file, and return the answers that count.

    A label counts if it was given blind to an item of the sample, before its reviewer labelled the
    same row in sight of its decision, and if the item has a label for every trait of the audit. Of
    several such labels, the last counts.

    Raises: CardError: a line was changed, or is about another run or another draw.
    """
    is_audit = "id" in next(iter(read_entries(path))).fields
    lines = read_lines(path, sample.origin if is_audit else manifest.digest)
    unused: Counter[str] = Counter()
    blind = _select_blind(lines, unused)
    items = {
        (item.id, 0) if is_audit else (item.source, item.row): item.id for item in sample.items
    }
    own: dict[str, dict[str, Any]] = {}
    for (source, row, trait), line in blind.items():
        name = items.get((source, row))
        if name is None or trait not in sample.traits:
            unused[NOT_DRAWN if name is None else NOT_AUDITED] += 1
        else:
            own.setdefault(name, {})[trait] = line["label"]
    whole = {name: labels for name, labels in own.items() if len(labels) == len(sample.traits)}
    unused[INCOMPLETE] += sum(len(labels) for name, labels in own.items() if name not in whole)
    reviewer = str(lines[-1]["reviewer"])
    answers = [_combine(name, reviewer, labels, sample) for name, labels in whole.items()]
    places = len({find_place(line) for line in lines})
    counted = len(whole) * len(sample.traits)
    reasons = {reason: count for reason, count in sorted(unused.items()) if count}
    return answers, ReviewCount(str(path), reviewer, places, counted, len(whole), reasons)


def _select_blind(lines: Sequence[Line], unused: Counter[str]) -> dict[Place, Line]:
    """Return the last blind label of each row and trait, and count the others by reason."""
    blind: dict[Place, Line] = {}
    late: dict[Place, str] = {}
    seen: set[tuple[str, int]] = set()
    for line in lines:
        place = find_place(line)
        if not line.get("blind"):
            seen.add(place[:2])
            late[place] = NOT_BLIND
        elif place[:2] in seen:
            late[place] = SEEN_BEFORE
        else:
            blind[place] = line
    unused.update(reason for place, reason in late.items() if place not in blind)
    return blind


def _combine(
    name: str, reviewer: str, labels: Mapping[str, Any], sample: AuditSample
) -> AuditAnswer:
    """Return the labels of an item's traits as one answer, with doubt only where it was stated."""
    unsure = tuple(trait for trait in sample.traits if not isinstance(labels[trait], bool))
    if len(unsure) == len(sample.traits):
        return AuditAnswer(name, reviewer, None)
    shows = tuple(trait for trait in sample.traits if labels[trait] is True)
    return AuditAnswer(name, reviewer, shows, unsure)
