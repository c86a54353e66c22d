"""Texts that show a finding, and texts like them that don't: what a trait card is made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

from classifiers.lots.discovery import KINDS, Kind, LotCandidates
from classifiers.lots.matches import Finder
from classifiers.lots.samples import LotSample
from classifiers.lots.tokens import LotTokens, find_tokens

Origin = Literal["finding", "same prompt", "near miss", "reference"]
"""Where a specimen is from: it shows the finding; it answers the prompt of a text that does; it has
the finding's rarest words; or it is any other text of the reference."""

MOST_FIT, MOST_HELD_OUT = 40, 20
"""How many texts that show a finding are kept from each half, and how many that don't."""

MOST_NEAR = 0.25
"""The share of the texts without a finding that may be near misses."""

POOL = 2_000
"""Among how many texts of each set and half near misses and other texts are looked for."""

AT_ONCE = 2_000
"""In how many texts findings are looked for at once, so that memory stays flat."""

REACH = 160
"""How many characters are kept on each side of a finding."""

EDGE = 320
"""How many characters are kept of an opening or a closing."""

LONGEST = 2_000
"""How many characters are kept of a text with a format."""

MOST_CHECKED = 400
"""How many near misses are checked for each finding and half. Many may show the finding."""

NEAR = 0.35
"""The share of a finding's information that a near miss must have: one rare word of two will do."""


class Specimen(NamedTuple):
    """An excerpt of a text for a finding. `finding` and `text` are indexes; see `Origin`."""

    finding: int
    text: int
    origin: Origin
    excerpt: str

    @property
    def shows(self) -> bool:
        """Return whether the text shows the finding."""
        return self.origin == "finding"


class Groups(NamedTuple):
    """Findings: each one's candidates, with the one that gives it its name first."""

    candidates: LotCandidates
    members: Sequence[Sequence[int]]

    def get_kind(self, finding: int) -> Kind:
        """Return a finding's kind."""
        return KINDS[int(self.candidates.kinds[self.members[finding][0]])]


def cut_excerpt(text: str, kind: Kind, start: int, end: int) -> str:
    """Return the part of a text that shows a finding at a span, in whole words where possible."""
    if kind == "format":
        return text[:LONGEST]
    if kind == "opening":
        return _drop_last_word(text, EDGE)
    if kind == "closing":
        return _drop_first_word(text, len(text) - EDGE)
    around = _drop_last_word(text, max(end + REACH, 0))
    return _drop_first_word(around, start - REACH)


def _drop_last_word(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    cut = text[:limit]
    blank = cut.rfind(" ", limit - 30)
    return cut[:blank] if blank > 0 else cut


def _drop_first_word(text: str, begin: int) -> str:
    if begin <= 0:
        return text
    blank = text.find(" ", begin, begin + 30)
    return text[blank + 1 :] if blank >= 0 else text[begin:]


def collect_specimens(sample: LotSample, found: Groups) -> list[Specimen]:
    """Return texts that show each finding and texts that don't, of both halves.

    Texts are taken in the order of prompts, which is that of a hash. A text without a finding holds
    none of its candidates. The result is ordered by finding, then as texts were chosen.
    """
    if not found.members:
        return []
    shown = _find_showing(sample, found)
    pools = [_Pool(sample, half) for half in (False, True)]
    chosen = [
        (finding, half, _list_contrasts(sample, found, finding, pools[half], shown[finding, half]))
        for finding in range(len(found.members))
        for half in (False, True)
    ]
    holds = _find_holding(sample, found, {text for *_, items in chosen for text, _, _ in items})
    specimens = []
    for finding, half, items in chosen:
        own = shown[finding, half]
        specimens += own
        free = [item for item in items if finding not in holds[item[0]]]
        specimens += _limit_contrasts(sample, found.get_kind(finding), finding, free, len(own))
    return specimens


def count_kept(half: bool) -> int:
    """Return how many texts of a half that show a finding are kept."""
    return MOST_HELD_OUT if half else MOST_FIT


def _find_showing(sample: LotSample, found: Groups) -> dict[tuple[int, bool], list[Specimen]]:
    """Return the first texts of the first set that show each finding, by half."""
    heads = np.array([group[0] for group in found.members])
    finder = Finder(found.candidates.take(heads))
    own, confirms = np.flatnonzero(sample.own), sample.confirms
    shown: dict[tuple[int, bool], list[Specimen]] = defaultdict(list)
    seen: dict[int, set[str]] = defaultdict(set)
    for first in range(0, len(own), AT_ONCE):
        places = own[first : first + AT_ONCE]
        matches = finder.find(sample.texts.take(pa.array(places)))
        columns = (column.tolist() for column in matches)
        for owner, finding, start, end in zip(*columns, strict=True):
            place = int(places[owner])
            half = bool(confirms[place])
            if len(shown[finding, half]) < count_kept(half):
                text = sample.texts[place].as_py()
                excerpt = cut_excerpt(text, found.get_kind(finding), start, end)
                if excerpt not in seen[finding]:
                    seen[finding].add(excerpt)
                    shown[finding, half].append(Specimen(finding, place, "finding", excerpt))
    return shown


class _Pool:
    """Texts of a half among which near misses and other texts are looked for."""

    def __init__(self, sample: LotSample, half: bool) -> None:
        inside = sample.confirms == half
        first = [np.flatnonzero(inside & (sample.own == own))[:POOL] for own in (True, False)]
        self.reference = first[1]
        self.places = np.sort(np.concatenate(first))
        self._tokens = find_tokens(sample.texts.take(pa.array(self.places)))
        self._order = np.argsort(self._tokens.hashes, kind="stable")
        self._hashes = self._tokens.hashes[self._order]

    def find_near(self, wanted: np.ndarray) -> list[tuple[int, int, int]]:
        """Return texts with a good part of the information in these tokens, the nearest first.

        Each has the span of the rarest of the tokens in it. A token that no text has says nothing.
        """
        weights: dict[int, float] = defaultdict(float)
        spans: dict[int, tuple[float, int, int]] = {}
        total = 0.0
        for token in np.unique(wanted):
            owners, starts, ends = self._look_up(self._tokens, token)
            if not len(owners):
                continue
            weight = float(np.log((1 + len(self.places)) / len(owners)))
            total += weight
            for owner, start, end in zip(
                owners.tolist(), starts.tolist(), ends.tolist(), strict=True
            ):
                weights[owner] += weight
                spans[owner] = max(spans.get(owner, (0.0, 0, 0)), (weight, start, end))
        near = [owner for owner, weight in weights.items() if weight >= max(NEAR * total, 1.0)]
        near.sort(key=lambda owner: (-weights[owner], owner))
        return [(int(self.places[owner]), *spans[owner][1:]) for owner in near[:MOST_CHECKED]]

    def _look_up(self, tokens: LotTokens, token: np.uint64) -> tuple[np.ndarray, ...]:
        """Return the texts with a token, and the span of the first one in each."""
        first, last = (np.searchsorted(self._hashes, token, side) for side in ("left", "right"))
        places = self._order[first:last]
        owners, firsts = np.unique(tokens.text[places], return_index=True)
        return owners, tokens.start[places[firsts]], tokens.end[places[firsts]]


_Contrast = tuple[int, Origin, tuple[int, int]]
"""A text, where it is from, and the span around which it is cut."""


def _list_contrasts(
    sample: LotSample, found: Groups, finding: int, pool: _Pool, shown: Sequence[Specimen]
) -> list[_Contrast]:
    """Return texts that may be contrasts to those that show a finding, the best ones first."""
    kind = found.get_kind(finding)
    places = [item.text for item in shown]
    same: list[_Contrast] = [(text, "same prompt", (0, 0)) for text in _answer(sample, places)]
    items = same[: len(shown) // 2]
    if kind in ("phrase", "pattern") and shown:
        tokens = _find_shared_tokens([item.excerpt for item in shown])
        near = pool.find_near(tokens)
        items += [(text, "near miss", (start, end)) for text, start, end in near]
    items += same[len(shown) // 2 :]
    items += [(int(text), "reference", (0, 0)) for text in pool.reference[: 2 * MOST_FIT].tolist()]
    return items


def _answer(sample: LotSample, places: Sequence[int]) -> Iterator[int]:
    """Yield the second set's texts that answer the same prompts."""
    for key in np.unique(sample.keys[list(places)]) if places else ():
        first, last = (int(np.searchsorted(sample.keys, key, side)) for side in ("left", "right"))
        for text in range(first, last):
            if not sample.own[text] and sample.asks[text]:
                yield text


def _find_shared_tokens(excerpts: Sequence[str]) -> np.ndarray:
    """Return the tokens that nearly all excerpts have: those of the finding."""
    tokens = find_tokens(pa.array(list(excerpts), pa.large_string()))
    pairs = np.unique(np.stack([tokens.hashes, tokens.text.astype(np.uint64)]), axis=1)
    hashes, counts = np.unique(pairs[0], return_counts=True)
    return np.asarray(hashes[counts >= 0.9 * len(excerpts)])


def _find_holding(sample: LotSample, found: Groups, texts: Iterable[int]) -> dict[int, set[int]]:
    """Return the findings that each text holds, in any of their forms."""
    places = np.array(sorted(texts), np.int64)
    owners = [finding for finding, group in enumerate(found.members) for _ in group]
    members = np.array([item for group in found.members for item in group], np.int64)
    finder = Finder(found.candidates.take(members))
    holds: dict[int, set[int]] = defaultdict(set)
    for first in range(0, len(places), AT_ONCE):
        block = places[first : first + AT_ONCE]
        matches = finder.find(sample.texts.take(pa.array(block)))
        pairs = zip(matches.owner.tolist(), matches.candidate.tolist(), strict=True)
        for owner, candidate in pairs:
            holds[int(block[owner])].add(owners[candidate])
    return holds


def _limit_contrasts(
    sample: LotSample, kind: Kind, finding: int, items: Sequence[_Contrast], most: int
) -> Iterator[Specimen]:
    """Yield as many texts without the finding as there are with it, each text once.

    At most a quarter are near misses, whose words may be the same habit in another form.
    """
    seen: set[int] = set()
    near = 0
    for text, origin, (start, end) in items:
        if len(seen) >= most:
            return
        is_near = origin == "near miss"
        if text in seen or (is_near and near >= MOST_NEAR * most):
            continue
        seen.add(text)
        near += is_near
        excerpt = cut_excerpt(sample.texts[text].as_py(), kind, start, end)
        yield Specimen(finding, text, origin, excerpt)
