"""Fit trait cards on clean text into a bank of indexes, heads and calibration scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from classifiers.banks import BANK_FORMAT, SCORE_GROUPS, Bank, TraitModel, serialise_bank
from classifiers.clean_text import (
    CleanRow,
    CleanText,
    list_calibration_rows,
    list_training_rows,
    present_as_answers,
    split_clean_text,
)
from classifiers.dense import apply_logistic
from classifiers.labelled_rows import Half
from classifiers.library import LoadedCard
from classifiers.models.checkpoints import find_model
from classifiers.models.interface import EncoderConfig, FixedTotal, Progress
from classifiers.models.windows import Window
from classifiers.scoring import (
    Scorer,
    combine,
    load_classifiers,
    round_scores,
)
from classifiers.signals.exemplars import build_optional_index, contrast
from classifiers.signals.sentences import find_sentences
from classifiers.signals.wording import shift_to_prior
from schemas.cards import FITTED, Scope
from schemas.digests import digest_bytes, digest_config
from schemas.errors import CardError
from schemas.scores import COMBINED

if TYPE_CHECKING:
    from classifiers.models.encoders import Encoder
    from classifiers.signals.sequence_classifiers import SequenceClassifier

SIMILARITIES = 1 << 24
"""The largest number of similarities in memory at once; they take 64 MiB."""

MOST_BACKGROUND = 8_192
"""The largest number of background windows per trait.

Every trait keeps its negatives' vectors, so memory would grow with traits times windows. The
library's background has 43,000 windows of 8 tokens, but only 4,000 of 32 tokens.
"""

CALIBRATED_ROWS = 5_000
"""How many clean rows are scored at once, as in a default shard."""

_GroupKey = tuple[int, str]
"""A group of texts in a fit: the part of them that is read, and the card or nothing."""


class EncodedWindow(NamedTuple):
    """A window of a negative text: its characters and its unit vector."""

    text: str
    vector: np.ndarray


class _Vectors(NamedTuple):
    """Vectors, keyed by text: one for each positive, and one for each window of a negative."""

    positives: dict[str, np.ndarray]
    negatives: dict[str, list[EncodedWindow]]


class _TextGroup(NamedTuple):
    """Texts that are encoded together: whole positives, and negatives in windows.

    `windows` holds the positives' windows, then the negatives'.
    """

    positives: tuple[str, ...]
    negatives: tuple[str, ...]
    windows: list[Window]


def compute_fit_key(card: LoadedCard, clean: CleanText, identity: Mapping[str, Any] | None) -> str:
    """Return a digest of everything that a fitted trait depends on."""
    options = card.card.signals.classifier
    classifier = find_model(options.model, options.revision).identity if options else None
    encoder = identity if card.card.uses_encoder else None
    parts = [BANK_FORMAT, card.digest, clean.digest, clean.name, encoder, classifier]
    return digest_config([*parts, card.labels.digest] if card.labels else parts)


def limit_bank(bank: Bank, signals: Sequence[str]) -> Bank:
    """Return the bank limited to the given signals, without traits that have none of them.

    The combined calibration scores are recomputed.
    """
    traits = {
        name: limit_trait(trait, signals)
        for name, trait in bank.traits.items()
        if set(trait.card.signals.names) & set(signals)
    }
    result = Bank(traits, bank.encoder, bank.background)
    serialise_bank(result)  # sets the digest
    return result


def limit_trait(trait: TraitModel, signals: Sequence[str]) -> TraitModel:
    """Return the trait limited to the given signals, with new combined scores."""
    scores: dict[str, Any] = {
        group: _limit_scores(getattr(trait, group), signals) for group in SCORE_GROUPS
    }
    return replace(
        trait,
        card=trait.card.limit_signals(signals),
        **scores,
        classifier=trait.classifier if "classifier" in signals else None,
        wording=trait.wording if "wording" in signals else None,
    )


def _limit_scores(scores: Mapping[str, np.ndarray], signals: Sequence[str]) -> dict[str, Any]:
    kept = {name: values for name, values in scores.items() if name in signals}
    return {COMBINED: combine(kept), **kept} if kept else {}


def fit_bank(
    cards: Sequence[LoadedCard],
    clean: CleanText,
    encoder: Encoder | None,
    config: EncoderConfig,
    kept: Mapping[str, TraitModel] | None = None,
    progress: Progress | None = None,
) -> Bank:
    """Fit a bank from these cards. Traits in `kept` are used unchanged.

    Each text is encoded only once, however many traits use it. The result is deterministic on one
    machine, and no trait depends on the other traits.

    `progress` receives the total before any text is encoded.
    """
    kept = kept or {}
    missing = [card for card in cards if card.id not in kept]
    scorers = [_build_scorer(part, encoder, config) for part in _group_by_part(missing)]
    groups = _group_texts([card for card in missing if card.card.uses_encoder], clean, encoder)
    rows = list_calibration_rows(clean) if missing else []
    if progress:
        unread = [group.windows for group in groups.values()]
        unread = [windows for windows in unread if not (encoder and encoder.remembers(windows))]
        _expect_windows(progress, unread, scorers, rows)
    steady = FixedTotal(progress)
    vectors = {key: _encode_group(group, encoder, steady) for key, group in groups.items()}
    fitted = {card.id: _fit_trait(card, clean, _select_vectors(card, vectors)) for card in missing}
    for scorer in scorers:
        scorer.progress = steady
        own = [card for card in missing if card.id in scorer.bank.traits]
        _calibrate(own, fitted, scorer, rows, clean)
    bank = Bank(
        {card.id: {**kept, **fitted}[card.id] for card in cards},
        encoder.identity if encoder else None,
        {"name": clean.name, "digest": clean.digest, "rows": len(clean.user or clean.shipped)},
    )
    serialise_bank(bank)  # sets the digest
    return bank


def _group_by_part(cards: Iterable[LoadedCard]) -> list[list[LoadedCard]]:
    """Group cards whose texts are cut alike; each group scores the clean text on its own.

    Otherwise, batches would depend on the other cards, and so would the vectors' last digits.
    """
    groups: dict[int, list[LoadedCard]] = {}
    for card in cards:
        groups.setdefault(card.card.scope.part, []).append(card)
    return list(groups.values())


def _build_scorer(
    cards: Iterable[LoadedCard], encoder: Encoder | None, config: EncoderConfig
) -> Scorer:
    """Return a scorer of clean answers for unfitted traits."""
    traits = {card.id: scope_to_answers(TraitModel(card.card, card.digest)) for card in cards}
    bank = Bank(traits, None, {})
    return Scorer(bank, encoder, load_classifiers(bank, config))


def _group_texts(
    cards: Iterable[LoadedCard], clean: CleanText, encoder: Encoder | None
) -> dict[_GroupKey, _TextGroup]:
    """Cut the texts of a fit into windows: clean text once for each part, then each card's own.

    Every window of a clean text is clean. A positive becomes a single vector, because any of its
    windows may show the trait.
    """
    if encoder is None:
        return {}
    texts: dict[_GroupKey, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    for card in cards:
        scope = card.card.scope
        if (scope.part, "") not in texts:
            shared = (scope.cut(text) for row in list_training_rows(clean) for text in row.texts)
            texts[scope.part, ""] = ((), tuple(dict.fromkeys(shared)))
        texts[scope.part, card.id] = collect_texts(card, clean)[:2]
    return {
        key: _TextGroup(*pair, [*encoder.take_whole(pair[0]), *encoder.cut_windows(pair[1])])
        for key, pair in texts.items()
    }


def _expect_windows(
    progress: Progress,
    groups: Iterable[Sequence[Window]],
    scorers: Iterable[Scorer],
    rows: Sequence[CleanRow],
) -> None:
    """Report how many windows and tokens the models read in the whole fit."""
    counts = [len(window.ids) for windows in groups for window in windows]
    for scorer, block in product(scorers, _cut_blocks(rows)):
        counts += [len(window.ids) for window in scorer.list_windows(present_as_answers(block))]
    if counts:
        progress.expect(len(counts), sum(counts))


def _encode_group(group: _TextGroup, encoder: Encoder | None, progress: Progress) -> _Vectors:
    if encoder is None:
        return _Vectors({}, {})
    found = encoder.encode(group.windows, progress)
    count = len(group.positives)
    encoded: dict[str, list[EncodedWindow]] = {text: [] for text in group.negatives}
    for window, vector in zip(group.windows[count:], found[count:], strict=True):
        text = group.negatives[window.text]
        encoded[text].append(EncodedWindow(text[window.start : window.end], vector))
    return _Vectors(dict(zip(group.positives, found, strict=False)), encoded)


def _select_vectors(card: LoadedCard, vectors: Mapping[_GroupKey, _Vectors]) -> _Vectors:
    """Return the vectors that a card is fitted with."""
    part = card.card.scope.part
    own, shared = (vectors.get((part, name), _Vectors({}, {})) for name in (card.id, ""))
    return _Vectors(own.positives, {**shared.negatives, **own.negatives})


def collect_texts(
    card: LoadedCard, clean: CleanText
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return a card's positives, hard negatives and background texts.

    Texts are cut to the part that the scope reads. A text that is in several groups is returned
    only in the first.
    """
    cut = card.card.scope.cut
    background = (text for row in split_clean_text(card, clean)[0] for text in row.texts)
    positives = dict.fromkeys(card.list_positives())
    hard = dict.fromkeys(text for text in card.list_negatives() if text not in positives)
    rest = dict.fromkeys(
        text for text in map(cut, background) if text not in positives and text not in hard
    )
    return tuple(positives), tuple(hard), tuple(rest)


def _fit_trait(card: LoadedCard, clean: CleanText, vectors: _Vectors) -> TraitModel:
    labels = card.labels.describe() if card.labels else None
    trait = TraitModel(card.card, card.digest, calibrated_on=clean.name, labels=labels)
    positives, hard, rest = collect_texts(card, clean)
    names = card.name_labelled_texts()
    if card.card.signals.wording:
        # most sentences of a labelled row are ordinary, so they don't choose the n-grams
        ordinary = [*rest, *(text for text in hard if text in names)]
        listed = [text for text in hard if text not in names]
        fit_wording(trait, positives, listed, ordinary, sum(text in names for text in positives))
    if not card.card.uses_encoder:
        return trait
    own = [window for text in hard for window in vectors.negatives[text]]
    others = [window for text in rest for window in vectors.negatives[text]]
    negatives = [*own, *limit_windows(others, MOST_BACKGROUND)]
    found = np.stack([vectors.positives[text] for text in positives])
    fit_dense(trait, found, _stack(negatives, found.shape[1]), len(own))
    if not trait.card.signals.names:
        raise CardError(
            f"trait {card.id} has only the signal exemplars, which would find nothing: its "
            "positives are more like the negatives than like each other",
            where=str(card.folder),
            remedy="add the signal head, or positives that resemble each other",
        )
    trait.positives = tuple(names.get(text, text) for text in positives)
    named = [names.get(text, window.text) for text in hard for window in vectors.negatives[text]]
    trait.negatives = (*named, *(window.text for window in negatives[len(own) :]))
    return trait


def fit_wording(
    trait: TraitModel,
    positives: Sequence[str],
    hard: Sequence[str],
    clean: Sequence[str],
    rows: int = 0,
) -> None:
    """Fit a trait's wording classifier; the last `rows` positives are rows of a corpus."""
    from classifiers.signals.wording_training import train_wording

    own, others, rest = (
        find_sentences(pa.array(texts, pa.large_string())) for texts in (positives, hard, clean)
    )
    trait.wording, held_out = train_wording(own, others, rest, len(positives), rows)
    if held_out is not None:
        scores = apply_logistic(shift_to_prior(held_out))
        trait.positive_scores["wording"] = round_scores(scores)


def limit_windows(windows: Sequence[EncodedWindow], most: int) -> Sequence[EncodedWindow]:
    """Return at most `most` windows in order. Digests decide which windows stay."""
    if len(windows) <= most:
        return windows
    digests = [digest_bytes(window.text.encode("utf-8", "surrogatepass")) for window in windows]
    chosen = sorted(range(len(windows)), key=digests.__getitem__)[:most]
    return [windows[index] for index in sorted(chosen)]


def _stack(windows: Sequence[EncodedWindow], dimension: int) -> np.ndarray:
    return np.array([item.vector for item in windows], np.float32).reshape(-1, dimension)


def fit_dense(trait: TraitModel, positives: np.ndarray, negatives: np.ndarray, hard: int) -> None:
    """Fit a trait's exemplar indexes and head from unit vectors.

    The first `hard` negatives are the card's hard negatives. The exemplars aren't used if the
    positives are more like the negatives than like each other, since a high contrast would then
    speak against the trait.
    """
    from classifiers.signals.head_training import Labelled, balance_weights, fit_scale, train_head

    labels = np.concatenate([np.ones(len(positives)), np.zeros(len(negatives))])
    weights = balance_weights(labels, np.arange(len(labels)) < len(positives) + hard)
    signals = trait.card.signals
    if signals.exemplars:
        margins = np.concatenate(leave_one_out(positives, negatives, signals.exemplars.neighbours))
        scale = fit_scale(margins, labels, weights)
        if scale[0] > 0:
            trait.scale = scale
            logits = scale[0] * margins[: len(positives)] + scale[1]
            trait.positive_scores["exemplars"] = round_scores(apply_logistic(logits))
            trait.positive_index = build_optional_index(positives)
            trait.negative_index = build_optional_index(negatives)
        else:
            others = [name for name in signals.names if name != "exemplars"]
            trait.card, trait.unused = trait.card.limit_signals(others), ("exemplars",)
    if signals.head:
        data = Labelled(np.concatenate([positives, negatives]), labels, weights)
        trait.head, held_out = train_head(data, signals.head)
        if held_out is not None:
            scores = round_scores(apply_logistic(held_out[: len(positives)]))
            trait.positive_scores["head"] = scores


def leave_one_out(
    positives: np.ndarray, negatives: np.ndarray, neighbours: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return each exemplar's contrast with the other exemplars."""
    return _contrast_others(positives, negatives, neighbours, 1.0), _contrast_others(
        negatives, positives, neighbours, -1.0
    )


def _contrast_others(
    own: np.ndarray, others: np.ndarray, neighbours: int, sign: float
) -> np.ndarray:
    """Return how much more similar each vector is to the rest of `own` than to `others`.

    Both similarities are means over the nearest `neighbours`. `sign` is 1 for positives and -1 for
    negatives, so a high result always indicates the trait.
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
    """Return each vector's mean similarity to its `count` nearest neighbours, or 0.

    The similarities are computed for a few vectors at a time, because the full matrix grows
    quadratically.
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


def _calibrate(
    cards: Sequence[LoadedCard],
    fitted: Mapping[str, TraitModel],
    scorer: Scorer,
    rows: Sequence[CleanRow],
    clean: CleanText,
) -> None:
    """Score clean rows as `filter` does, and store each trait's held-out scores."""
    scorer.replace_traits({card.id: scope_to_answers(fitted[card.id]) for card in cards})
    parts = [_score_by_trait(scorer, block) for block in _cut_blocks(rows)]
    index_of = {row: index for index, row in enumerate(rows)}
    for card in cards:
        trait, model = fitted[card.id], scorer.classifiers.get(card.id)
        chosen = [index_of[row] for row in split_clean_text(card, clean)[1]]
        trait.calibration = {
            signal: np.concatenate([part[card.id][signal] for part in parts])[chosen]
            for signal in parts[0][card.id]
        }
        trait.classifier = model.files.identity if model else None
        trait.positive_scores = score_positives(card, trait, model)
        if card.labels:
            score_labelled(card, scorer, trait)


def _cut_blocks(rows: Sequence[CleanRow]) -> list[Sequence[CleanRow]]:
    """Cut rows into one or more blocks for scoring."""
    starts = range(0, max(1, len(rows)), CALIBRATED_ROWS)
    return [rows[start : start + CALIBRATED_ROWS] for start in starts]


def score_positives(
    card: LoadedCard, trait: TraitModel, classifier: SequenceClassifier | None = None
) -> dict[str, np.ndarray]:
    """Return the held-out scores of a card's positives, keyed by signal.

    The trait already has the held-out scores of its fitted signals. Other signals score the
    positives directly. The result is empty without positives, or if a fitted signal has no held-out
    scores.
    """
    scores, names = dict(trait.positive_scores), trait.card.signals.names
    texts = card.list_positives()
    others = [name for name in names if name not in FITTED]
    if others and texts:
        part = scope_to_answers(replace(trait, card=trait.card.limit_signals(others)))
        models = {card.id: classifier} if classifier else {}
        wholes = {card.card.scope.cut(text): text for text in card.positives}  # with quotations
        rows = [CleanRow((wholes.get(text, text),), card.id, "positive") for text in texts]
        found = _score_by_trait(Scorer(Bank({card.id: part}, None, {}), None, models), rows)
        scores |= {name: found[card.id][name] for name in others}
    if not texts or any(name not in scores for name in names):
        return {}
    ordered: dict[str, np.ndarray] = {name: scores[name] for name in names}
    return {COMBINED: combine(ordered), **ordered}


def score_labelled(card: LoadedCard, scorer: Scorer, trait: TraitModel) -> None:
    """Score the rows of a card's calibration half, and store the scores in the trait."""
    own = Bank({card.id: scorer.bank.traits[card.id]}, None, {})
    models = {name: model for name, model in scorer.classifiers.items() if name == card.id}
    half = card.labels.calibration if card.labels else Half()
    for group, rows in zip(SCORE_GROUPS[2:], half, strict=True):
        if rows:
            alone, texts = Scorer(own, scorer.encoder, models), [CleanRow(t, "", "") for t in rows]
            setattr(trait, group, _score_by_trait(alone, texts)[card.id])


def _score_by_trait(scorer: Scorer, rows: Sequence[CleanRow]) -> dict[str, dict[str, np.ndarray]]:
    """Return the rows' scores, keyed by trait and then by signal or `combined`."""
    scores = scorer.score(len(rows), present_as_answers(rows))
    return {
        trait: {COMBINED: scores.combined[trait]}
        | {name: item.scores for name, item in signals.items()}
        for trait, signals in scores.signals.items()
    }


def scope_to_answers(trait: TraitModel) -> TraitModel:
    """Return the trait with answers as its scope, since all clean texts are answers.

    Traits that read thinking or user turns are also calibrated on answers.
    """
    own = trait.card.scope
    scope = Scope(opening=own.opening, closing=own.closing)
    return replace(trait, card=trait.card.model_copy(update={"scope": scope}))
