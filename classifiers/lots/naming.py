"""The names of findings: as they are written, with the words of patterns hidden."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from classifiers.lots.counts import Counts
from classifiers.lots.discovery import FUNCTION_WORDS, KINDS, LotCandidates
from classifiers.lots.formats import HABITS
from classifiers.lots.tokens import find_tokens

NEARLY = 0.75
"""The share of texts that a longer form of a finding must have, to give it its name."""

HIDDEN = "…"
"""What stands for any word in a pattern."""


def choose_name(group: Sequence[int], texts: Sequence[str], sizes: np.ndarray) -> list[int]:
    """Return a group with its most telling member first.

    That is the longest one around the best ranked one that is in nearly as many texts: `### Human:`
    says more than `Human`.
    """
    head = group[0]
    around = [
        place
        for place in group
        if texts[head].casefold() in texts[place].casefold()
        and sizes[place] >= NEARLY * sizes[head]
    ]
    first = max(around, key=lambda place: (len(texts[place]), -place))
    return [first, *(place for place in group if place != first)]


def name_candidate(candidates: LotCandidates, counts: Counts, index: int) -> str:
    """Return a candidate as it is written in its first example, or a format's name."""
    kind = KINDS[int(candidates.kinds[index])]
    if kind == "format":
        return list(HABITS)[int(candidates.hashes[index])]
    examples = counts.examples[1].get(index) or counts.examples[0].get(index)
    text = " ".join(examples[0].text.split()) if examples else ""
    return hide_content(text) if kind == "pattern" else text


def hide_content(text: str) -> str:
    """Return a text with a sign in place of each run of words that aren't function words."""
    tokens = find_tokens(pa.array([text], pa.large_string()))
    parts: list[str] = []
    for start, end in zip(tokens.start.tolist(), tokens.end.tolist(), strict=True):
        word = text[start:end]
        is_kept = word.lower() in FUNCTION_WORDS or not any(map(str.isalnum, word))
        parts.append(word if is_kept else HIDDEN)
    return " ".join(parts)
