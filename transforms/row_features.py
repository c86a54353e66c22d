"""Features of rows by which a run's losses are compared: length, language, the words of prompts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.lots.topics import TopicWords, hash_words
from schemas.scores import Side
from transforms.records.languages import HEAD, classify_rows
from transforms.records.roles import CHANNELS
from transforms.records.segments import Segments

TOPIC_CHARACTERS = 1_000
"""How many characters at the beginning of a prompt decide its topic."""

TRAINED: Side = "trained"


class RowFeatures(NamedTuple):
    """The features of some rows, in order.

    `lengths` are the characters of a row's trained answers, and `languages` indices into
    `LANGUAGES`. `heads` are the beginnings of the prompts, or of the answers of rows without
    a prompt, and `words` are their words.
    """

    lengths: np.ndarray
    languages: np.ndarray
    heads: list[str]
    words: TopicWords


def describe_rows(segments: Segments, rows: int) -> RowFeatures:
    """Return the features of the rows of a table, from its segments."""
    answers = segments.select_side(TRAINED)
    own = answers.take(answers.find_in_scope(("assistant",), CHANNELS))
    lengths = pc.utf8_length(own.text).to_numpy(zero_copy_only=False).astype(np.int64)
    heads = _find_heads(segments, own, rows)
    beginnings = pc.utf8_slice_codeunits(own.text, 0, HEAD)
    return RowFeatures(
        np.bincount(own.rows, lengths, rows).astype(np.int64),
        classify_rows(rows, own.rows, lengths, beginnings),
        heads,
        hash_words(pa.array(heads, pa.large_string())),
    )


def _find_heads(segments: Segments, answers: Segments, rows: int) -> list[str]:
    """Return the beginning of what users and tools say in each row, or else of its answers."""
    roles = tuple(name for name in segments.role_names if name not in ("assistant", "system"))
    prompts = _join_beginnings(segments.take(segments.find_in_scope(roles, ("answer",))), rows)
    others = _join_beginnings(answers, rows)
    return [own or other for own, other in zip(prompts, others, strict=True)]


def _join_beginnings(segments: Segments, rows: int) -> list[str]:
    found = [""] * rows
    texts = pc.utf8_slice_codeunits(segments.text, 0, TOPIC_CHARACTERS).to_pylist()
    for row, text in zip(segments.rows.tolist(), texts, strict=True):
        if len(found[row]) < TOPIC_CHARACTERS:
            found[row] = f"{found[row]}\n{text}"[: TOPIC_CHARACTERS + 1] if found[row] else text
    return found
