"""Score a shard's rows with every signal of every trait, and locate the highest scores."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from classifiers.banks import Bank, TraitModel
from classifiers.dense import DenseTraits, apply_logistic
from classifiers.models.checkpoints import require_intact
from classifiers.models.interface import EncoderConfig, Progress, require_finite
from classifiers.models.windows import BatchCounts, Window, Windows, join_windows
from classifiers.signals.language_switches import score_switches
from classifiers.signals.lexicons import Lexicon, Surroundings, score_lexicons
from classifiers.signals.repeated_words import score_loops
from classifiers.signals.wording import Wording, score_sentences
from classifiers.texts import Prompts, Texts, cut_texts, find_in_scope, shift_hits, take_texts
from schemas.cards import DENSE, ClassifierOptions, Scope
from schemas.scores import COMBINED, LIKELY, SCORE_DECIMALS, score_column

if TYPE_CHECKING:
    from classifiers.models.encoders import Encoder
    from classifiers.signals.sequence_classifiers import SequenceClassifier


class BestSpans(NamedTuple):
    """The highest-scoring segment of each row, and its span, as arrays of int32 [rows].

    The values are -1 for rows with nothing in scope.
    """

    segment: np.ndarray
    start: np.ndarray
    end: np.ndarray


class SharedPart(NamedTuple):
    """The part (`Scope.part`) of some segments, and the traits that read it."""

    inside: np.ndarray
    part: int
    traits: list[str]


@dataclass
class SignalScores:
    """The scores that one signal of a trait gives the rows, and their evidence.

    `scores` is float32 [rows], with NaN for a row with nothing in scope. For dense signals,
    `window` holds the index of each row's best window. `hits` holds the start and end of every
    lexicon hit, keyed by segment.
    """

    scores: np.ndarray
    best_spans: BestSpans
    window: np.ndarray | None = None
    hits: dict[int, list[tuple[int, int]]] = field(default_factory=dict)


@dataclass
class Scores:
    """A shard's rounded scores: `combined[trait]` and `signals[trait][signal]`.

    `vectors` holds the vectors of all windows, float32 [windows, dimension]. `vector_rows` holds
    each window's row, or -1 for a window that the row's vector leaves out.
    """

    size: int
    combined: dict[str, np.ndarray] = field(default_factory=dict)
    signals: dict[str, dict[str, SignalScores]] = field(default_factory=dict)
    vectors: np.ndarray | None = None
    vector_rows: np.ndarray | None = None

    def average_vectors(self) -> np.ndarray:
        """Return the unit mean of each row's window vectors, float16 [rows, dimension].

        A row without windows has a zero vector.

        Raises: ValueError: there are no vectors, because no trait of the bank needs the encoder.
        """
        if self.vectors is None or self.vector_rows is None:
            raise ValueError("no vectors: no trait of the bank needs the encoder")
        sums = np.zeros((self.size, self.vectors.shape[1]), np.float32)
        whole = self.vector_rows >= 0
        np.add.at(sums, self.vector_rows[whole], self.vectors[whole])
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        return (sums / np.where(lengths > 0, lengths, 1)).astype(np.float16)

    def build_columns(self) -> dict[str, np.ndarray]:
        """Return the score columns: for each trait, the combined score, then the signal scores."""
        result: dict[str, np.ndarray] = {}
        for trait, signals in self.signals.items():
            result[score_column(trait)] = self.combined[trait]
            result |= {score_column(trait, name): item.scores for name, item in signals.items()}
        return result

    def count_unscored(self) -> int:
        """Count the rows with nothing in any trait's scope."""
        scored = np.zeros(self.size, bool)
        for scores in self.combined.values():
            scored |= ~np.isnan(scores)
        return self.size - int(scored.sum())

    def get_scores(self, trait: str, signal: str) -> np.ndarray:
        """Return a signal's scores for a trait, or the combined scores."""
        return self.combined[trait] if signal == COMBINED else self.signals[trait][signal].scores


def combine(signals: Mapping[str, np.ndarray]) -> np.ndarray:
    """Combine the scores of a trait's signals into one score in [0, 1].

    The logits of the dense signals are averaged, because their errors differ
    (benchmarks/personas.py). This average and the other signals count as independent evidence: 1 -
    Π(1 - score).
    """
    dense = [
        np.clip(signals[name].astype(np.float64), 1e-6, 1 - 1e-6)
        for name in DENSE
        if name in signals
    ]
    logits = [np.log(scores / (1 - scores)) for scores in dense]
    parts = [apply_logistic(np.mean(logits, axis=0))] if dense else []
    parts += [values.astype(np.float64) for name, values in signals.items() if name not in DENSE]
    return round_scores(1 - np.prod([1 - part for part in parts], axis=0))


def round_scores(values: np.ndarray) -> np.ndarray:
    """Round scores to `SCORE_DECIMALS` decimals, as float32."""
    return np.round(values.astype(np.float64), SCORE_DECIMALS).astype(np.float32)


@dataclass
class Scorer:
    """A bank and its loaded models."""

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
        self._dense = self._group_dense_traits()

    def replace_traits(self, traits: dict[str, TraitModel]) -> None:
        """Score other traits from now on, which have the same ids and lexicons."""
        self.bank.traits = traits
        self._dense = self._group_dense_traits()

    def _group_dense_traits(self) -> dict[Scope, DenseTraits]:
        groups: dict[Scope, dict[str, TraitModel]] = {}
        for name, trait in self.bank.traits.items():
            if trait.card.uses_encoder:
                groups.setdefault(trait.card.scope, {})[name] = trait
        device = self.encoder.device.type if self.encoder else "cpu"
        return {scope: DenseTraits(traits, device) for scope, traits in groups.items()}

    def fork(self, progress: Progress | None) -> Self:
        """Return a scorer for one thread, with the same models but its own counts and listener."""
        forked = copy.copy(self)
        forked.encoder = _fork_model(self.encoder) if self.encoder else None
        forked.classifiers = {name: _fork_model(item) for name, item in self.classifiers.items()}
        forked.progress = progress
        return forked

    def join(self, forked: Scorer) -> None:
        """Take over the counts of a forked scorer, and its token budgets if they are smaller."""
        for model, other in zip(self._models, forked._models, strict=True):
            model.counts.merge(other.counts)
            model.token_budget = min(model.token_budget, other.token_budget)

    def sum_counts(self) -> BatchCounts:
        """Return the total work of all models so far."""
        total = BatchCounts()
        for model in self._models:
            total.merge(model.counts)
        return total

    @property
    def _models(self) -> list[Encoder | SequenceClassifier]:
        return [model for model in (self.encoder, *self.classifiers.values()) if model]

    def score(self, size: int, texts: Texts, prompts: Prompts | None = None) -> Scores:
        """Score `size` rows from their segments.

        The prompts are those among the segments, unless others are given.

        Raises: ModelError: a model's files were overwritten since it was loaded.
        """
        result = Scores(size, signals={name: {} for name in self.bank.traits})
        self._score_lexicons(texts, result)
        self._score_wording(texts, result)
        self._score_repetition(texts, result)
        self._score_language(texts, prompts or Prompts(texts), result)
        self._score_dense(texts, result)
        self._score_classifiers(texts, result)
        for name, trait in self.bank.traits.items():
            found = result.signals[name]
            result.signals[name] = {signal: found[signal] for signal in trait.card.signals.names}
            result.combined[name] = combine(
                {signal: item.scores for signal, item in result.signals[name].items()}
            )
        for model in self._models:
            require_intact(model.files)
        return result

    def _score_lexicons(self, texts: Texts, result: Scores) -> None:
        for inside, part, names in self._group_by_part(texts, self._lexicons):
            chosen, starts = cut_texts(texts, inside, part)
            around = Surroundings(take_texts(texts, inside), starts) if part else None
            found = score_lexicons([self._lexicons[name] for name in names], chosen, around)
            for name, (scores, best, hits) in zip(names, found, strict=True):
                signal = result.signals[name]["lexicon"] = reduce_to_rows(
                    result.size, texts, inside, scores, best + starts[:, None]
                )
                signal.hits = shift_hits(hits, inside, starts)

    def _score_wording(self, texts: Texts, result: Scores) -> None:
        models: dict[str, Wording] = {
            name: trait.wording
            for name, trait in self.bank.traits.items()
            if trait.wording and trait.card.signals.wording
        }
        for inside, part, names in self._group_by_part(texts, models):
            chosen, starts = cut_texts(texts, inside, part)
            text, spans, logits = score_sentences([models[name] for name in names], chosen)
            segments, spans = inside[text], spans + starts[text][:, None]
            for name, scores in zip(names, round_scores(apply_logistic(logits)), strict=True):
                signal = reduce_to_rows(result.size, texts, segments, scores, spans)
                signal.hits = _collect_hits(segments, spans, scores)
                result.signals[name]["wording"] = signal

    def _score_repetition(self, texts: Texts, result: Scores) -> None:
        for name, trait in self.bank.traits.items():
            options, scope = trait.card.signals.repetition, trait.card.scope
            if options:
                inside = find_in_scope(texts, scope)
                chosen, starts = cut_texts(texts, inside, scope.part)
                scores, spans = score_loops(chosen, options)
                result.signals[name]["repetition"] = reduce_to_rows(
                    result.size, texts, inside, scores, spans + starts[:, None]
                )

    def _score_language(self, texts: Texts, prompts: Prompts, result: Scores) -> None:
        for name, trait in self.bank.traits.items():
            if trait.card.signals.language:
                inside = find_in_scope(texts, trait.card.scope)
                chosen, starts = cut_texts(texts, inside, trait.card.scope.part)
                found = score_switches(chosen, prompts.make_reader(inside))
                signal = result.signals[name]["language"] = reduce_to_rows(
                    result.size, texts, inside, found.scores, found.spans + starts[:, None]
                )
                signal.hits = shift_hits(found.hits, inside, starts)

    def _score_dense(self, texts: Texts, result: Scores) -> None:
        if not self._dense or self.encoder is None:
            return
        windows, segments, parts = self.cut_windows(texts)
        result.vectors = self.encoder.encode(windows, self.progress)
        # a row's vector covers its whole text, or the first part if every trait reads only a part
        result.vector_rows = np.where(parts == parts[:1], texts.rows[segments], -1)
        spans = windows.spans
        for scope, traits in self._dense.items():
            wanted = np.zeros(len(texts.rows), bool)
            wanted[find_in_scope(texts, scope)] = True
            inside = np.flatnonzero(wanted[segments] & (parts == scope.part))
            for name, found in traits.score(result.vectors[inside]).items():
                for signal, scores in found.items():
                    result.signals[name][signal] = reduce_to_rows(
                        result.size, texts, segments[inside], scores, spans[inside], inside
                    )

    def cut_windows(self, texts: Texts) -> tuple[Windows, np.ndarray, np.ndarray]:
        """Cut the segments in the scope of dense signals into windows.

        Segments are cut once for each part that scopes read: first whole texts, then openings, then
        closings, each the shortest first. The result consists of the windows, each window's
        segment, and its part (`Scope.part`).

        Raises: ValueError: the scorer has no encoder.
        """
        if self.encoder is None:
            raise ValueError("no windows: the scorer has no encoder")
        windows: list[Windows] = []
        segments = [np.empty(0, np.int64)]
        parts = [np.empty(0, np.int64)]
        wanted_parts = {scope.part for scope in self._dense}
        for part in sorted(wanted_parts, key=lambda part: (part < 0, abs(part))):
            inside = [find_in_scope(texts, scope) for scope in self._dense if scope.part == part]
            wanted = np.unique(np.concatenate(inside))
            chosen, starts = cut_texts(texts, wanted, part)
            found = self.encoder.cut_windows(chosen).shift(starts)
            windows.append(found)
            segments.append(wanted[found.texts])
            parts.append(np.full(len(found), part))
        return join_windows(windows), np.concatenate(segments), np.concatenate(parts)

    def list_windows(self, texts: Texts) -> list[Window]:
        """Return every window that a model has yet to read to score these segments."""
        windows: list[Window] = []
        if self.encoder and self._dense:
            found = self.cut_windows(texts)[0]
            windows += () if self.encoder.remembers(found) else found
        for name in self.classifiers:
            windows += self._cut_for_classifier(name, texts)[1]
        return windows

    def _cut_for_classifier(self, name: str, texts: Texts) -> tuple[np.ndarray, Windows]:
        """Return the segments in a classifier's scope, and their windows."""
        scope = self.bank.traits[name].card.scope
        inside = find_in_scope(texts, scope)
        chosen, starts = cut_texts(texts, inside, scope.part)
        return inside, self.classifiers[name].cut_windows(chosen).shift(starts)

    def _score_classifiers(self, texts: Texts, result: Scores) -> None:
        for name, model in self.classifiers.items():
            inside, windows = self._cut_for_classifier(name, texts)
            scores = model.compute_probabilities(windows, self.progress)
            result.signals[name]["classifier"] = reduce_to_rows(
                result.size, texts, inside[windows.texts], scores, windows.spans
            )

    def _group_by_part(self, texts: Texts, names: Iterable[str]) -> Iterable[SharedPart]:
        """Group traits whose scopes read the same part of the same segments."""
        groups: dict[tuple[bytes, int], SharedPart] = {}
        for name in names:
            scope = self.bank.traits[name].card.scope
            inside = find_in_scope(texts, scope)
            key = inside.tobytes(), scope.part
            groups.setdefault(key, SharedPart(inside, scope.part, [])).traits.append(name)
        return groups.values()


def _collect_hits(
    segments: np.ndarray, spans: np.ndarray, scores: np.ndarray
) -> dict[int, list[tuple[int, int]]]:
    """Return the spans of the likely sentences, keyed by segment."""
    hits: dict[int, list[tuple[int, int]]] = {}
    for index in np.flatnonzero(scores >= LIKELY).tolist():
        start, end = spans[index].tolist()
        hits.setdefault(int(segments[index]), []).append((start, end))
    return hits


def reduce_to_rows(
    size: int,
    texts: Texts,
    segments: Sequence[int] | np.ndarray,
    scores: np.ndarray,
    spans: np.ndarray,
    windows: np.ndarray | None = None,
) -> SignalScores:
    """Reduce the scores of segments or windows to each row's highest score and its span.

    On a tie, the first score wins. `segments` and `spans` hold each score's segment and span. For
    dense signals, `windows` holds each score's vector index.

    Raises: RowError: a score isn't finite. Such a row would otherwise seem to have nothing in
    scope.
    """
    require_finite(np.asarray(scores), "a signal")
    segments = np.asarray(segments, int)
    values = np.full(size, np.nan, np.float32)
    best_spans = BestSpans(*(np.full(size, -1, np.int32) for _ in range(3)))
    best_window = None if windows is None else np.full(size, -1, np.int64)
    if len(segments):
        scores = round_scores(scores)
        best = _find_best(texts.rows[segments], scores)
        rows = texts.rows[segments[best]]
        values[rows] = scores[best]
        best_spans.segment[rows] = segments[best]
        best_spans.start[rows], best_spans.end[rows] = spans[best, 0], spans[best, 1]
        if windows is not None and best_window is not None:
            best_window[rows] = windows[best]
    return SignalScores(values, best_spans, best_window)


def _find_best(rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the index of the first highest score of each row that has any."""
    order = np.argsort(rows, kind="stable")
    rows, scores = rows[order], scores[order]
    begins = np.flatnonzero(np.append(True, rows[1:] != rows[:-1]))
    highest = np.maximum.reduceat(scores, begins)
    ties = np.flatnonzero(scores == np.repeat(highest, np.diff(np.append(begins, len(rows)))))
    found = rows[ties]
    return np.asarray(order[ties[np.append(True, found[1:] != found[:-1])]])


def _fork_model(model: Any) -> Any:
    forked = copy.copy(model)
    forked.counts = BatchCounts()
    return forked


def needs_encoder(bank: Bank) -> bool:
    """Return whether any trait of a bank has a dense signal."""
    return any(trait.card.uses_encoder for trait in bank.traits.values())


def load_scorer(bank: Bank, config: EncoderConfig, encoder: Encoder | None = None) -> Scorer:
    """Load the models that a bank's traits need.

    Raises: ModelError: a model can't be loaded, or isn't the one that the bank was fitted with.
    """
    if encoder is None and needs_encoder(bank):
        from classifiers.models.encoders import load_encoder

        encoder = load_encoder(config)
    if encoder is not None and needs_encoder(bank):
        bank.require_encoder(encoder.identity)
    classifiers = load_classifiers(bank, config)
    for name, model in classifiers.items():
        bank.require_classifier(name, model.files.identity)
    return Scorer(bank, encoder, classifiers)


def load_classifiers(bank: Bank, config: EncoderConfig) -> dict[str, SequenceClassifier]:
    """Load each trait's sequence classifier.

    Traits with the same checkpoint load separate copies.
    """
    options: dict[str, ClassifierOptions] = {
        name: trait.card.signals.classifier
        for name, trait in bank.traits.items()
        if trait.card.signals.classifier
    }
    if not options:
        return {}
    from classifiers.signals.sequence_classifiers import load_sequence_classifier

    return {
        name: load_sequence_classifier(item, config.device, config.precision)
        for name, item in options.items()
    }
