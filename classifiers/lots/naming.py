"""The names of findings: as they are written, with the words of patterns hidden."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from classifiers.lots.counts import Counts, LotExample
from classifiers.lots.discovery import KINDS, LotCandidates
from classifiers.lots.formats import HABITS
from classifiers.lots.parts_of_speech import CLASSES, FUNCTION_WORDS, KEPT, UNKNOWN, tag_words
from classifiers.lots.tokens import find_tokens

NEARLY = 0.75
"""The share of texts that a longer form of a finding must have, to give it its name."""

HIDDEN = "…"
"""What stands for any word in a pattern, and for an unknown one in grammar."""

NAMES = {UNKNOWN: HIDDEN}


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


def quote_candidate(candidates: LotCandidates, counts: Counts, index: int) -> str:
    """Return a candidate as it is written in its first example, or a format's name."""
    if KINDS[int(candidates.kinds[index])] == "format":
        return list(HABITS)[int(candidates.hashes[index])]
    examples = _list_examples(counts, index)
    return " ".join(examples[0].text.split()) if examples else ""


def _list_examples(counts: Counts, index: int) -> Sequence[LotExample]:
    return counts.examples[1].get(index) or counts.examples[0].get(index) or ()


def name_candidate(candidates: LotCandidates, counts: Counts, index: int) -> str:
    """Return a candidate as it is quoted, with the words hidden that its kind hides."""
    kind, examples = KINDS[int(candidates.kinds[index])], _list_examples(counts, index)
    if kind == "grammar" and examples:
        return name_classes(examples[0].before, examples[0].text)
    text = quote_candidate(candidates, counts, index)
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


def name_classes(before: str, text: str) -> str:
    """Return a text with parts of speech in place of its words, but for kept words and marks.

    A word's part of speech may depend on the word before it, which may be `before` the text.
    """
    tokens = find_tokens(pa.array([before + text], pa.large_string()))
    parts: list[str] = []
    spans = zip(tokens.start.tolist(), tokens.end.tolist(), tag_words(tokens), strict=True)
    for start, end, number in spans:
        if start >= len(before):
            name = NAMES.get(CLASSES[number], CLASSES[number])
            parts.append((before + text)[start:end] if name == KEPT else name)
    return " ".join(parts)
