"""Phrases, openings, closings, patterns and grammar in excess: candidates for a test.

LotCandidates are chosen on one half of the texts and must be confirmed on the other half.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa

from classifiers.lots.permutations import adjust_p_values
from classifiers.lots.skeletons import classify_words, find_grammars, find_patterns, hide_words
from classifiers.lots.tokens import LotTokens, drop_repeats, extend_grams, find_tokens, hash_grams

Kind = Literal["phrase", "opening", "closing", "pattern", "format", "grammar"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""The kinds of candidates. Histories of a monitor have their indexes, so new ones come last."""

LONGEST: dict[Kind, int] = {
    "phrase": 5,
    "opening": 6,
    "closing": 6,
    "pattern": 6,
    "format": 0,
    "grammar": 5,
}
"""The largest number of tokens of each kind."""

SHORTEST: dict[Kind, int] = {"pattern": 4, "grammar": 3}
"""The smallest number of tokens of the kinds that hide words."""

FEWEST = 3
"""In how many texts of the discovery half a candidate must be, of both sets together."""

SAME = 0.9
"""A shorter candidate is left out if a longer one is in at least this share of its texts."""

SCREENING = 0.2
"""The false discovery rate of the screening. The confirmation decides, so it may be high."""

ALWAYS_KEPT = 200
"""How many of the best candidates are kept even if the screening finds nothing."""

MOST_CANDIDATES = 4_000

GRAMMAR_KEPT, MOST_GRAMMAR = 50, 1_000
"""The same two numbers for grammar, which is screened alone, so that it displaces no phrase."""

PRIOR = 100.0
"""The prior's weight in texts: about the α₀ at which rare and frequent words compete evenly."""

OPEN = np.uint64(0xE7037ED1A0B428DB)
CLOSE = np.uint64(0x8EBC6AF09C88C6E3)


class LotGrams(NamedTuple):
    """Occurrences of candidates of one kind and size.

    `owner` is each one's text, `hashes` identify it, and `first` and `last` are the indexes of its
    first and last tokens.
    """

    kind: Kind
    size: int
    owner: np.ndarray
    hashes: np.ndarray
    first: np.ndarray
    last: np.ndarray


class LotCandidates(NamedTuple):
    """Candidates: their kinds (as an index into `KINDS`), sizes and hashes.

    `own` and `other` are in how many texts of each set's discovery half they are.
    """

    kinds: np.ndarray
    sizes: np.ndarray
    hashes: np.ndarray
    own: np.ndarray
    other: np.ndarray

    def __len__(self) -> int:
        """Return the number of candidates."""
        return len(self.hashes)

    def take(self, chosen: np.ndarray) -> LotCandidates:
        """Return some of the candidates."""
        return LotCandidates(*(values[chosen] for values in self))


class CountedGrams(NamedTuple):
    """The grams of one size that are frequent enough: hashes, counts, and each place's gram.

    `places` are the tokens at which these grams begin, or the texts of openings and closings, and
    `numbers` the index of each.
    """

    size: int
    hashes: np.ndarray
    own: np.ndarray
    other: np.ndarray
    places: np.ndarray
    numbers: np.ndarray


def hash_edges(tokens: LotTokens, texts: int) -> Iterator[LotGrams]:
    """Yield the openings and the closings of each text, by size."""
    counts = tokens.count_by_text(texts)
    firsts = np.cumsum(counts) - counts
    edges: tuple[tuple[Kind, np.uint64], ...] = (("opening", OPEN), ("closing", CLOSE))
    for kind, salt in edges:
        grams = np.full(texts, salt)
        for size in range(1, LONGEST[kind] + 1):
            owner = np.flatnonzero(counts >= size)
            edge = firsts[owner] + (size - 1 if kind == "opening" else counts[owner] - size)
            grams[owner] = extend_grams(grams[owner], tokens.hashes[edge])
            other_edge = firsts[owner] + (0 if kind == "opening" else counts[owner] - 1)
            ends = (other_edge, edge) if kind == "opening" else (edge, other_edge)
            yield LotGrams(kind, size, owner, grams[owner].copy(), *ends)


@cache
def _hash_final_marks() -> np.ndarray:
    return find_tokens(pa.array(list(".,;:!?)"), pa.large_string())).hashes


def propose(
    tokens: LotTokens, labels: np.ndarray, kinds: tuple[Kind, ...] = KINDS
) -> LotCandidates:
    """Return candidates of all kinds but formats, the best ones first, and grammar last.

    `labels` say which texts are of the first set. A candidate is over-represented there. Longer
    n-grams are counted only where both of their shorter parts are frequent enough, which loses
    none. The choice depends only on the texts.
    """
    groups = []
    if "phrase" in kinds:
        groups += count_phrases(tokens, labels, "phrase")
    if "opening" in kinds or "closing" in kinds:
        groups += count_edges(tokens, labels)
    if "pattern" in kinds:
        groups += count_phrases(hide_words(tokens), labels, "pattern")
    sizes = int(labels.sum()), int((~labels).sum())
    found = [screen(join_candidates(groups), *sizes)] if groups else []
    if "grammar" in kinds:
        grammars = join_candidates(count_phrases(classify_words(tokens), labels, "grammar"))
        found.append(screen(grammars, *sizes, GRAMMAR_KEPT, MOST_GRAMMAR))
    return join_candidates(found)


def join_candidates(parts: Sequence[LotCandidates]) -> LotCandidates:
    """Return the candidates of several parts, in order."""
    return LotCandidates(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def count_phrases(tokens: LotTokens, labels: np.ndarray, kind: Kind) -> list[LotCandidates]:
    """Count n-grams by the number of texts, and leave out those that a longer one covers."""
    return [_build(kind, *item) for item in walk_phrases(tokens, labels, kind)]


def walk_phrases(
    tokens: LotTokens, labels: np.ndarray, kind: Kind
) -> Iterator[tuple[CountedGrams, np.ndarray]]:
    """Yield the frequent n-grams of a kind by size, and which of them are candidates."""
    before: CountedGrams | None = None
    shortest = SHORTEST.get(kind, 1)
    *_, (places, grams) = hash_grams(tokens, shortest)
    for size in range(shortest, LONGEST[kind] + 1):
        if before is not None:
            places, grams = _extend(tokens, before, size)
        counted = _count(size, tokens.text[places], places, grams, labels)
        if before is not None:
            yield before, _choose(tokens, kind, before, counted)
        before = counted
    if before is not None:
        yield before, _choose(tokens, kind, before, None)


def _choose(
    tokens: LotTokens, kind: Kind, counted: CountedGrams, longer: CountedGrams | None
) -> np.ndarray:
    """Return which n-grams are candidates.

    A phrase that a longer one covers isn't, and neither is one that begins with the mark that ends
    what was before.
    """
    _, firsts = np.unique(counted.numbers, return_index=True)
    first = counted.places[firsts]
    if kind == "pattern":
        return find_patterns(tokens, first, first + counted.size - 1)
    chosen = np.ones(len(counted.hashes), bool)
    if kind == "grammar":
        opens = np.ones(len(tokens), bool)
        chosen &= find_grammars(tokens, first, counted.size)
    else:
        opens = ~np.isin(tokens.hashes, _hash_final_marks())
        chosen &= opens[first] | (counted.size == 1)
    if longer is not None:
        chosen &= ~_find_covered(counted, longer, opens)
    return chosen


def _extend(tokens: LotTokens, before: CountedGrams, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where n-grams begin both of whose parts are frequent enough, and their hashes."""
    places = before.places
    follows = np.append(places[1:] == places[:-1] + 1, False)
    kept = np.flatnonzero(follows)
    begins = places[kept]
    inside = begins + size - 1 < len(tokens)
    kept, begins = kept[inside], begins[inside]
    same = tokens.text[begins] == tokens.text[begins + size - 1]
    kept, begins = kept[same], begins[same]
    grams = extend_grams(before.hashes[before.numbers[kept]], tokens.hashes[begins + size - 1])
    return begins, grams


def _count(
    size: int, owner: np.ndarray, places: np.ndarray, grams: np.ndarray, labels: np.ndarray
) -> CountedGrams:
    """Count the texts of each gram, and keep those that are frequent enough."""
    hashes, numbers = np.unique(grams, return_inverse=True)
    text, number = drop_repeats(owner, numbers)
    total = np.bincount(number, minlength=len(hashes))
    own = np.bincount(number[labels[text]], minlength=len(hashes))
    frequent = total >= FEWEST
    renumbered = np.cumsum(frequent) - 1
    kept = frequent[numbers]
    return CountedGrams(
        size,
        hashes[frequent],
        own[frequent],
        (total - own)[frequent],
        places[kept],
        renumbered[numbers[kept]],
    )


def _find_covered(before: CountedGrams, longer: CountedGrams, opens: np.ndarray) -> np.ndarray:
    """Return which n-grams are nearly always part of one and the same longer phrase.

    `opens` says with which tokens a phrase may begin.
    """
    covered = np.zeros(len(before.hashes), bool)
    for shift in (0, 1):
        index = np.searchsorted(before.places, longer.places + shift)
        part = before.numbers[index]
        covers = longer.own[longer.numbers] >= SAME * before.own[part]
        covers &= opens[longer.places]
        covered[part[covers]] = True
    return covered


def _build(kind: Kind, counted: CountedGrams, chosen: np.ndarray) -> LotCandidates:
    number = int(chosen.sum())
    return LotCandidates(
        np.full(number, KINDS.index(kind)),
        np.full(number, counted.size),
        counted.hashes[chosen],
        counted.own[chosen],
        counted.other[chosen],
    )


def count_edges(tokens: LotTokens, labels: np.ndarray) -> list[LotCandidates]:
    """Count openings and closings, and leave out those that a longer one covers.

    A closing doesn't begin with the mark that ends what was before.
    """
    return [_build(*item) for item in walk_edges(tokens, labels)]


def walk_edges(
    tokens: LotTokens, labels: np.ndarray
) -> Iterator[tuple[Kind, CountedGrams, np.ndarray]]:
    """Yield all frequent openings and closings by size, and which of them are candidates."""
    before: CountedGrams | None = None
    ends = np.isin(tokens.hashes, _hash_final_marks())
    for edges in hash_edges(tokens, len(labels)):
        grams = edges
        if edges.kind == "closing" and edges.size > 1:
            whole = ~ends[edges.first]
            grams = edges._replace(owner=edges.owner[whole], hashes=edges.hashes[whole])
        counted = _count(grams.size, grams.owner, grams.owner, grams.hashes, labels)
        if grams.size > 1 and before is not None:
            yield grams.kind, before, ~_cover(before, counted)
        if grams.size == LONGEST[grams.kind]:
            yield grams.kind, counted, np.ones(len(counted.hashes), bool)
        before = counted


def _cover(before: CountedGrams, longer: CountedGrams) -> np.ndarray:
    """Return which openings are nearly always part of one and the same longer opening."""
    covered = np.zeros(len(before.hashes), bool)
    _, mine, theirs = np.intersect1d(before.places, longer.places, return_indices=True)
    part, whole = before.numbers[mine], longer.numbers[theirs]
    covered[part[longer.own[whole] >= SAME * before.own[part]]] = True
    return covered


def screen(
    found: LotCandidates,
    own: int,
    other: int,
    kept: int = ALWAYS_KEPT,
    most: int = MOST_CANDIDATES,
) -> LotCandidates:
    """Return the candidates that may be over-represented in the first set, the best ones first.

    The best `kept` are kept in any case, and at most `most`.
    """
    from scipy.special import bdtrc  # noqa: PLC0415 - it takes a tenth of a second to load

    share = own / max(own + other, 1)
    p = np.where(found.own > 0, bdtrc(found.own - 1, found.own + found.other, share), 1.0)
    more = found.own * other > found.other * own
    wanted = more & (adjust_p_values(p) <= SCREENING)
    order = np.lexsort([found.hashes, found.sizes, found.kinds, p])
    order = order[more[order]]
    return found.take(order[: min(max(int(wanted.sum()), kept), most)])


def compute_log_odds(
    own: np.ndarray, other: np.ndarray, owns: int, others: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return log-odds ratios with an informative Dirichlet prior, and their spreads.

    Monroe, Colaresi, Quinn (Fightin' Words, Political Analysis 16, 2008), equations 16 and 20, on
    numbers of texts. The prior is the rate in both sets together, with the weight of `PRIOR` texts.
    """
    rate = (own + other) / max(owns + others, 1)
    prior = PRIOR * np.clip(rate, 1e-9, 1 - 1e-9)
    ratios = np.log((own + prior) / (owns + PRIOR - own - prior)) - np.log(
        (other + prior) / (others + PRIOR - other - prior)
    )
    return ratios, np.sqrt(1 / (own + prior) + 1 / (other + prior))
