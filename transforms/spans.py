"""Spans: where the scores of a shard come from, in a narrow table without text.

A policy can be applied again, with other thresholds and actions, from scores, spans and lots alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from classifiers.scoring import Scores, SignalScores
from schemas.outputs import SIGNAL_SPAN
from schemas.scores import TIE_ORDER, fires
from transforms.records.roles import CHANNELS
from transforms.records.segments import Segments
from transforms.records.sentences import widen_to_sentences


class Span(NamedTuple):
    """A stretch of a field, in characters from the field's start."""

    field_path: str
    start: int
    end: int


def build_spans(scores: Scores, segments: Segments, floor: float) -> pa.ListArray:
    """Return for every row the spans of its signals, a list of `SIGNAL_SPAN`; empty below the floor.

    A signal's span is stored where its own score reaches the floor, or where the trait's combined
    score does and no other signal scored higher. Every rule with a threshold at or above the floor
    finds its evidence.
    """
    found: list[tuple[int, dict[str, Any]]] = []
    for trait, signals in scores.signals.items():
        strongest = choose_evidence({name: item.scores for name, item in signals.items()})
        combined = fires(scores.combined[trait], floor)
        for signal, item in signals.items():
            wanted = fires(item.scores, floor) | (combined & (strongest == signal))
            described = _describe_spans(segments, item, np.flatnonzero(wanted & _has_span(item)))
            found += [(row, {"trait": trait, "signal": signal, **span}) for row, span in described]
    found.sort(key=lambda pair: pair[0])  # stable: traits and signals stay in the bank's order
    counts = np.bincount([row for row, _ in found], minlength=scores.size) if found else []
    offsets = np.zeros(scores.size + 1, np.int32)
    offsets[1:] = np.cumsum(counts) if found else 0
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.array([span for _, span in found], SIGNAL_SPAN)
    )


def _has_span(item: SignalScores) -> np.ndarray:
    return np.asarray(item.places.segment >= 0)


def choose_evidence(scores: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return for every row the signal with the highest score; of equals the one with the narrowest span.

    `scores` has the scores of one trait's signals by name. A NaN loses to every score.
    """
    names = [name for name in TIE_ORDER if name in scores]
    stacked = np.stack([np.nan_to_num(scores[name], nan=-1.0) for name in names])
    return np.array(names)[stacked.argmax(axis=0)]


def _describe_spans(
    segments: Segments, item: SignalScores, rows: np.ndarray
) -> Iterator[tuple[int, dict[str, Any]]]:
    hits = _group_hits(segments, item.hits)
    for row in rows.tolist():
        segment = int(item.places.segment[row])
        start, end = int(item.places.start[row]), int(item.places.end[row])
        span = _locate(segments, segment, start, end)
        own = hits.get(row, [])
        yield (
            row,
            {
                "score": item.scores[row],
                **span._asdict(),
                "masks": [mask._asdict() for mask in _find_masks(segments, segment, span, own)],
                "hits": [_locate(segments, *hit)._asdict() for hit in own],
            },
        )


def _locate(segments: Segments, segment: int, start: int, end: int) -> Span:
    """Turn characters of a segment into characters of its field, as the trainer sees it."""
    offset = int(segments.starts[segment])
    return Span(segments.get_field_path(segment), offset + start, offset + end)


def _group_hits(
    segments: Segments, hits: Mapping[int, list[tuple[int, int]]]
) -> dict[int, list[tuple[int, int, int]]]:
    """Group a lexicon's hits by row, each as segment, start and end, in the order of the text."""
    grouped: dict[int, list[tuple[int, int, int]]] = {}
    for segment in sorted(hits):
        row = int(segments.rows[segment])
        grouped.setdefault(row, []).extend((segment, start, end) for start, end in hits[segment])
    return grouped


def _find_masks(
    segments: Segments, segment: int, span: Span, hits: list[tuple[int, int, int]]
) -> list[Span]:
    """Return what a mask covers, or nothing where that is the span itself.

    A lexicon's evidence is masked by the sentences around all of the row's hits. Tool calls are
    masked whole: a position in their canonical JSON is not a position in the field.
    """
    if hits:
        return list(dict.fromkeys(_mask_sentence(segments, *hit) for hit in hits))
    whole = _mask_tool_calls(segments, segment)
    return [whole] if whole else []


def _mask_sentence(segments: Segments, segment: int, start: int, end: int) -> Span:
    if whole := _mask_tool_calls(segments, segment):
        return whole
    text = segments.text[segment].as_py()
    return _locate(segments, segment, *widen_to_sentences(text, start, end))


def _mask_tool_calls(segments: Segments, segment: int) -> Span | None:
    """Return the whole field if the segment holds tool calls: it is as long as their canonical JSON."""
    if segments.channel_codes[segment] != CHANNELS.index("tool"):
        return None
    return Span(segments.get_field_path(segment), 0, len(segments.text[segment].as_py()))
