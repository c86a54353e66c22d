"""The families of candidates that `congener lineage --family` names."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np

from schemas.errors import CardError
from schemas.notices import list_names

OPTION = "--family"


class Families(NamedTuple):
    """The names of families, and the family of each candidate, int64, below 0 if it has none."""

    names: tuple[str, ...]
    of_candidate: np.ndarray


class FamilyShare(NamedTuple):
    """A family, its probability, and its candidate that is most like the model."""

    family: str
    probability: float
    nearest: str


def sort_families(given: Sequence[str], candidates: Sequence[str]) -> Families:
    """Read `NAME=PATTERN`, where a pattern such as `gpt*` matches names of candidates.

    A family that is given twice has the candidates of both patterns. Without any family, all
    candidates have none.

    Raises: CardError: something isn't `NAME=PATTERN`, a pattern matches no candidate, a candidate
    is in two families, or there is only one family.
    """
    names: list[str] = []
    found = np.full(len(candidates), -1, np.int64)
    for text in given:
        name, pattern = _split(text)
        names += [] if name in names else [name]
        matched = [place for place, own in enumerate(candidates) if fnmatchcase(own, pattern)]
        if not matched:
            raise CardError(
                f"{pattern!r} matches no candidate",
                where=OPTION,
                remedy=f"the candidates are {list_names(candidates)}",
            )
        for place in matched:
            if found[place] not in (-1, names.index(name)):
                raise CardError(
                    f"{candidates[place]!r} is in the families {names[found[place]]!r} and "
                    f"{name!r}",
                    where=OPTION,
                    remedy="give each candidate one family",
                )
            found[place] = names.index(name)
    if len(names) == 1:
        raise CardError(
            f"{names[0]!r} is the only family",
            where=OPTION,
            remedy=f"name at least two: {OPTION} OpenAI='gpt*' {OPTION} Anthropic='claude*'",
        )
    return Families(tuple(names), found)


def _split(text: str) -> tuple[str, str]:
    name, _, pattern = (part.strip() for part in text.partition("="))
    if not name or not pattern:
        raise CardError(
            f"{text!r} isn't NAME=PATTERN", where=OPTION, remedy=f"{OPTION} OpenAI='gpt*'"
        )
    return name, pattern


def list_shares(
    families: Families,
    shares: np.ndarray,
    evidence: np.ndarray,
    candidates: Sequence[str],
) -> tuple[FamilyShare, ...]:
    """Return the families, likeliest first, with the nearest candidate of each.

    `shares` is float64 [families] and `evidence` float64 [candidates]. Equal families keep their
    order.
    """
    found = []
    for place in np.argsort(-shares, kind="stable").tolist():
        own = np.flatnonzero(families.of_candidate == place)
        nearest = candidates[int(own[evidence[own].argmax()])]
        found.append(FamilyShare(families.names[place], float(shares[place]), nearest))
    return tuple(found)
