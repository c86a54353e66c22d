"""Scoring: every signal of every trait for the rows of a shard, and the place in the row that scored highest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.banks import Bank, TraitModel
from classifiers.models.encoders import (
    Encoder,
    EncoderConfig,
    Progress,
    load_encoder,
    require_finite,
)
from classifiers.models.windows import BatchCounts, Window
from classifiers.signals.exemplars import contrast, on_device
from classifiers.signals.lexicons import Lexicon, score_lexicons
from classifiers.signals.repetition import find_loop
from classifiers.signals.sequence_classifiers import SequenceClassifier, load_sequence_classifier
from schemas.cards import ClassifierOptions, Scope, SignalName
from schemas.outputs import SCORE_DECIMALS

DENSE = ("exemplars", "head")
"""Signals computed from the encoder's vectors: they share one pass, and their logits are averaged."""


class Texts(Protocol):
    """Segments of some rows, as parallel columns."""

    @property
    def rows(self) -> np.ndarray:
        """Each segment's row, int, ascending."""

    @property
    def text(self) -> pa.LargeStringArray:
        """The texts themselves."""

    def in_scope(self, roles: Iterable[str], channels: Iterable[str]) -> np.ndarray:
        """Return the segments with these roles and channels, by number, ascending."""


class Places(NamedTuple):
    """For each row, the segment that scored highest (-1: none in scope) and the characters in it, int32."""

    segment: np.ndarray
    start: np.ndarray
    end: np.ndarray


@dataclass
class SignalScores:
    """One signal of one trait: float32 scores, NaN for a row with nothing in scope, and where they come from.

    `hits` holds every stretch that a lexicon found, as characters, by segment.
    """

    scores: np.ndarray
    places: Places
    window: np.ndarray | None = None
    hits: dict[int, list[tuple[int, int]]] = field(default_factory=dict)


@dataclass
class Scores:
    """All signals of a shard's rows: `combined[trait]` and `signals[trait][signal]`, rounded; window vectors for neighbours."""

    size: int
    combined: dict[str, np.ndarray] = field(default_factory=dict)
    signals: dict[str, dict[str, SignalScores]] = field(default_factory=dict)
    vectors: np.ndarray | None = None
    vector_rows: np.ndarray | None = None

    def row_vectors(self) -> np.ndarray:
        """Return each row's vector, float16 [rows, dimension]: the unit mean of its windows'; zeros for rows without any.

        Raises: ValueError: No trait of the bank needs the encoder.
        """
        if self.vectors is None or self.vector_rows is None:
            raise ValueError("no vectors: no trait of the bank needs the encoder")
        sums = np.zeros((self.size, self.vectors.shape[1]), np.float32)
        whole = self.vector_rows >= 0
        np.add.at(sums, self.vector_rows[whole], self.vectors[whole])
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        return (sums / np.where(lengths > 0, lengths, 1)).astype(np.float16)

    def columns(self) -> dict[str, np.ndarray]:
        """Return the columns of `scores/` in order: each trait's combined score, then its signals'."""
        result: dict[str, np.ndarray] = {}
        for trait, signals in self.signals.items():
            result[trait] = self.combined[trait]
            result |= {f"{trait}/{name}": item.scores for name, item in signals.items()}
        return result

    def unscored(self) -> int:
        """Return the number of rows that have no score of any trait: there was no text in its scope."""
        seen = np.zeros(self.size, bool)
        for scores in self.combined.values():
            seen |= ~np.isnan(scores)
        return self.size - int(seen.sum())

    def score(self, trait: str, signal: str) -> np.ndarray:
        """Return a signal's scores, or the combined ones."""
        return self.combined[trait] if signal == "combined" else self.signals[trait][signal].scores

    def strongest(self, trait: str, row: int) -> str:
        """Return the signal that scored highest on a row; of equals the one whose place is the narrowest kind."""
        order = ("lexicon", "repetition", "classifier", "exemplars", "head")
        names = [name for name in order if name in self.signals[trait]]
        return max(
            names, key=lambda name: np.nan_to_num(self.signals[trait][name].scores[row], nan=-1.0)
        )


def logistic(values: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)) without overflow; NaN, a row with nothing in scope, stays NaN."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.exp(-np.logaddexp(0, -values)))


def combine(signals: Mapping[str, np.ndarray]) -> np.ndarray:
    """Combine a trait's signals into one score in [0, 1].

    The dense signals' logits are averaged (they err differently: benchmarks/personas.py measures each and the average);
    the others are evidence of their own, joined as independent causes: 1 - Π(1 - score).
    """
    dense = [
        np.clip(signals[name].astype(np.float64), 1e-6, 1 - 1e-6)
        for name in DENSE
        if name in signals
    ]
    parts = [logistic(np.mean([np.log(p / (1 - p)) for p in dense], axis=0))] if dense else []
    parts += [values.astype(np.float64) for name, values in signals.items() if name not in DENSE]
    return rounded(1 - np.prod([1 - part for part in parts], axis=0))


def rounded(values: np.ndarray) -> np.ndarray:
    """Round scores to the stated decimals, float32."""
    return np.round(values.astype(np.float64), SCORE_DECIMALS).astype(np.float32)


@dataclass
class Scorer:
    """Scores rows with a bank. Models are loaded once, when the scorer is made."""

    bank: Bank
    encoder: Encoder | None
    classifiers: dict[str, SequenceClassifier]
    progress: Progress | None = None

    def __post_init__(self) -> None:
        self._lexicons = {
            name: Lexicon(trait.card.signals.lexicon)
            for name, trait in self.bank.traits.items()
            if trait.card.signals.lexicon
        }

    def counts(self) -> BatchCounts:
        """Return what all models together have computed so far."""
        parts = [model.counts for model in (self.encoder, *self.classifiers.values()) if model]
        return BatchCounts(
            *(
                sum(getattr(part, name) for part in parts)
                for name in ("tokens", "padded", "windows", "budget_cuts")
            )
        )

    def score(self, size: int, texts: Texts) -> Scores:
        """Score `size` rows from their segments."""
        result = Scores(size, signals={name: {} for name in self.bank.traits})
        self._score_lexicons(texts, result)
        self._score_repetition(texts, result)
        self._score_dense(texts, result)
        self._score_classifiers(texts, result)
        for name, trait in self.bank.traits.items():
            found = result.signals[name]
            result.signals[name] = {signal: found[signal] for signal in trait.card.signals.names()}
            result.combined[name] = combine(
                {signal: item.scores for signal, item in result.signals[name].items()}
            )
        return result

    def _score_lexicons(self, texts: Texts, result: Scores) -> None:
        for scope, names in self._by_scope(self._lexicons).items():
            inside = in_scope(texts, scope)
            found = score_lexicons(
                [self._lexicons[name] for name in names], openings(texts, inside, scope.opening)
            )
            for name, (scores, spans, hits) in zip(names, found, strict=True):
                signal = result.signals[name]["lexicon"] = reduced(
                    result.size, texts, inside, scores, spans
                )
                signal.hits = {int(inside[place]): stretches for place, stretches in hits.items()}

    def _score_repetition(self, texts: Texts, result: Scores) -> None:
        for name, trait in self.bank.traits.items():
            if trait.card.signals.repetition:
                inside = in_scope(texts, trait.card.scope)
                chosen = openings(texts, inside, trait.card.scope.opening).to_pylist()
                loops = [find_loop(text, trait.card.signals.repetition) for text in chosen]
                scores = np.array([loop.score for loop in loops], np.float32)
                result.signals[name]["repetition"] = reduced(
                    result.size,
                    texts,
                    inside,
                    scores,
                    np.array([(loop.start, loop.end) for loop in loops], np.int32),
                )

    def _score_dense(self, texts: Texts, result: Scores) -> None:
        names = self._dense_traits()
        if not names or self.encoder is None:
            return
        windows, segments, cuts = self.windows(texts)
        result.vectors = self.encoder.encode(windows, self.progress)
        # a row's own vector is that of its whole text: of windows cut for openings only where there are no others
        result.vector_rows = np.where(cuts == cuts[:1], texts.rows[segments], -1)
        for name in names:
            trait = self.bank.traits[name]
            scope = trait.card.scope
            inside = np.flatnonzero(
                np.isin(segments, in_scope(texts, scope)) & (cuts == (scope.opening or 0))
            )
            spans = _spans(windows, inside)
            for signal, scores in dense_scores(trait, result.vectors[inside]).items():
                result.signals[name][signal] = reduced(
                    result.size, texts, segments[inside], scores, spans, inside
                )

    def _dense_traits(self) -> list[str]:
        return [
            name
            for name, trait in self.bank.traits.items()
            if any(getattr(trait.card.signals, signal) for signal in DENSE)
        ]

    def windows(self, texts: Texts) -> tuple[list[Window], np.ndarray, np.ndarray]:
        """Cut the segments that any dense signal looks at into windows, once for every length of opening.

        Returns the windows, and for each the segment and the length of the opening (0: whole texts).

        Raises: ValueError: There is no encoder.
        """
        if self.encoder is None:
            raise ValueError("windows are the encoder's, and there is none")
        windows: list[Window] = []
        segments: list[int] = []
        cuts: list[int] = []
        scopes = [self.bank.traits[name].card.scope for name in self._dense_traits()]
        for opening in sorted({scope.opening or 0 for scope in scopes}):
            wanted = np.unique(
                np.concatenate(
                    [in_scope(texts, scope) for scope in scopes if (scope.opening or 0) == opening]
                )
            ).tolist()
            found = self.encoder.windows(openings(texts, wanted, opening or None).to_pylist())
            windows += found
            segments += [wanted[window.text] for window in found]
            cuts += [opening] * len(found)
        return windows, np.array(segments, int), np.array(cuts, int)

    def _score_classifiers(self, texts: Texts, result: Scores) -> None:
        for name, model in self.classifiers.items():
            scope = self.bank.traits[name].card.scope
            inside = in_scope(texts, scope)
            windows = model.windows(openings(texts, inside, scope.opening).to_pylist())
            scores = model.probabilities(windows, self.progress)
            segments = np.array([inside[window.text] for window in windows], int)
            result.signals[name]["classifier"] = reduced(
                result.size, texts, segments, scores, _spans(windows, range(len(windows)))
            )

    def _by_scope(self, names: Mapping[str, object]) -> dict[Scope, list[str]]:
        groups: dict[Scope, list[str]] = {}
        for name in names:
            groups.setdefault(self.bank.traits[name].card.scope, []).append(name)
        return groups


def in_scope(texts: Texts, scope: Scope) -> np.ndarray:
    """Return the segments whose role and channel the scope names."""
    return texts.in_scope(scope.roles, scope.channels)


def openings(
    texts: Texts, segments: Sequence[int] | np.ndarray, opening: int | None
) -> pa.LargeStringArray:
    """Return these segments' texts, cut to the opening if there is one."""
    chosen = (
        texts.text
        if len(segments) == len(texts.text)
        else texts.text.take(pa.array(segments, pa.int64()))
    )
    return chosen if opening is None else pc.utf8_slice_codeunits(chosen, 0, opening)


def _spans(windows: Sequence[Window], places: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.array(
        [(windows[place].start, windows[place].end) for place in places], np.int32
    ).reshape(-1, 2)


def dense_scores(trait: TraitModel, vectors: np.ndarray) -> dict[SignalName, np.ndarray]:
    """Score vectors with a trait's exemplars and head, float32 in [0, 1] each."""
    found: dict[SignalName, np.ndarray] = {}
    signals = trait.card.signals
    if signals.exemplars:
        slope, offset = trait.scale
        margin = contrast(
            vectors, trait.positive_index, trait.negative_index, signals.exemplars.neighbours
        )
        found["exemplars"] = logistic(slope * margin + offset).astype(np.float32)
    if signals.head and trait.head:
        found["head"] = logistic(trait.head.logits(vectors)).astype(np.float32)
    return found


def reduced(
    size: int,
    texts: Texts,
    segments: Sequence[int] | np.ndarray,
    scores: np.ndarray,
    spans: np.ndarray,
    windows: np.ndarray | None = None,
) -> SignalScores:
    """Reduce scores of segments or windows to each row's maximum and its place; the first of equals, NaN for rows without any.

    Raises: RowError: A score isn't a number, which would look like a row without any.
    """
    require_finite(np.asarray(scores), "a signal")
    segments = np.asarray(segments, int)
    values = np.full(size, np.nan, np.float32)
    places = Places(*(np.full(size, -1, np.int32) for _ in range(3)))
    best_window = np.full(size, -1, np.int64)
    if len(segments):
        scores = rounded(scores)
        rows = texts.rows[segments]
        order = np.lexsort((-np.arange(len(rows)), scores, rows))
        last = order[np.flatnonzero(np.append(rows[order][1:] != rows[order][:-1], True))]
        values[rows[last]] = scores[last]
        places.segment[rows[last]] = segments[last]
        places.start[rows[last]], places.end[rows[last]] = spans[last, 0], spans[last, 1]
        best_window[rows[last]] = last if windows is None else windows[last]
    return SignalScores(values, places, None if windows is None else best_window)


def needs_encoder(bank: Bank) -> bool:
    """Say whether any trait of the bank has a dense signal."""
    return any(
        getattr(trait.card.signals, signal) for trait in bank.traits.values() for signal in DENSE
    )


def load_scorer(bank: Bank, config: EncoderConfig, encoder: Encoder | None = None) -> Scorer:
    """Load the models that a bank's traits need.

    Raises: ModelError: One can't be loaded, or the encoder isn't the bank's.
    """
    if encoder is None and needs_encoder(bank):
        encoder = load_encoder(config)
    if encoder is not None and needs_encoder(bank):
        bank.require_encoder(encoder.identity)
        for trait in bank.traits.values():
            trait.positive_index = on_device(trait.positive_index, encoder.device.type)
            trait.negative_index = on_device(trait.negative_index, encoder.device.type)
    return Scorer(bank, encoder, load_classifiers(bank, config))


def load_classifiers(bank: Bank, config: EncoderConfig) -> dict[str, SequenceClassifier]:
    """Load the sequence classifier of every trait that has one; a checkpoint that two traits share is loaded twice."""
    options: dict[str, ClassifierOptions] = {
        name: trait.card.signals.classifier
        for name, trait in bank.traits.items()
        if trait.card.signals.classifier
    }
    return {
        name: load_sequence_classifier(item, config.device, config.precision)
        for name, item in options.items()
    }
