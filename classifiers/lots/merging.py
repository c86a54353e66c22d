"""Merging findings that are nearly the same: one phrase inside another, in the same texts.

Patterns and grammar also join the phrase that they only repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from classifiers.lots.counts import EMPTY
from classifiers.lots.discovery import KINDS, Kind
from classifiers.lots.skeletons import classify_words, hide_words
from classifiers.lots.tokens import LotTokens, find_tokens

NEAR = 0.5
"""The share of the rarer finding's texts in which the other must be, too."""

SHARED = 0.5
"""The share of the shorter finding's tokens that the other must have."""

SHARED_GRAMMAR = 0.6
"""The same for grammar, whose tokens are of few kinds: two of three, or three of four."""

SHARED_BY_KINDS = 1.0
"""The same for an opening and a phrase, or for a phrase and a pattern: one has all of the other."""

SAME_TEXTS = 0.85
"""The share of both findings' texts that marks and a format have in common if they are one."""

HIDING: dict[Kind, Callable[[LotTokens], LotTokens]] = {
    "pattern": hide_words,
    "grammar": classify_words,
}
"""How the kinds that hide words hide them."""

WRITTEN = ("phrase", "opening", "closing")
"""The kinds that patterns and grammar may only repeat."""


def merge(
    written: Sequence[str], kinds: np.ndarray, sizes: np.ndarray, sketches: np.ndarray
) -> list[list[int]]:
    """Return groups of findings that are nearly the same, each with its best ranked one first.

    Findings are given as they are written in a text, in the order of their ranks. `kinds` are
    indexes into `KINDS`, `sizes` are the numbers of texts, and `sketches` the texts' smallest
    digests. Two findings of a kind belong together if they share half of the tokens of the shorter
    one and half of the texts of the rarer one; in grammar, 60 % of the tokens. A pattern
    or grammar also belongs to a better ranked phrase, opening or closing that has half of its
    tokens and is in half of its texts. A phrase, opening or closing also belongs to a better ranked
    finding of another kind if one of the two has all tokens of the other. Formats aren't merged,
    but marks without letters belong to the format that is in the same texts.
    """
    forms = _list_forms(written)
    named = [KINDS[kind] for kind in kinds.tolist()]
    groups: list[list[int]] = []
    for index, kind in enumerate(named):
        for group in groups:
            head = group[0]
            tie = _compare_kinds(named[head], kind)
            if tie is None:
                continue
            one, other = (forms[tie.form][place] for place in (head, index))
            least = len(other) if tie.repeats else min(len(one), len(other))
            if len(one & other) < tie.share * max(1, least):
                continue
            fewest = sizes[index] if tie.repeats else min(sizes[head], sizes[index])
            common = estimate_common(sketches, sizes, head, index)
            if common >= NEAR * max(1.0, float(fewest)):
                group.append(index)
                break
        else:
            groups.append([index])
    return _join_marks(groups, written, named, (sizes, sketches))


def _join_marks(
    groups: Sequence[list[int]],
    written: Sequence[str],
    named: Sequence[Kind],
    counted: tuple[np.ndarray, np.ndarray],
) -> list[list[int]]:
    """Return the groups without those of marks alone that a format in the same texts names.

    `**` is in the texts with bold text, so it belongs to that finding.
    """
    sizes, sketches = counted
    formats = [group for group in groups if named[group[0]] == "format"]
    kept = []
    for group in groups:
        head, homes = group[0], formats
        if named[head] not in WRITTEN or any(map(str.isalnum, written[head])):
            homes = []
        for home in homes:
            most = max(sizes[home[0]], sizes[head])
            if estimate_common(sketches, sizes, home[0], head) >= SAME_TEXTS * most:
                home.extend(group)
                break
        else:
            kept.append(group)
    return kept


class _Tie(NamedTuple):
    """How findings of two kinds are compared: in which form, and which share of tokens is needed.

    If the second only `repeats` the first, the share is of its own tokens and texts.
    """

    form: Kind
    share: float
    repeats: bool = False


def _compare_kinds(head: Kind, kind: Kind) -> _Tie | None:
    """Return how a finding of a kind is compared with a better ranked one, or None if it isn't."""
    if "format" in (head, kind):
        return None  # every habit has a name of its own, whose words say nothing about texts
    if head == kind:
        form: Kind = kind if kind in HIDING else "phrase"
        return _Tie(form, SHARED_GRAMMAR if kind == "grammar" else SHARED)
    if kind in HIDING and head in WRITTEN:
        return _Tie(kind, SHARED, repeats=True)
    if kind in WRITTEN:
        return _Tie(head if head in HIDING else "phrase", SHARED_BY_KINDS)
    return None


def _list_forms(written: Sequence[str]) -> dict[Kind, list[frozenset[tuple[int, int]]]]:
    """Return the tokens of each finding as they are, and as each kind hides them.

    A token that a finding has twice is there twice: each is a hash and which of its copies it is.
    """
    found = find_tokens(pa.array(list(written), pa.large_string()))
    shown = {"phrase": found, **{kind: hide(found) for kind, hide in HIDING.items()}}
    forms = {}
    for kind, tokens in shown.items():
        hashes: list[list[int]] = [[] for _ in written]
        for index, value in zip(tokens.text.tolist(), tokens.hashes.tolist(), strict=True):
            hashes[index].append(value)
        forms[kind] = [
            frozenset((value, values[:place].count(value)) for place, value in enumerate(values))
            for values in hashes
        ]
    return forms


def estimate_common(sketches: np.ndarray, sizes: np.ndarray, one: int, other: int) -> float:
    """Return how many texts hold both of two findings, from sketches.

    The smallest digests of both together are a random sample of their texts (Broder, 1997). With
    64 digests, the estimated share of common texts has a standard error of at most 0.06.
    """
    mine, theirs = (row[row != EMPTY] for row in (sketches[one], sketches[other]))
    limit = min(len(mine), len(theirs)) or 1
    whole = int(sizes[one]) <= len(mine) and int(sizes[other]) <= len(theirs)
    sample = np.union1d(mine, theirs)
    sample = sample if whole else sample[:limit]
    common = np.isin(sample, mine) & np.isin(sample, theirs)
    likeness = float(common.mean()) if len(sample) else 0.0
    return likeness / (1 + likeness) * float(sizes[one] + sizes[other])
