"""Merging findings that are nearly the same: one phrase inside another, in the same texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from classifiers.lots.counts import EMPTY
from classifiers.lots.tokens import find_tokens

NEAR = 0.5
"""The share of the rarer finding's texts in which the other must be, too."""

SHARED = 0.5
"""The share of the shorter finding's tokens that the other must have."""


def merge(
    texts: Sequence[str], kinds: np.ndarray, sizes: np.ndarray, sketches: np.ndarray
) -> list[list[int]]:
    """Return groups of findings that are nearly the same, each with its best ranked one first.

    Findings are given in the order of their ranks. `sizes` are their numbers of texts, and
    `sketches` their texts' smallest digests. Two findings of a kind belong together if they share
    half of the tokens of the shorter one and half of the texts of the rarer one.
    """
    found = find_tokens(pa.array(list(texts), pa.large_string()))
    tokens = [frozenset(found.hashes[found.text == index].tolist()) for index in range(len(texts))]
    groups: list[list[int]] = []
    for index in range(len(texts)):
        for group in groups:
            head = group[0]
            if (
                kinds[head] == kinds[index]
                and _share_tokens(tokens[head], tokens[index])
                and estimate_overlap(sketches, sizes, head, index) >= NEAR
            ):
                group.append(index)
                break
        else:
            groups.append([index])
    return groups


def _share_tokens(one: frozenset[int], other: frozenset[int]) -> bool:
    return len(one & other) >= SHARED * max(1, min(len(one), len(other)))


def estimate_overlap(sketches: np.ndarray, sizes: np.ndarray, one: int, other: int) -> float:
    """Return the share of the rarer finding's texts that hold the other one, from sketches.

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
    both = likeness / (1 + likeness) * float(sizes[one] + sizes[other])
    return both / max(1.0, float(min(sizes[one], sizes[other])))
