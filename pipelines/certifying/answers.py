"""What raters answered about the items of a sample."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.label_files import read_entries
from pipelines.labels import SPELLINGS
from schemas.certificates import AuditItem, AuditSample
from schemas.digests import digest_bytes
from schemas.errors import CardError
from transforms.files.locations import describe_unusable

NONE = ("none", "-", "0")
"""Accepted texts of a label that says that no trait shows, besides no and false."""


class AuditAnswer(NamedTuple):
    """One rater's answer about one item: the traits that it shows, or None for unsure.

    `unsure` names the traits about which alone the rater is unsure. It is empty if `shows` is None.
    """

    id: str
    rater: str
    shows: tuple[str, ...] | None
    unsure: tuple[str, ...] = ()

    def to_line(self) -> dict[str, Any]:
        """Return the answer as a line of the run's own label file, without text.

        The field `unsure` is only written if it names a trait, so the bytes and the digests of
        other answers are those of earlier versions.
        """
        label = "unsure" if self.shows is None else list(self.shows)
        line = {"id": self.id, "rater": self.rater, "label": label}
        return {**line, "unsure": list(self.unsure)} if self.unsure else line

    def says(self, trait: str | None) -> str:
        """Return yes, no or unsure about one trait, or about all of them together.

        Together, one trait that shows is enough for yes, and otherwise one doubt for unsure.
        """
        if self.shows is None:
            return "unsure"
        if self.shows if trait is None else trait in self.shows:
            return "yes"
        return "unsure" if (self.unsure if trait is None else trait in self.unsure) else "no"


def read_answers(paths: Sequence[Path], sample: AuditSample) -> list[AuditAnswer]:
    """Read the answers of label files, ordered by item and rater.

    A rater is named by the field `rater`, or else by the file's name.

    Raises: CardError: a file can't be read, a line isn't a label of the sample, or a rater
        contradicts an own label.
    """
    known = {item.id for item in sample.items}
    found: dict[tuple[str, str], AuditAnswer] = {}
    for path in paths:
        for answer, place in _read_file(path, sample):
            if answer.id not in known:
                raise CardError(
                    f"no item of the sample is called {answer.id[:40]!r}",
                    where=f"{path} {place}",
                    remedy="name the label file that certify --draw wrote for this run",
                )
            earlier = found.setdefault((answer.id, answer.rater), answer)
            if earlier != answer:
                raise CardError(
                    f"{answer.rater} has two different labels for item {answer.id}",
                    where=f"{path} {place}",
                    remedy="keep one of them, or name two raters in the field `rater`",
                )
    return [found[key] for key in sorted(found)]


def name_draw(sample: AuditSample) -> str:
    """Return what a label file's lines call their draw.

    Items are numbered, so without it, labels of another draw would be taken for those of this one.
    """
    return sample.origin[:16]


def _read_file(path: Path, sample: AuditSample) -> Iterator[tuple[AuditAnswer, str]]:
    draw = name_draw(sample)
    for place, fields in read_entries(path):
        where = f"{path} {place}"
        if fields.get("draw") not in (None, draw):
            raise CardError(
                "is of another draw or another run",
                where=where,
                remedy="name the label file that this run's last draw wrote",
            )
        name, rater = fields.get("id"), fields.get("rater")
        if name is None:
            raise CardError(
                "has no `id`",
                where=where,
                remedy="keep the lines that certify --draw wrote, and set each `label`; of "
                "reviews, name each reviewer's own file",
            )
        if fields.get("label") is not None:
            shows, unsure = parse_label(fields, sample.traits, where)
            if problem := describe_unusable(str(rater)):
                raise CardError(f"the rater's name {problem}", where=where)
            identity = f"{name:05d}" if isinstance(name, int) else str(name)
            yield AuditAnswer(identity, str(rater or path.stem), shows, unsure), place


def parse_shown(value: object, traits: Sequence[str], where: str) -> tuple[str, ...] | None:
    """Return the traits that a label names, in the audit's order, or None for unsure.

    With a single trait, yes and true name it. No, none, false and an empty list name no trait.

    Raises: CardError: the label has another form.
    """
    if isinstance(value, list):
        names = [str(name) for name in value]
    else:
        spelled = str(value).strip().lower()
        if spelled in NONE or SPELLINGS.get(spelled, True) is False:
            return ()
        if spelled in SPELLINGS and SPELLINGS[spelled] is None:
            return None
        if spelled in SPELLINGS and len(traits) == 1:
            return (traits[0],)
        names = re.split(r"[\s,;]+", spelled)
    unknown = [name for name in names if name not in traits]
    if unknown:
        raise CardError(
            f"label {unknown[0][:40]!r} is no trait of the audit",
            where=where,
            remedy=f"name those of {', '.join(traits)} that show; or write none or unsure",
        )
    return tuple(trait for trait in traits if trait in names)


def parse_label(
    fields: Mapping[str, Any], traits: Sequence[str], where: str
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Return the traits that a line's `label` names, and those that its `unsure` names.

    Doubt about every trait is the label unsure.

    Raises: CardError: one of the fields has another form, or they contradict each other.
    """
    shows = parse_shown(fields["label"], traits, where)
    named = fields.get("unsure") or ()
    unsure = () if not named else parse_shown(named, traits, where)
    if unsure == ():
        return shows, ()
    if shows is None or unsure is None or set(shows) & set(unsure):
        raise CardError(
            "`label` and `unsure` contradict each other",
            where=where,
            remedy="name in `label` the traits that show, and in `unsure` those in doubt",
        )
    return (None, ()) if len(unsure) == len(traits) else (shows, unsure)


def encode_answers(answers: Sequence[AuditAnswer]) -> bytes:
    """Encode answers as the JSON Lines that the run's folder holds, which have no text."""
    lines = (json.dumps(answer.to_line(), ensure_ascii=False) for answer in answers)
    return "".join(f"{line}\n" for line in lines).encode()


def digest_answers(answers: Sequence[AuditAnswer]) -> str:
    """Return the digest of answers as they are encoded."""
    return digest_bytes(encode_answers(answers))


class ReadItem(NamedTuple):
    """An item and the answers about it, by rater."""

    item: AuditItem
    answers: Mapping[str, AuditAnswer]

    def is_doubtful(self, trait: str | None) -> bool:
        """Return whether a rater is unsure, or raters differ."""
        said = {answer.says(trait) for answer in self.answers.values()}
        return said not in ({"yes"}, {"no"})

    def counts_as(self, trait: str | None, doubtful: bool) -> bool:
        """Return whether the item shows a trait; in doubt, return `doubtful`."""
        if self.is_doubtful(trait):
            return doubtful
        return all(answer.says(trait) == "yes" for answer in self.answers.values())

    def list_shown(self, traits: Sequence[str]) -> tuple[str, ...]:
        """Return the traits that raters saw in the item, without doubt."""
        return tuple(trait for trait in traits if self.counts_as(trait, doubtful=False))

    def locate(self, traits: tuple[str, ...]) -> TraitedRow:
        """Return the item's row with these traits."""
        return TraitedRow(self.item.id, self.item.source, self.item.row, traits)


def match_answers(sample: AuditSample, answers: Sequence[AuditAnswer], kind: str) -> list[ReadItem]:
    """Return the read items of one kind, up to the first that nobody has read.

    Later ones don't count yet: which items are read must not depend on what they say.
    """
    by_item: dict[str, dict[str, AuditAnswer]] = {}
    for answer in answers:
        by_item.setdefault(answer.id, {})[answer.rater] = answer
    read = []
    for item in sample.items:
        if item.kind == kind:
            if item.id not in by_item:
                break
            read.append(ReadItem(item, by_item[item.id]))
    return read


class TraitedRow(NamedTuple):
    """A row that was read, and the traits that raters saw in it.

    There are none if the row only counts as showing a trait because of doubt. Of a removed row that
    is clean, the traits are those that removed it.
    """

    item: str
    source: str | None
    row: int | None
    traits: tuple[str, ...]

    def describe(self) -> str:
        """Name the item, the row and its traits."""
        traits = ", ".join(self.traits) or "unsure"
        return f"item {self.item}, {self.source}:{self.row}: {traits}"


def find_clean(sample: AuditSample, answers: Sequence[AuditAnswer]) -> tuple[TraitedRow, ...]:
    """Return the removed rows in which raters surely saw no trait, with those that removed them."""
    return tuple(
        read.locate(read.item.removed_by or read.item.fired)
        for read in match_answers(sample, answers, "removed")
        if not read.counts_as(None, doubtful=True)
    )


def find_shown(sample: AuditSample, answers: Sequence[AuditAnswer]) -> tuple[TraitedRow, ...]:
    """Return the kept rows that count as showing a trait, in the order of reading."""
    return tuple(
        read.locate(read.list_shown(sample.traits))
        for read in match_answers(sample, answers, "kept")
        if read.counts_as(None, doubtful=True)
    )


def find_next(sample: AuditSample, answers: Sequence[AuditAnswer], rater: str) -> list[str]:
    """Return the names of the items that a rater hasn't answered yet, in the order of reading."""
    done = {answer.id for answer in answers if answer.rater == rater}
    return [item.id for item in sample.items if item.id not in done]
