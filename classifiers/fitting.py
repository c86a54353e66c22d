"""Fit trait cards on clean text into a bank of indexes, heads and calibration scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from classifiers.banks import BANK_FORMAT, Bank, TraitModel, serialise_bank
from classifiers.library import LoadedCard, read_background
from classifiers.models.checkpoints import find_model
from classifiers.models.encoders import Encoder, EncoderConfig, Progress
from classifiers.scoring import DENSE, Scorer, combine, load_classifiers
from classifiers.signals.exemplars import build_optional_index, contrast
from classifiers.signals.heads import Labelled, balance_weights, fit_scale, train_head
from schemas.cards import SIGNALS, Scope, Signals, TraitCard
from schemas.digests import digest_bytes, digest_config
from schemas.errors import CardError
from schemas.scores import COMBINED

SIMILARITIES = 1 << 24
"""The largest number of similarities held in memory at once; they take 64 MiB."""

MOST_BACKGROUND = 8_192
"""The largest number of background windows that a trait is fitted on.

Every trait keeps the vectors of its negatives, so without a limit, memory would grow with traits
times windows: the library's background has 43,000 windows of 8 tokens, but only 4,000 of 32.
"""

CALIBRATED_ROWS = 5_000
"""How many rows of clean text are scored at once: as many as a shard has by default."""


class CleanRow(NamedTuple):
    """The texts of one clean record.

    `origin` is `background`, `user`, or the id of the trait whose card the texts belong to.
    `polarity` is `positive` or `negative` for a card's texts, and otherwise `clean`. A card's texts
    count as clean only for other traits.
    """

    texts: tuple[str, ...]
    origin: str
    polarity: str


@dataclass(frozen=True)
class CleanText:
    """Clean text for fitting and calibration. A threshold's guarantee holds for similar text.

    `user` is the user's sample, which is used only for calibration. Without a sample, half of
    `shipped`, chosen by digest, is held out for calibration.
    """

    shipped: tuple[CleanRow, ...]
    user: tuple[CleanRow, ...] = ()
    name: str = "library background"

    @property
    def digest(self) -> str:
        """Return the digest of all texts."""
        return digest_config([self.shipped, self.user])


class EncodedWindow(NamedTuple):
    """A window of a negative text: its characters and its unit vector."""

    text: str
    vector: np.ndarray


class _Vectors(NamedTuple):
    """Vectors, keyed by text: one for each positive, and one for each window of a negative."""

    positives: dict[str, np.ndarray]
    negatives: dict[str, list[EncodedWindow]]


@dataclass
class _Answers:
    """Texts for the scorer, each presented as an assistant's answer."""

    rows: np.ndarray
    text: pa.LargeStringArray

    def find_in_scope(self, roles: Iterable[str], channels: Iterable[str]) -> np.ndarray:
        """Return all segments if the assistant's answers are in scope, otherwise none."""
        return (
            np.arange(len(self.rows))
            if "assistant" in roles and "answer" in channels
            else np.empty(0, np.int64)
        )


def collect_background(library: Iterable[LoadedCard]) -> tuple[CleanRow, ...]:
    """Return the clean text that ships with congener.

    It consists of the background conversations and the exemplars of every library trait, which are
    clean text for other traits.
    """
    rows = [CleanRow(tuple(texts), "background", "clean") for texts in read_background()]
    for card in library:
        rows += [CleanRow((text,), card.id, "negative") for text in card.negatives]
        rows += [CleanRow((text,), card.id, "positive") for text in card.positives]
    return tuple(rows)


def select_suitable(card: LoadedCard, rows: Iterable[CleanRow]) -> list[CleanRow]:
    """Return the rows that are clean text for a trait.

    The trait's own texts and the positives of related traits are left out.
    """
    own = {*card.positives, *card.negatives}
    related = {card.id, *card.card.related}
    return [
        row
        for row in rows
        if not (row.polarity == "positive" and row.origin in related)
        and row.origin != card.id
        and not own.intersection(row.texts)
    ]


def is_held_out(row: CleanRow) -> bool:
    """Return whether a shipped row is held out for calibration; half are, chosen by digest."""
    return int(digest_bytes("\n".join(row.texts).encode("utf-8", "surrogatepass"))[:8], 16) % 2 == 0


def split_clean_text(card: LoadedCard, clean: CleanText) -> tuple[list[CleanRow], list[CleanRow]]:
    """Return the rows to train on and the rows to calibrate on, which are disjoint."""
    shipped = select_suitable(card, clean.shipped)
    if clean.user:
        return shipped, list(clean.user)
    return (
        [row for row in shipped if not is_held_out(row)],
        [row for row in shipped if is_held_out(row)],
    )


def compute_fit_key(card: LoadedCard, clean: CleanText, identity: Mapping[str, Any] | None) -> str:
    """Return a digest of everything that a fitted trait depends on; equal keys mean equal fits."""
    options = card.card.signals.classifier
    classifier = find_model(options.model, options.revision).identity if options else None
    encoder = identity if uses_encoder(card.card) else None
    return digest_config([BANK_FORMAT, card.digest, clean.digest, encoder, classifier])


def uses_encoder(card: TraitCard) -> bool:
    """Return whether a card has a dense signal, which needs the encoder."""
    return any(getattr(card.signals, name) for name in DENSE)


def limit_card(card: TraitCard, signals: Sequence[str]) -> TraitCard:
    """Return the card limited to the given signals."""
    kept = {name: getattr(card.signals, name) if name in signals else None for name in SIGNALS}
    return card.model_copy(update={"signals": Signals(**kept)})


def limit_bank(bank: Bank, signals: Sequence[str]) -> Bank:
    """Return the bank limited to the given signals; traits that have none of them are left out.

    The combined calibration scores are recomputed from the remaining signals.
    """
    traits = {
        name: _limit_trait(trait, signals)
        for name, trait in bank.traits.items()
        if set(trait.card.signals.names) & set(signals)
    }
    result = Bank(traits, bank.encoder, bank.background)
    serialise_bank(result)  # sets the digest
    return result


def _limit_trait(trait: TraitModel, signals: Sequence[str]) -> TraitModel:
    kept = {name: scores for name, scores in trait.calibration.items() if name in signals}
    return replace(
        trait,
        card=limit_card(trait.card, signals),
        calibration={"combined": combine(kept), **kept},
        classifier=trait.classifier if "classifier" in signals else None,
    )


def fit_bank(
    cards: Sequence[LoadedCard],
    clean: CleanText,
    encoder: Encoder | None,
    config: EncoderConfig,
    kept: Mapping[str, TraitModel] | None = None,
    progress: Progress | None = None,
) -> Bank:
    """Fit a bank from these cards; traits in `kept` are used unchanged.

    Each text is encoded only once, however many traits use it. The result is deterministic on one
    machine.
    """
    kept = kept or {}
    missing = [card for card in cards if card.id not in kept]
    vectors = _encode_texts(
        [card for card in missing if uses_encoder(card.card)], clean, encoder, progress
    )
    fitted = {card.id: _fit_trait(card, clean, vectors) for card in missing}
    bank = Bank(
        {card.id: {**kept, **fitted}[card.id] for card in cards},
        encoder.identity if encoder else None,
        {"name": clean.name, "digest": clean.digest, "rows": len(clean.user or clean.shipped)},
    )
    if missing:
        part = Bank(
            {card.id: scope_to_answers(bank.traits[card.id]) for card in missing},
            bank.encoder,
            bank.background,
        )
        scorer = Scorer(part, encoder, load_classifiers(part, config))
        scorer.progress = progress
        for name, model in scorer.classifiers.items():
            bank.traits[name].classifier = model.files.identity
        _calibrate(bank, missing, clean, scorer)
    serialise_bank(bank)  # sets the digest
    return bank


def _encode_texts(
    cards: Sequence[LoadedCard],
    clean: CleanText,
    encoder: Encoder | None,
    progress: Progress | None,
) -> _Vectors:
    """Encode every text once: each positive whole, and each negative in windows like a corpus row.

    Every window of a clean text is clean, and a long row gets the score of its highest-scoring
    window. A positive becomes a single vector, because it isn't known which of its windows shows
    the trait.
    """
    parts = [collect_texts(card, clean) for card in cards]
    if not parts or encoder is None:
        return _Vectors({}, {})
    positives = list(dict.fromkeys(text for part in parts for text in part[0]))
    negatives = list(dict.fromkeys(text for part in parts for text in (*part[1], *part[2])))
    windows = encoder.cut_windows(negatives)
    found = encoder.encode([*encoder.take_whole(positives), *windows], progress)
    encoded: dict[str, list[EncodedWindow]] = {text: [] for text in negatives}
    for window, vector in zip(windows, found[len(positives) :], strict=True):
        text = negatives[window.text]
        encoded[text].append(EncodedWindow(text[window.start : window.end], vector))
    return _Vectors(dict(zip(positives, found, strict=False)), encoded)


def collect_texts(
    card: LoadedCard, clean: CleanText
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the positives, hard negatives and background texts to fit a card on.

    Texts are cut to the scope's opening. A text that is in several groups is returned only in the
    first.
    """
    opening = card.card.scope.opening
    background = (text for row in split_clean_text(card, clean)[0] for text in row.texts)
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
    positives, hard, rest = collect_texts(card, clean)
    own = [window for text in hard for window in vectors.negatives[text]]
    others = [window for text in rest for window in vectors.negatives[text]]
    negatives = [*own, *limit_windows(others, MOST_BACKGROUND)]
    found = np.stack([vectors.positives[text] for text in positives])
    fit_dense(trait, found, _stack(negatives, found.shape[1]), len(own))
    if not trait.card.signals.names:
        raise CardError(
            f"trait {card.id} has no other signal than exemplars, and they would find nothing: its "
            "positives are more like the negatives than like each other",
            where=str(card.folder),
            remedy="add the signal head, or positives that resemble each other",
        )
    trait.positives, trait.negatives = positives, tuple(window.text for window in negatives)
    return trait


def limit_windows(windows: Sequence[EncodedWindow], most: int) -> Sequence[EncodedWindow]:
    """Return at most this many windows in their order, chosen by digest if there are more."""
    if len(windows) <= most:
        return windows
    digests = [digest_bytes(window.text.encode("utf-8", "surrogatepass")) for window in windows]
    chosen = sorted(range(len(windows)), key=digests.__getitem__)[:most]
    return [windows[index] for index in sorted(chosen)]


def _stack(windows: Sequence[EncodedWindow], dimension: int) -> np.ndarray:
    return (
        np.stack([window.vector for window in windows])
        if windows
        else np.empty((0, dimension), np.float32)
    )


def fit_dense(trait: TraitModel, positives: np.ndarray, negatives: np.ndarray, hard: int) -> None:
    """Fit a trait's exemplar indexes and head from unit vectors.

    The first `hard` negatives are the card's hard negatives. If the positives are more like the
    negatives than like each other, a high contrast speaks against the trait, so the exemplars
    aren't used.
    """
    labels = np.concatenate([np.ones(len(positives)), np.zeros(len(negatives))])
    weights = balance_weights(labels, np.arange(len(labels)) < len(positives) + hard)
    signals = trait.card.signals
    if signals.exemplars:
        margins = np.concatenate(leave_one_out(positives, negatives, signals.exemplars.neighbours))
        scale = fit_scale(margins, labels, weights)
        if scale[0] > 0:
            trait.scale = scale
            trait.positive_index = build_optional_index(positives)
            trait.negative_index = build_optional_index(negatives)
        else:
            others = [name for name in signals.names if name != "exemplars"]
            trait.card, trait.unused = limit_card(trait.card, others), ("exemplars",)
    if signals.head:
        trait.head = train_head(
            Labelled(np.concatenate([positives, negatives]), labels, weights), signals.head
        )


def leave_one_out(
    positives: np.ndarray, negatives: np.ndarray, neighbours: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the contrast of every positive and every negative with the other exemplars."""
    return _contrast_others(positives, negatives, neighbours, 1.0), _contrast_others(
        negatives, positives, neighbours, -1.0
    )


def _contrast_others(
    own: np.ndarray, others: np.ndarray, neighbours: int, sign: float
) -> np.ndarray:
    """Return how much more similar each vector in `own` is to the rest of `own` than to `others`.

    Both similarities are means over the nearest `neighbours`. `sign` is 1 for positives and -1 for
    negatives, so that a high result always indicates the trait.
    """
    if not len(own):
        return np.empty(0, np.float32)
    near = _average_nearest(own, min(neighbours, len(own) - 1))
    far = (
        contrast(own, build_optional_index(others), None, neighbours)
        if len(others)
        else np.zeros(len(own), np.float32)
    )
    return np.asarray(sign * (near - far), np.float32)


def _average_nearest(vectors: np.ndarray, count: int) -> np.ndarray:
    """Return each vector's mean similarity to its `count` nearest neighbours, or 0 if `count` is 0.

    The similarities are computed for a few vectors at a time, because the full matrix grows with
    the square of the number of vectors.
    """
    near = np.zeros(len(vectors), np.float32)
    step = max(1, SIMILARITIES // len(vectors))
    for begin in range(0, len(vectors) if count else 0, step):
        similarity = vectors[begin : begin + step] @ vectors.T
        itself = np.arange(len(similarity))
        similarity[itself, begin + itself] = -np.inf
        top = np.partition(similarity, len(vectors) - count, axis=1)[:, -count:]
        near[begin + itself] = np.sort(top, axis=1)[:, ::-1].mean(axis=1)
    return near


def _calibrate(bank: Bank, cards: Sequence[LoadedCard], clean: CleanText, scorer: Scorer) -> None:
    """Score each trait's held-out clean rows as `filter` does, and store the scores in the bank."""
    held = {card.id: split_clean_text(card, clean)[1] for card in cards}
    everything = list(dict.fromkeys(row for rows in held.values() for row in rows))
    index_of = {row: index for index, row in enumerate(everything)}
    parts = [
        _score_by_trait(scorer, everything[begin : begin + CALIBRATED_ROWS])
        for begin in range(0, len(everything), CALIBRATED_ROWS)
    ] or [_score_by_trait(scorer, [])]
    for card in cards:
        chosen = [index_of[row] for row in held[card.id]]
        bank.traits[card.id].calibration = {
            signal: np.concatenate([part[card.id][signal] for part in parts])[chosen]
            for signal in parts[0][card.id]
        }


def _score_by_trait(scorer: Scorer, rows: Sequence[CleanRow]) -> dict[str, dict[str, np.ndarray]]:
    """Return the clean rows' scores, keyed by trait and then by signal or `combined`."""
    scores = scorer.score(len(rows), present_as_answers(rows))
    return {
        trait: {COMBINED: scores.combined[trait]}
        | {name: item.scores for name, item in signals.items()}
        for trait, signals in scores.signals.items()
    }


def scope_to_answers(trait: TraitModel) -> TraitModel:
    """Return the trait with its scope set to answers, since all clean texts are answers.

    Even traits that read thinking or the user's turns are therefore calibrated on answers.
    """
    scope = Scope(opening=trait.card.scope.opening)
    return replace(trait, card=trait.card.model_copy(update={"scope": scope}))


def present_as_answers(rows: Sequence[CleanRow]) -> _Answers:
    """Return the rows in the form that the scorer takes, with each nonblank text as an answer."""
    flat = [(row, text) for row, item in enumerate(rows) for text in item.texts if text.strip()]
    return _Answers(
        np.array([row for row, _ in flat], np.int64),
        pa.array([text for _, text in flat], pa.large_string()),
    )
