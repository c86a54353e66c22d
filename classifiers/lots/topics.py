"""Topics of texts: clusters of their words, named by the words that set each one apart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from classifiers.lots.parts_of_speech import FUNCTION_WORDS
from classifiers.lots.strata import AT_ONCE, cluster, find_words, learn_idf

MOST_TOPICS = 12
FEWEST_A_TOPIC = 50
"""About how many of the learned texts a topic should have. Few texts have few topics."""

MOST_LEARNED = 4_000
"""From how many texts topics are learned."""

NAMED_WORDS = 3
"""How many words name a topic."""

NAME_WORD = re.compile(r"[^\W\d_][^\W_]{2,29}")
"""A word that may name a topic. Its length is limited, because names are shown in tables."""

PRIOR = 0.5
"""What is added to each count of a word, so that a word in one text alone names no topic."""

ONE_TOPIC = "all"


class TopicWords(NamedTuple):
    """The different hashed words of some texts.

    `owners` are the texts' indexes, ascending, and `columns` the words' hashes (uint16).
    """

    texts: int
    owners: np.ndarray
    columns: np.ndarray


class Topics(NamedTuple):
    """The weights of hashed words, the topics' directions, and their names."""

    idf: np.ndarray
    centres: np.ndarray
    names: tuple[str, ...]

    def assign(self, words: TopicWords) -> np.ndarray:
        """Return the topic of each text as an index into `names`, int64."""
        found = [np.empty(0, np.int64)]
        for first in range(0, words.texts, AT_ONCE):
            size = min(AT_ONCE, words.texts - first)
            begin, end = np.searchsorted(words.owners, [first, first + size])
            own = (words.owners[begin:end] - first, words.columns[begin:end])
            found.append(np.argmax(_embed(own, size, self.idf) @ self.centres.T, axis=1))
        return np.concatenate(found)


def hash_words(texts: pa.LargeStringArray) -> TopicWords:
    """Return the different words of texts as hashes."""
    owners, columns = find_words(texts)
    return TopicWords(len(texts), owners, columns.astype(np.uint16))


def join_words(parts: Sequence[TopicWords]) -> TopicWords:
    """Return the words of several sets of texts, one after another."""
    firsts = np.cumsum([0, *(part.texts for part in parts)])
    owners = [part.owners + first for part, first in zip(parts, firsts.tolist(), strict=False)]
    return TopicWords(
        int(firsts[-1]),
        np.concatenate([np.empty(0, np.int64), *owners]),
        np.concatenate([np.empty(0, np.uint16), *(part.columns for part in parts)]),
    )


def learn_topics(texts: Sequence[str]) -> Topics:
    """Divide texts into at most `MOST_TOPICS` topics by their words, and name the topics.

    The result depends only on the texts and their order. The texts should be a random sample.
    """
    array = pa.array(texts, pa.large_string())
    words = find_words(array)
    idf = learn_idf(words, max(1, len(texts)))
    wanted = max(1, min(MOST_TOPICS, len(texts) // FEWEST_A_TOPIC))
    if wanted == 1:
        return Topics(idf, np.zeros((1, len(idf))), (ONE_TOPIC,))
    vectors = _embed(words, len(texts), idf)
    centres = cluster(vectors, wanted)
    nearest = np.argmax(vectors @ centres.T, axis=1)
    kept = np.unique(nearest)
    return Topics(idf, centres[kept], name_topics(texts, np.searchsorted(kept, nearest)))


def _embed(words: tuple[np.ndarray, np.ndarray], texts: int, idf: np.ndarray) -> np.ndarray:
    """Return the direction of each text, float64 [texts, 2^TOPIC_BITS].

    In this precision, no text changes its topic because another processor adds in another order:
    `verify` makes the report again, which counts texts by topic.
    """
    owners, columns = words
    vectors = np.zeros((texts, len(idf)))
    vectors[owners, columns] = idf[columns]
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1))


def name_topics(texts: Sequence[str], topics: np.ndarray) -> tuple[str, ...]:
    """Return a name for each topic: the words that are most over-represented in its texts.

    Words are ranked by the log-odds of a text of the topic having them, against a text of another
    topic, in standard errors (Monroe, Colaresi, Quinn 2008). Names are different.
    """
    counts = [Counter[str]() for _ in range(int(topics.max()) + 1)]
    for text, topic in zip(texts, topics.tolist(), strict=True):
        counts[topic].update({word.lower() for word in NAME_WORD.findall(text)} - FUNCTION_WORDS)
    sizes, whole = np.bincount(topics), Counter[str]()
    for own in counts:
        whole.update(own)
    names: list[str] = []
    for number, own in enumerate(counts):
        ranked = _rank_words(own, whole, int(sizes[number]), len(texts))
        name = ", ".join(ranked[:NAMED_WORDS]) or "other"
        names.append(name if name not in names else f"{name} ({number + 1})")
    return tuple(names)


def _rank_words(own: Counter[str], whole: Counter[str], size: int, texts: int) -> list[str]:
    """Return the words of a topic of `size` texts among `texts`, the most distinctive first."""
    names = sorted(own)
    inside = np.array([own[name] for name in names], float)
    outside = np.array([whole[name] for name in names], float) - inside
    odds = [
        np.log((seen + PRIOR) / (total - seen + PRIOR))
        for seen, total in ((inside, size), (outside, texts - size))
    ]
    error = np.sqrt(1 / (inside + PRIOR) + 1 / (outside + PRIOR))
    order = np.argsort(-(odds[0] - odds[1]) / error, kind="stable")
    return [names[index] for index in order.tolist() if odds[0][index] > odds[1][index]]
