"""Counts of candidates in texts: by half, by cell and by lot, with sketches and examples.

Counts of several parts of a corpus add up, in any order.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from classifiers.lots.discovery import LotCandidates
from classifiers.lots.matches import Finder, Matches

SKETCH = 64
"""How many texts' digests are kept for each candidate: the smallest ones, a random sample."""

EXAMPLES = 3
"""How many examples are kept for each candidate and set: those with the smallest digests."""

AROUND = 90
"""How many characters of context an example has on each side."""

PROMPT_SHOWN = 160
"""How many characters of an example's prompt are kept."""

REACH = 25
"""How far from a cut the end of a word is looked for, in characters."""

MOST_LOTS = 64
"""How many lots are counted one by one. The rest are counted together."""

ARRAYS = (
    *("by_half", "by_cell", "by_lot"),
    *("texts_by_half", "texts_by_cell", "texts_by_lot", "sketches", "strays", "is_rare"),
)

EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)


class CountedRows(NamedTuple):
    """Texts to count: `own` says which are of the first set, `confirms` which of the second half.

    `cells` are strata and formats together, and `lots` indexes of lots; all are int64 [texts].
    `digests` are uint64, and identify texts. `strays` says which texts of the second half are in
    another language than their prompt, if that was found out. `prompts` are the texts' prompts,
    empty where there is none, if examples are to have them.
    """

    texts: pa.LargeStringArray
    own: np.ndarray
    confirms: np.ndarray
    cells: np.ndarray
    lots: np.ndarray
    digests: np.ndarray
    strays: np.ndarray | None = None
    prompts: pa.LargeStringArray | None = None


class LotExample(NamedTuple):
    """A candidate in a text, with context before and after it.

    `prompt` is the beginning of the text's prompt, or empty if it has none.
    """

    digest: int
    before: str
    text: str
    after: str
    prompt: str = ""


@dataclass
class Counts:
    """How many texts hold each candidate.

    `by_half` is int64 [candidates, discovery or confirmation, second or first set], `by_cell` is
    int64 [candidates, sets, cells] of the confirming half, and `by_lot` int64 [candidates, lots].
    The fields with `texts` have the numbers of all texts. `sketches` are the smallest digests of
    the first set's texts, uint64 [candidates, `SKETCH`]; for the candidates in `is_rare`, which the
    second set has more often, they are those of its texts. `examples` are those of each candidate,
    for the second and the first set. `strays` are each set's texts of the confirming half that are
    in another language than their prompt, int64 [sets].
    """

    by_half: np.ndarray
    by_cell: np.ndarray
    by_lot: np.ndarray
    texts_by_half: np.ndarray
    texts_by_cell: np.ndarray
    texts_by_lot: np.ndarray
    sketches: np.ndarray
    strays: np.ndarray
    is_rare: np.ndarray
    examples: tuple[dict[int, list[LotExample]], dict[int, list[LotExample]]] = field(
        default_factory=lambda: ({}, {})
    )

    @classmethod
    def start(cls, candidates: int, cells: int, lots: int, first_rare: int | None = None) -> Counts:
        """Return counts of no text. The second set has the candidates from `first_rare` on more."""
        rare = np.arange(candidates) >= (candidates if first_rare is None else first_rare)
        return cls(
            np.zeros((candidates, 2, 2), np.int64),
            np.zeros((candidates, 2, cells), np.int64),
            np.zeros((candidates, lots), np.int64),
            np.zeros((2, 2), np.int64),
            np.zeros((2, cells), np.int64),
            np.zeros(lots, np.int64),
            np.full((candidates, SKETCH), EMPTY),
            np.zeros(2, np.int64),
            rare,
        )

    def encode(self) -> bytes:
        """Return the counts as an npz file without pickled objects."""
        quoted = json.dumps([sorted(found.items()) for found in self.examples]).encode()
        arrays = {name: getattr(self, name) for name in ARRAYS}
        stream = io.BytesIO()
        np.savez(stream, examples=np.frombuffer(quoted, np.uint8), **arrays)
        return stream.getvalue()

    @classmethod
    def decode(cls, data: bytes) -> Counts:
        """Read what `encode` returned."""
        with np.load(io.BytesIO(data), allow_pickle=False) as saved:
            quoted = json.loads(saved["examples"].tobytes())
            arrays = [saved[name] for name in ARRAYS]
        read = [
            {key: [LotExample(*item) for item in found] for key, found in part} for part in quoted
        ]
        found = cls(*arrays)
        found.examples = (read[0], read[1])
        return found

    def take(self, places: np.ndarray) -> Counts:
        """Return the counts of some candidates."""
        names = ("by_half", "by_cell", "by_lot", "sketches", "is_rare")
        order = {int(place): index for index, place in enumerate(places.tolist())}
        one, other = (
            {order[key]: found for key, found in part.items() if key in order}
            for part in self.examples
        )
        chosen = {name: getattr(self, name)[places] for name in names}
        return replace(self, **chosen, examples=(one, other))

    def exchange(self) -> Counts:
        """Return the counts with the first set as the second, and the second as the first."""
        turned = {
            "by_half": self.by_half[:, :, ::-1],
            "by_cell": self.by_cell[:, ::-1],
            "texts_by_half": self.texts_by_half[:, ::-1],
            "texts_by_cell": self.texts_by_cell[::-1],
            "strays": self.strays[::-1],
        }
        return replace(self, **turned, examples=self.examples[::-1])

    def add(self, other: Counts) -> None:
        """Add the counts of other texts."""
        for name in ("by_half", "by_cell", "by_lot"):
            for field_name in (name, f"texts_{name}"):
                total = getattr(self, field_name)
                total += getattr(other, field_name)
        self.strays += other.strays
        self._keep_smallest(other.sketches)
        for own, more in zip(self.examples, other.examples, strict=True):
            for candidate, found in more.items():
                own[candidate] = sorted([*own.get(candidate, ()), *found])[:EXAMPLES]

    def _keep_smallest(self, more: np.ndarray) -> None:
        joined = np.sort(np.concatenate([self.sketches, more], axis=1), axis=1)
        joined[:, 1:][joined[:, 1:] == joined[:, :-1]] = EMPTY  # a text that is counted twice
        self.sketches = np.sort(joined, axis=1)[:, :SKETCH]

    def count(self, rows: CountedRows, finder: Finder) -> None:
        """Count the candidates of some texts."""
        found = finder.find(rows.texts)
        sets, halves = rows.own.astype(np.int64), rows.confirms.astype(np.int64)
        confirms = rows.confirms
        owner, candidate = found.owner, found.candidate
        _add_at(self.by_half, candidate, halves[owner], sets[owner])
        _add_at(self.by_lot, candidate, rows.lots[owner])
        kept = confirms[owner]
        _add_at(self.by_cell, candidate[kept], sets[owner[kept]], rows.cells[owner[kept]])
        _add_at(self.texts_by_half, halves, sets)
        _add_at(self.texts_by_lot, rows.lots)
        _add_at(self.texts_by_cell, sets[confirms], rows.cells[confirms])
        if rows.strays is not None:
            self.strays += np.bincount(sets[rows.strays], minlength=2)
        self._sketch(rows, found)
        for index in (0, 1):
            self._quote(rows, found, index)

    def _sketch(self, rows: CountedRows, found: Matches) -> None:
        own = rows.own[found.owner] != self.is_rare[found.candidate]
        candidate, digest = found.candidate[own], rows.digests[found.owner[own]]
        kept, place = _choose_first(candidate, digest, SKETCH)
        more = np.full_like(self.sketches, EMPTY)
        more[candidate[kept], place] = digest[kept]
        self._keep_smallest(more)

    def _quote(self, rows: CountedRows, found: Matches, index: int) -> None:
        which = np.flatnonzero(rows.own[found.owner] == bool(index))
        digest = rows.digests[found.owner[which]]
        kept, _ = _choose_first(found.candidate[which], digest, EXAMPLES)
        examples = self.examples[index]
        for place in which[kept].tolist():
            candidate, owner = int(found.candidate[place]), int(found.owner[place])
            known = examples.setdefault(candidate, [])
            number = int(rows.digests[owner])
            if len(known) < EXAMPLES or number < known[-1].digest:
                text = rows.texts[owner].as_py()
                span = int(found.start[place]), int(found.end[place])
                asked = "" if rows.prompts is None else rows.prompts[owner].as_py()
                known.append(quote(number, text, *span, asked))
                known.sort()
                del known[EXAMPLES:]


def quote(digest: int, text: str, start: int, end: int, prompt: str = "") -> LotExample:
    """Return a span of a text with its context, in whole words where one ends nearby.

    The prompt is cut to `PROMPT_SHOWN` characters.
    """
    first, last = max(0, start - AROUND), min(len(text), end + AROUND)
    before, after = text[first:start], text[end:last]
    if first:
        before = before[_find_blank(before[:REACH]) :]
    if last < len(text):
        after = after[: len(after) - _find_blank(after[: -REACH - 1 : -1])]
    return LotExample(digest, before, text[start:end], after, _cut_prompt(prompt))


def _cut_prompt(prompt: str) -> str:
    if len(prompt) <= PROMPT_SHOWN:
        return prompt
    kept = prompt[: PROMPT_SHOWN - 1]
    return f"{kept[: len(kept) - _find_blank(kept[: -REACH - 1 : -1])].rstrip()}…"


def _find_blank(text: str) -> int:
    """Return the place of the first white space, or 0 without one."""
    return next((place for place, letter in enumerate(text) if letter.isspace()), 0)


def _add_at(counts: np.ndarray, *indexes: np.ndarray) -> None:
    """Count places of an array in which each combination of indexes is one place."""
    flat = np.ravel_multi_index(indexes, counts.shape)
    counts += np.bincount(flat, minlength=counts.size).reshape(counts.shape)


def _choose_first(
    candidate: np.ndarray, digest: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of each candidate's smallest digests, and each one's order among them."""
    order = np.lexsort([digest, candidate])
    ordered = candidate[order]
    begins = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)])
    sizes = np.diff(np.append(begins, len(ordered)))
    place = np.arange(len(ordered)) - np.repeat(begins, sizes)
    kept = place < most
    return order[kept], place[kept]


def count_texts(rows: CountedRows, candidates: LotCandidates, cells: int, lots: int) -> Counts:
    """Return the counts of some texts."""
    counts = Counts.start(len(candidates), cells, lots)
    counts.count(rows, Finder(candidates))
    return counts
