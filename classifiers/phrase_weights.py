"""Which words of a sentence spoke for a trait in its wording classifier, and which against it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from classifiers.signals.sentences import Sentences, find_sentences
from classifiers.signals.wording import (
    Wording,
    drop_repeats,
    look_up,
    scale_length,
    shift_to_prior,
)

LONGEST = 2000
"""The longest sentence that is explained, in characters; finding its tokens takes its square."""


class WeighedPhrase(NamedTuple):
    """An n-gram of a sentence, and what it adds to the sentence's logit.

    `opens` is true if the n-gram counts only at the beginning of a sentence.
    """

    text: str
    weight: float
    opens: bool = False


class WeighedSentence(NamedTuple):
    """The sentence of a text with the highest logit, and its n-grams, the weightiest first.

    The sum of the weights and the classifier's bias, shifted to the prior, is `logit`.
    """

    text: str
    logit: float
    phrases: tuple[WeighedPhrase, ...]


def weigh_phrases(model: Wording, text: str) -> WeighedSentence | None:
    """Return the n-grams of the sentence of a text that scores highest.

    Only n-grams that the classifier knows are returned. Returns None without a sentence, and for a
    sentence longer than `LONGEST`.
    """
    found = find_sentences(pa.array([text], pa.large_string()))
    if not len(found):
        return None
    owner, places = _find_known(model, found)
    sums = np.bincount(owner, model.weights[places], len(found)) * scale_length(found.length)
    best = int(sums.argmax())
    sentence = text[found.start[best] : found.end[best]]
    if len(sentence) > LONGEST:
        return None
    logit = float(shift_to_prior(sums[best] + model.bias))
    phrases = sorted(_weigh(model, sentence), key=lambda item: -abs(item.weight))
    return WeighedSentence(sentence, logit, tuple(phrases))


def _find_known(model: Wording, found: Sentences) -> tuple[np.ndarray, np.ndarray]:
    places, known = look_up(model.keys, found.grams)
    return drop_repeats(found.owner[known], places, len(model.keys))


def _weigh(model: Wording, sentence: str) -> Iterator[WeighedPhrase]:
    """Yield each known n-gram of one sentence once, as it is first written."""
    alone = find_sentences(pa.array([sentence], pa.large_string()))
    starts = _find_tokens(sentence)
    spans = list(_list_grams(len(starts)))
    ends = [*starts[1:], len(sentence)]
    places, known = look_up(model.keys, alone.grams)
    _, first = np.unique(places, return_index=True)
    for place, gram in zip(places[first].tolist(), known[first].tolist(), strict=True):
        begin, last, opens = spans[gram]
        weight = float(model.weights[place] * scale_length(alone.length)[0])
        yield WeighedPhrase(sentence[starts[begin] : ends[last]].strip(), weight, opens)


def _find_tokens(sentence: str) -> list[int]:
    """Return where the tokens of a sentence begin: where a prefix has one token more."""
    prefixes = pa.array([sentence[:end] for end in range(len(sentence) + 1)], pa.large_string())
    found = find_sentences(prefixes)
    counts = np.bincount(found.text, found.length, len(prefixes))
    return np.flatnonzero(np.diff(counts)).tolist()


def _list_grams(tokens: int) -> Iterator[tuple[int, int, bool]]:
    """Yield the first and last token of each n-gram, in the order of `Sentences.grams`."""
    for size in range(3):
        for last in range(1 if size == 2 else 0, tokens):
            yield max(0, last - size), last, last < size
