"""Offers: the rows of a run that wait for another answer, and the donors' rows with answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from schemas.digests import digest_bytes
from schemas.policies import SEVERITY
from transforms.records.answers import LastAnswer
from transforms.records.formats import Layout
from transforms.records.prompt_keys import NearPrompts, PromptKey, build_key, squeeze
from transforms.records.prompts import Prompt
from transforms.stored_rows import StoredRows, read_stored_rows, read_table


class StoredShard(NamedTuple):
    """A shard of the run whose rows are replaced: its name, its rows and its files by folder."""

    name: str
    rows: int
    files: dict[str, str]


class WaitingSettings(NamedTuple):
    """Where the run is, its layout, and the actions whose rows are to be replaced."""

    run: str
    layout: Layout
    replace: tuple[str, ...] = ("swap",)


class DonorFile(NamedTuple):
    """A file of a donor's rows: the donor's number and name, its run, layout, and the ledger."""

    number: int
    name: str
    run: str
    layout: Layout
    path: str
    ledger: str

    @property
    def key(self) -> str:
        """Return a name of the file among the files of all donors."""
        return f"{self.number}/{self.path}"


class Waiting(NamedTuple):
    """A row that waits for another answer, as the join needs it.

    `position` is the row's index in the shard's ledger. `answer` is a digest of its own answer.
    """

    key: PromptKey
    shard: str
    position: int
    answer: str


class Offer(NamedTuple):
    """A donor's row whose prompt is the waiting row's, or `distance` away from it.

    The fields are in the order in which offers are preferred. `traits` fire on the donor's row.
    """

    distance: float
    donor: int
    record: str
    file: str
    place: int
    answer: str
    name: str
    source: str
    row: int
    teacher: str | None
    traits: tuple[str, ...] = ()


class WaitingRow(NamedTuple):
    """A row that is to be replaced, and what it holds.

    `position` is its index in the shard's ledger, and `place` its index in its file. `traits` held
    the row. `key` is None if the prompt isn't complete, and `answer` is None if the answer can't be
    replaced.
    """

    position: int
    place: int
    traits: tuple[str, ...]
    prompt: Prompt
    key: PromptKey | None
    answer: LastAnswer | None


def find_waiting(
    shard: StoredShard, settings: WaitingSettings, ledger: Any = None
) -> tuple[StoredRows | None, list[WaitingRow]]:
    """Return the quarantined rows of a shard, and those of them that are to be replaced."""
    if "quarantine" not in shard.files:
        return None, []
    if ledger is None:
        ledger = read_table(settings.run, shard.files["ledger"], ["decision"])
    decisions = np.array(ledger.column("decision").to_pylist(), object)
    positions = np.flatnonzero(decisions == "quarantine").tolist()
    stored = read_stored_rows(settings.run, shard.files["quarantine"], settings.layout)
    return stored, [
        _describe_waiting(stored, index, position, traits)
        for index, position in enumerate(positions)
        if (traits := _list_traits(stored.notes[index], settings.replace))
    ]


def _list_traits(note: Any, replace: Sequence[str]) -> tuple[str, ...]:
    """Return the traits that hold a row, or nothing unless its action is one of `replace`."""
    reasons = note["reasons"]
    action = max((item["action"] for item in reasons), key=SEVERITY.index)
    found = {item["trait"] for item in reasons if item["action"] == action}
    return tuple(sorted(found)) if action in replace else ()


def _describe_waiting(
    stored: StoredRows, index: int, position: int, traits: tuple[str, ...]
) -> WaitingRow:
    prompt, answer = stored.build_prompt(index), stored.find_answer(index)
    return WaitingRow(position, index, traits, prompt, build_key(prompt), answer)


def list_waiting(shard: StoredShard, settings: WaitingSettings) -> Iterator[Waiting]:
    """Yield the rows of a shard that a donor's answer can replace."""
    for item in find_waiting(shard, settings)[1]:
        if item.key is not None and item.answer is not None:
            yield Waiting(item.key, shard.name, item.position, digest_answer(item.answer.text))


def digest_answer(text: str) -> str:
    """Return a digest of an answer. White space and the form of Unicode don't count."""
    return digest_bytes(squeeze(text).encode())


def list_offers(file: DonorFile, near: NearPrompts | None = None) -> Iterator[tuple[str, Offer]]:
    """Yield the rows of a donor's file, each with the digest of its prompt.

    With `near`, a row is also yielded with the digest of each near prompt. A row without a complete
    prompt or an answer of plain text is no offer.
    """
    stored = read_stored_rows(file.run, file.path, file.layout)
    for index, own in enumerate(_read_own_ledger(file)):
        if not len(stored.segments.find_in_row(index)):
            continue
        answer, key = stored.find_answer(index), build_key(stored.build_prompt(index))
        if answer is None or key is None or not answer.text:
            continue
        offer = Offer(
            0.0,
            file.number,
            own["record_id"],
            file.key,
            index,
            digest_answer(answer.text),
            file.name,
            own["source"],
            own["row"],
            own["teacher"],
            _list_findings(own),
        )
        yield key.whole, offer
        for whole, distance in near.find(key) if near else ():
            yield whole, offer._replace(distance=distance)


def _read_own_ledger(file: DonorFile) -> list[dict[str, Any]]:
    """Return the ledger's rows for a file, in the order of the file."""
    columns = ["record_id", "source", "row", "teacher", "decision", "reasons", "output"]
    rows: list[dict[str, Any]] = read_table(file.run, file.ledger, columns).to_pylist()
    return [row for row in rows if row["output"] == file.path]


def _list_findings(own: dict[str, Any]) -> tuple[str, ...]:
    """Return the traits that fire on a donor's row. A row that isn't kept always has one."""
    return tuple(sorted({item["trait"] for item in own["reasons"]}))


def read_answers(file: DonorFile, indexes: Sequence[int]) -> dict[int, str]:
    """Return the answers of some rows of a donor's file, keyed by index."""
    stored = read_stored_rows(file.run, file.path, file.layout)
    found = {index: stored.find_answer(index) for index in indexes}
    return {index: answer.text for index, answer in found.items() if answer is not None}
