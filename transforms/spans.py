"""Spans: where a shard's scores come from, in a table without text.

Scores, spans and lots are enough to apply another policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.scoring import Scores, SignalScores
from schemas.outputs import SIGNAL_SPAN, SPAN
from schemas.scores import TIE_ORDER, Side, fires, name_side, score_column, split_side
from transforms.records.evidence_bounds import settle_evidence
from transforms.records.mask_bounds import find_mask_of_hits, find_mask_of_window
from transforms.records.roles import CHANNELS
from transforms.records.segments import Segments

WINDOWED = frozenset(("exemplars", "head", "classifier"))
"""The signals that score windows of tokens."""

Hits = dict[int, list[tuple[int, int]]]
"""The start and end of each hit in text order, keyed by segment."""


class Span(NamedTuple):
    """A stretch of a field, in characters."""

    field_path: str
    start: int
    end: int


class _SignalSpan(NamedTuple):
    """The span behind a signal's score on a row, the masked spans, and the hits."""

    row: int
    trait: str
    signal: str
    score: float
    span: Span
    masks: list[Span]
    hits: list[Span]


def build_spans(
    scores: Scores,
    segments: Segments,
    floor: float,
    others: Mapping[Side, tuple[Scores, Segments]] | None = None,
) -> pa.ListArray:
    """Return a list of `SIGNAL_SPAN` for each row.

    A signal's span is stored if the signal's score reaches the floor. The best signal's span is
    also stored if the combined score reaches the floor. Every rule with a threshold at or above the
    floor therefore finds its evidence. `others` holds the scores and segments of rejected and
    untrained texts.
    """
    sides: dict[Side, tuple[Scores, Segments]] = {"trained": (scores, segments), **(others or {})}
    readers = {side: (scored, _Reader(texts)) for side, (scored, texts) in sides.items()}
    found = [
        span
        for side, (scored, texts) in readers.items()
        for trait, signals in scored.signals.items()
        for signal, rows in _choose_rows(signals, scored.combined[trait], floor)
        for span in _find_spans(trait, name_side(signal, side), signals[signal], texts, rows)
    ]
    found.sort(key=lambda span: span.row)  # stable: traits and signals stay in the bank's order
    offsets = np.searchsorted([span.row for span in found], np.arange(scores.size + 1))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), _encode_signal_spans(found))


def choose_evidence(scores: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return each row's best signal. On a tie, the signal with the narrowest spans wins.

    `scores` maps the signals of one trait to their scores. NaN loses to every score.
    """
    names = [name for name in TIE_ORDER if name in scores]
    stacked = np.stack([np.nan_to_num(scores[name], nan=-1.0) for name in names])
    return np.asarray(np.array(names)[stacked.argmax(axis=0)])


def raise_floor(
    spans: pa.ListArray, scores: Mapping[str, np.ndarray], floor: float
) -> pa.ListArray:
    """Return the spans that `build_spans` would store with a higher floor.

    `scores` maps the columns of `scores/` to the rows' scores.
    """
    flat, owners = spans.flatten(), pc.list_parent_indices(spans).to_numpy()
    traits, signals = (flat.field(name).to_pylist() for name in ("trait", "signal"))
    kept = fires(flat.field("score").to_numpy(), floor)
    found = zip(traits, signals, strict=True)
    for trait, side in {(trait, split_side(name)[1]) for trait, name in found}:
        columns = {signal: score_column(trait, signal, side) for signal in TIE_ORDER}
        own = {name: scores[column] for name, column in columns.items() if column in scores}
        best = [name_side(str(signal), side) for signal in choose_evidence(own)]
        reached = fires(scores[score_column(trait, side=side)], floor)
        for index in np.flatnonzero(~kept).tolist():
            row = owners[index]
            kept[index] = traits[index] == trait and reached[row] and signals[index] == best[row]
    counts = np.bincount(owners[kept], minlength=len(spans))
    offsets = pa.array(np.cumsum([0, *counts]), pa.int32())
    return pa.ListArray.from_arrays(offsets, flat.filter(pa.array(kept)))


def encode_spans(spans: Sequence[Sequence[Span]]) -> pa.ListArray:
    """Return spans as an array of lists of `SPAN`."""
    flat = [span for group in spans for span in group]
    columns = zip(*flat, strict=True) if flat else ((), (), ())
    arrays = [pa.array(column, item.type) for column, item in zip(columns, SPAN, strict=True)]
    offsets = np.cumsum([0, *map(len, spans)], dtype=np.int32)
    values = pa.StructArray.from_arrays(arrays, fields=list(SPAN))
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _encode_signal_spans(found: Sequence[_SignalSpan]) -> pa.StructArray:
    columns = {
        "trait": [item.trait for item in found],
        "signal": [item.signal for item in found],
        "score": [item.score for item in found],
        **{name: [getattr(item.span, name) for item in found] for name in Span._fields},
    }
    arrays = [pa.array(values, SIGNAL_SPAN.field(name).type) for name, values in columns.items()]
    masks = encode_spans([item.masks for item in found])
    hits = encode_spans([item.hits for item in found])
    return pa.StructArray.from_arrays([*arrays, masks, hits], fields=list(SIGNAL_SPAN))


def _choose_rows(
    signals: Mapping[str, SignalScores], combined: np.ndarray, floor: float
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each signal of a trait with the rows whose spans are stored."""
    evidence = choose_evidence({name: item.scores for name, item in signals.items()})
    reached = fires(combined, floor)
    for signal, item in signals.items():
        wanted = fires(item.scores, floor) | (reached & (evidence == signal))
        yield signal, np.flatnonzero(wanted & (item.best_spans.segment >= 0))


class _Reader:
    """The texts of some segments, and the masks of their windows, which several signals share."""

    def __init__(self, segments: Segments) -> None:
        self.segments = segments
        self._paths: dict[int, str] = {}
        self._texts: dict[int, str] = {}
        self._masks: dict[tuple[int, int, int], list[Span]] = {}

    def read(self, wanted: Iterable[int]) -> dict[int, str]:
        """Return a mapping with at least the texts of these segments."""
        if missing := sorted(set(wanted) - self._texts.keys()):
            texts = self.segments.text.take(pa.array(missing, pa.int64())).to_pylist()
            self._texts.update(zip(missing, texts, strict=True))
        return self._texts

    def get_path(self, segment: int) -> str:
        """Return a segment's field path."""
        if segment not in self._paths:
            self._paths[segment] = self.segments.get_field_path(segment)
        return self._paths[segment]

    def settle(self, span: Span, segment: int, *, is_window: bool) -> Span:
        """Return a span that was read in the bounds in which it is shown; see `settle_evidence`.

        Offsets in tool calls are those of their canonical JSON, and stay as they are.
        """
        if self.segments.channel_codes[segment] == CHANNELS.index("tool"):
            return span
        offset, text = int(self.segments.starts[segment]), self._texts[segment]
        start, end = settle_evidence(
            text, span.start - offset, span.end - offset, is_window=is_window
        )
        return Span(span.field_path, offset + start, offset + end)

    def describe_window(self, span: Span, segment: int) -> list[Span]:
        """Return the spans to mask for a window or a loop; see `_describe_window`."""
        key = segment, span.start, span.end
        if key not in self._masks:
            text = self._texts[segment]
            self._masks[key] = _describe_window(self.segments, text, span, segment)
        return self._masks[key]


def _find_spans(
    trait: str, signal: str, item: SignalScores, reader: _Reader, rows: np.ndarray
) -> Iterator[_SignalSpan]:
    segments = reader.segments
    hits = _group_hits(segments, item.hits)
    best = item.best_spans.segment[rows]
    texts = reader.read(
        segment
        for row, only in zip(rows.tolist(), best.tolist(), strict=True)
        for segment in hits.get(row, (only,))
    )
    found = (values[rows] for values in (item.scores, *item.best_spans))
    columns = (rows, *found, segments.starts[best])
    for row, score, segment, start, end, offset in zip(
        *(values.tolist() for values in columns), strict=True
    ):
        span = Span(reader.get_path(segment), offset + start, offset + end)
        shown = reader.settle(span, segment, is_window=split_side(signal)[0] in WINDOWED)
        if row in hits:
            masks, own = _describe_hits(segments, texts, hits[row])
        else:
            masks, own = reader.describe_window(span, segment), []
            masks = [] if masks == [shown] else masks
        yield _SignalSpan(row, trait, signal, score, shown, masks, own)


def _group_hits(segments: Segments, hits: Hits) -> dict[int, Hits]:
    grouped: dict[int, Hits] = {}
    for segment in sorted(hits):
        grouped.setdefault(int(segments.rows[segment]), {})[segment] = hits[segment]
    return grouped


def _describe_hits(
    segments: Segments, texts: Mapping[int, str], hits: Hits
) -> tuple[list[Span], list[Span]]:
    """Return the spans to mask for a row's hits, without repeats, and the hits' spans."""
    masks: list[Span] = []
    spans: list[Span] = []
    for segment, found in hits.items():
        path, offset = segments.get_field_path(segment), int(segments.starts[segment])
        text = texts[segment]
        own = (settle_evidence(text, start, end, is_window=False) for start, end in found)
        spans += [Span(path, offset + start, offset + end) for start, end in own]
        masks += _mask_tool_calls(segments, segment) or [
            Span(path, offset + start, offset + end)
            for start, end in find_mask_of_hits(texts[segment], found)
        ]
    return list(dict.fromkeys(masks)), spans


def _describe_window(segments: Segments, text: str, span: Span, segment: int) -> list[Span]:
    """Return the spans to mask for a window or a loop."""
    if span.end <= span.start:
        return []
    offset = int(segments.starts[segment])
    return _mask_tool_calls(segments, segment) or [
        Span(span.field_path, offset + start, offset + end)
        for start, end in find_mask_of_window(text, span.start - offset, span.end - offset)
    ]


def _mask_tool_calls(segments: Segments, segment: int) -> list[Span]:
    """Return a span of the whole field if the segment holds tool calls, or else nothing.

    Offsets in the canonical JSON of tool calls aren't offsets in the field. The mask is as long as
    the canonical JSON.
    """
    if segments.channel_codes[segment] != CHANNELS.index("tool"):
        return []
    return [Span(segments.get_field_path(segment), 0, len(segments.text[segment].as_py()))]
