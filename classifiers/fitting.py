"""Fitting: from trait cards and clean text to a bank of indexes, heads and calibration scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from classifiers.banks import Bank, TraitModel, bank_files, index_of
from classifiers.library import LoadedCard, background_conversations
from classifiers.models.encoders import Encoder, EncoderConfig, Progress
from classifiers.scoring import DENSE, Scorer, combine, load_classifiers
from classifiers.signals.exemplars import contrast
from classifiers.signals.heads import Labelled, balanced, train_head, train_scale
from schemas.cards import SIGNALS, Scope, Signals, TraitCard
from schemas.digests import config_digest, sha256_hex


class CleanRow(NamedTuple):
    """A text record that is clean as far as its origin says: `background`, or the trait whose card it comes from."""

    texts: tuple[str, ...]
    origin: str
    polarity: str


@dataclass(frozen=True)
class CleanText:
    """Clean text for fitting and for calibration, and what the guarantee therefore speaks of.

    `user` is the user's own sample; without it, half of `shipped` (by digest) is held out for calibration.
    """

    shipped: tuple[CleanRow, ...]
    user: tuple[CleanRow, ...] = ()
    name: str = "library background"

    @property
    def digest(self) -> str:
        """Digest the texts."""
        return config_digest([self.shipped, self.user])


class Piece(NamedTuple):
    """A window of a negative: its text and its unit vector."""

    text: str
    vector: np.ndarray


class _Vectors(NamedTuple):
    """What traits are fitted on, by text: a positive's vector, a negative's windows."""

    positives: dict[str, np.ndarray]
    pieces: dict[str, list[Piece]]


@dataclass
class _Batch:
    """Texts as the scorer wants them: all in the assistant's answer."""

    rows: np.ndarray
    text: pa.LargeStringArray

    def in_scope(self, roles: Iterable[str], channels: Iterable[str]) -> np.ndarray:
        """Return all texts if answers are wanted."""
        return (
            np.arange(len(self.rows))
            if "assistant" in roles and "answer" in channels
            else np.empty(0, np.int64)
        )


def library_background(library: Iterable[LoadedCard]) -> tuple[CleanRow, ...]:
    """Return the clean text that ships: conversations, and every library trait's hard negatives and positives (clean for other traits)."""
    rows = [CleanRow(tuple(texts), "background", "clean") for texts in background_conversations()]
    for card in library:
        rows += [CleanRow((text,), card.id, "negative") for text in card.negatives]
        rows += [CleanRow((text,), card.id, "positive") for text in card.positives]
    return tuple(rows)


def suitable(card: LoadedCard, rows: Iterable[CleanRow]) -> list[CleanRow]:
    """Leave out what isn't clean, or was trained on, for this trait: its own texts and the positives of related traits."""
    own = {*card.positives, *card.negatives}
    related = {card.id, *card.card.related}
    return [
        row
        for row in rows
        if not (row.polarity == "positive" and row.origin in related)
        and row.origin != card.id
        and not own.intersection(row.texts)
    ]


def held_out(row: CleanRow) -> bool:
    """Say whether a shipped row is calibrated on (half of them, by digest) or trained on."""
    return int(sha256_hex("\n".join(row.texts).encode("utf-8", "surrogatepass"))[:8], 16) % 2 == 0


def split(card: LoadedCard, clean: CleanText) -> tuple[list[CleanRow], list[CleanRow]]:
    """Return the rows to train on and those to calibrate on; no row is in both."""
    shipped = suitable(card, clean.shipped)
    if clean.user:
        return shipped, list(clean.user)
    return [row for row in shipped if not held_out(row)], [row for row in shipped if held_out(row)]


def fit_key(card: LoadedCard, clean: CleanText, identity: Mapping[str, Any] | None) -> str:
    """Digest all that a fitted trait depends on; an equal key means that it needn't be fitted again."""
    return config_digest([card.digest, clean.digest, identity if uses_encoder(card.card) else None])


def uses_encoder(card: TraitCard) -> bool:
    """Say whether a card has a signal that needs the encoder."""
    return any(getattr(card.signals, name) for name in DENSE)


def limited(card: TraitCard, signals: Sequence[str]) -> TraitCard:
    """Return the card with only these signals."""
    kept = {name: getattr(card.signals, name) if name in signals else None for name in SIGNALS}
    return card.model_copy(update={"signals": Signals(**kept)})


def limited_bank(bank: Bank, signals: Sequence[str]) -> Bank:
    """Return the bank with only these signals and the traits that have any of them; calibration scores are combined anew."""
    traits = {
        name: _limited_trait(trait, signals)
        for name, trait in bank.traits.items()
        if set(trait.card.signals.names()) & set(signals)
    }
    result = Bank(traits, bank.encoder, bank.background)
    bank_files(result)
    return result


def _limited_trait(trait: TraitModel, signals: Sequence[str]) -> TraitModel:
    kept = {name: scores for name, scores in trait.calibration.items() if name in signals}
    return replace(
        trait, card=limited(trait.card, signals), calibration={"combined": combine(kept), **kept}
    )


def fit_bank(
    cards: Sequence[LoadedCard],
    clean: CleanText,
    encoder: Encoder | None,
    config: EncoderConfig,
    kept: Mapping[str, TraitModel] | None = None,
    progress: Progress | None = None,
) -> Bank:
    """Fit every card that isn't in `kept`, whose traits are taken as they are; deterministic on one machine.

    All texts go through the encoder once, whatever the number of traits.
    """
    identity = encoder.identity if encoder else None
    kept = kept or {}
    missing = [card for card in cards if card.id not in kept]
    vectors = _vectors(
        [card for card in missing if uses_encoder(card.card)], clean, encoder, progress
    )
    fitted = {card.id: _fit_trait(card, clean, vectors) for card in missing}
    bank = Bank(
        {card.id: {**kept, **fitted}[card.id] for card in cards},
        identity,
        {"name": clean.name, "digest": clean.digest, "rows": len(clean.user or clean.shipped)},
    )
    if missing:
        part = Bank(
            {card.id: _unscoped(bank.traits[card.id]) for card in missing},
            bank.encoder,
            bank.background,
        )
        scorer = Scorer(part, encoder, load_classifiers(part, config))
        scorer.progress = progress
        _calibrate(bank, missing, clean, scorer)
    bank_files(bank)
    return bank


def _vectors(
    cards: Sequence[LoadedCard],
    clean: CleanText,
    encoder: Encoder | None,
    progress: Progress | None,
) -> _Vectors:
    """Encode every text once: positives whole, negatives in the windows that `filter` would score them in.

    Every window of a clean text is clean, and a long row is only as quiet as its loudest one. Which window of a positive shows
    the trait isn't said, so a positive stays one vector.
    """
    parts = [fitting_texts(card, clean) for card in cards]
    if not parts or encoder is None:
        return _Vectors({}, {})
    positives = list(dict.fromkeys(text for part in parts for text in part[0]))
    negatives = list(dict.fromkeys(text for part in parts for text in (*part[1], *part[2])))
    windows = encoder.windows(negatives)
    found = encoder.encode([*encoder.whole(positives), *windows], progress)
    pieces: dict[str, list[Piece]] = {text: [] for text in negatives}
    for window, vector in zip(windows, found[len(positives) :], strict=True):
        text = negatives[window.text]
        pieces[text].append(Piece(text[window.start : window.end], vector))
    return _Vectors(dict(zip(positives, found, strict=False)), pieces)


def fitting_texts(
    card: LoadedCard, clean: CleanText
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return positives, hard negatives and background to fit a card on, each text once, cut to the scope's opening."""
    opening = card.card.scope.opening
    background = (text for row in split(card, clean)[0] for text in row.texts)
    positives = dict.fromkeys(text[:opening] for text in card.positives)
    hard = dict.fromkeys(
        text[:opening] for text in card.negatives if text[:opening] not in positives
    )
    rest = dict.fromkeys(
        text[:opening]
        for text in background
        if text[:opening] not in positives and text[:opening] not in hard
    )
    return tuple(positives), tuple(hard), tuple(rest)


def _fit_trait(card: LoadedCard, clean: CleanText, vectors: _Vectors) -> TraitModel:
    trait = TraitModel(card.card, card.digest, calibrated_on=clean.name)
    if not uses_encoder(card.card):
        return trait
    positives, hard, rest = fitting_texts(card, clean)
    own = [piece for text in hard for piece in vectors.pieces[text]]
    negatives = [*own, *(piece for text in rest for piece in vectors.pieces[text])]
    found = np.stack([vectors.positives[text] for text in positives])
    fit_dense(trait, found, _stack(negatives, found.shape[1]), len(own))
    trait.positives, trait.negatives = positives, tuple(piece.text for piece in negatives)
    return trait


def _stack(pieces: Sequence[Piece], dimension: int) -> np.ndarray:
    return (
        np.stack([piece.vector for piece in pieces])
        if pieces
        else np.empty((0, dimension), np.float32)
    )


def fit_dense(trait: TraitModel, positives: np.ndarray, negatives: np.ndarray, hard: int) -> None:
    """Fit a trait's exemplar index and head from unit vectors; the first `hard` negatives are the card's own."""
    labels = np.concatenate([np.ones(len(positives)), np.zeros(len(negatives))])
    weights = balanced(labels, np.arange(len(labels)) < len(positives) + hard)
    signals = trait.card.signals
    if signals.exemplars:
        trait.positive_index, trait.negative_index = index_of(positives), index_of(negatives)
        margins = np.concatenate(leave_one_out(positives, negatives, signals.exemplars.neighbours))
        trait.scale = train_scale(margins, labels, weights)
    if signals.head:
        trait.head = train_head(
            Labelled(np.concatenate([positives, negatives]), labels, weights), signals.head
        )


def leave_one_out(
    positives: np.ndarray, negatives: np.ndarray, neighbours: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return each exemplar's contrast against all the others, so that none is its own neighbour."""
    return _without_self(positives, negatives, neighbours, 1.0), _without_self(
        negatives, positives, neighbours, -1.0
    )


def _without_self(own: np.ndarray, others: np.ndarray, neighbours: int, sign: float) -> np.ndarray:
    """Contrast of `own` with themselves left out, signed so that positives come out positive."""
    if not len(own):
        return np.empty(0, np.float32)
    similarity = own @ own.T
    np.fill_diagonal(similarity, -np.inf)
    count = min(neighbours, len(own) - 1)
    near = (
        -np.sort(-similarity, axis=1)[:, :count].mean(axis=1)
        if count
        else np.zeros(len(own), np.float32)
    )
    far = (
        contrast(own, index_of(others), None, neighbours)
        if len(others)
        else np.zeros(len(own), np.float32)
    )
    return np.asarray(sign * (near - far), np.float32)


def _calibrate(bank: Bank, cards: Sequence[LoadedCard], clean: CleanText, scorer: Scorer) -> None:
    """Score each trait's held-out clean rows just as `filter` scores a corpus, and keep the scores in the bank."""
    held = {card.id: split(card, clean)[1] for card in cards}
    everything = list(dict.fromkeys(row for rows in held.values() for row in rows))
    place = {row: at for at, row in enumerate(everything)}
    scores = scorer.score(len(everything), as_answers(everything))
    for card in cards:
        chosen = [place[row] for row in held[card.id]]
        signals = {name: item.scores[chosen] for name, item in scores.signals[card.id].items()}
        bank.traits[card.id].calibration = {"combined": scores.combined[card.id][chosen], **signals}


def _unscoped(trait: TraitModel) -> TraitModel:
    """Let a trait of the thinking, or of the user's turns, be calibrated on answers: there is no other clean text."""
    return replace(
        trait, card=trait.card.model_copy(update={"scope": Scope(opening=trait.card.scope.opening)})
    )


def as_answers(rows: Sequence[CleanRow]) -> _Batch:
    """Present rows to the scorer: every text an answer of the assistant."""
    flat = [(at, text) for at, row in enumerate(rows) for text in row.texts if text.strip()]
    return _Batch(
        np.array([at for at, _ in flat], np.int64),
        pa.array([text for _, text in flat], pa.large_string()),
    )
