"""The traits that a run looks for, and what they need, as far as the settings and cards say it.

These checks load no model, so that a mistake is reported before anything is read or fitted.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace

from classifiers.clean_text import (
    CleanText,
    collect_background,
    require_known_texts,
    split_clean_text,
)
from classifiers.library import LoadedCard, find_cards, is_whole_library
from pipelines.config import OWN_CORPUS, FilterConfig, require_local_path
from schemas.cards import TraitCard
from schemas.errors import CardError, ModelError
from schemas.policies import Policy
from schemas.runs import BANK
from transforms.files import storage
from transforms.rules import check_policy, has_clean_texts, require_clean_texts


def choose_cards(config: FilterConfig) -> list[LoadedCard]:
    """Return the cards of a run's traits, each limited to the signals that the run may use.

    Traits that have none of these signals are left out if only `library` names them, or nothing.

    Raises: ModelError: a trait that was named itself has none of the signals that the run may use,
    or no trait has any of these signals.
    """
    cards = find_chosen(config.traits)
    if not config.signals:
        return cards
    able = [card for card in cards if _has_any(card, config.signals)]
    own = [name for name in config.traits if not is_whole_library(name)]
    unable = [card for card in find_chosen(own) if not _has_any(card, config.signals)]
    if own and unable:
        raise ModelError(
            f"trait {unable[0].id} has none of the signals {', '.join(config.signals)}",
            remedy="leave it out of --traits, or allow more --signals",
        )
    require_traits(len(able), config.signals)
    return [replace(card, card=card.card.limit_signals(config.signals)) for card in able]


def find_chosen(names: Sequence[str]) -> list[LoadedCard]:
    """Return the cards that a run's settings name, or those of the library without a name."""
    return find_cards([str(require_local_path(name)) for name in names])


def _has_any(card: LoadedCard, signals: Sequence[str]) -> bool:
    return bool(set(card.card.signals.names) & set(signals))


def require_traits(count: int, signals: Sequence[str]) -> None:
    """Refuse a run without any trait.

    Raises: ModelError: there is no trait.
    """
    if not count:
        raise ModelError(
            f"no trait has any of the signals {', '.join(signals)}, so nothing would be looked for"
            if signals
            else "the bank has no trait, so nothing would be looked for",
            remedy="allow more --signals, or name --traits that have them",
        )


def advise_bank(uri: str, index: str) -> str:
    """Return how to get a bank instead of a folder that is none; `index` is a bank's first file.

    A run's folder has a bank inside.
    """
    inner = storage.join(uri, BANK)
    if storage.exists(storage.join(inner, index)):
        return f"this is the folder of a run; its bank is {shlex.quote(inner)}"
    return "congener fit --traits DIR --output BANK writes one"


def require_useful_background(config: FilterConfig) -> None:
    """Refuse a background that would calibrate nothing.

    Raises: CardError: all traits come from a fitted bank.
    """
    if config.background and config.bank and not config.traits:
        raise CardError(
            "--background has no effect on a --bank without --traits, because the traits of the "
            "bank are calibrated already",
            remedy="fit the bank with it: congener fit --background ...",
        )


def require_useful_labels(config: FilterConfig) -> None:
    """Refuse labels that nothing would be fitted with.

    Raises: CardError: all traits come from a fitted bank, or rows are searched without labels.
    """
    if config.labels and config.bank and not config.traits:
        raise CardError(
            "--labels has no effect on a --bank without --traits, because the traits of the bank "
            "are fitted already",
            remedy="fit the bank with them: congener fit --labels ...",
        )
    if not config.labels and (config.labels_on or config.labels_run):
        raise CardError(
            "there are no labels whose rows could be looked up",
            remedy="name a file of labels with --labels",
        )


def require_vectors(config: FilterConfig, cards: Iterable[TraitCard]) -> None:
    """Refuse a run that should write vectors but computes none.

    Raises: CardError: vectors were asked for, and no card needs the encoder.
    """
    if config.vectors and not any(card.uses_encoder for card in cards):
        raise CardError(
            "vectors were asked for, but no trait of this run needs the encoder",
            remedy="leave --vectors out, or add a trait with exemplars or head",
        )


def check_cards(cards: Sequence[LoadedCard], policy: Policy, clean: CleanText) -> None:
    """Refuse cards and a policy that don't fit each other or the clean text.

    Raises: CardError: the policy names an unknown trait or signal, a card leaves out an unknown
        text, or there is too little clean text for a level.
    """
    check_policy(policy, [card.card for card in cards])
    for card in cards:
        require_known_texts(card, clean.shipped)
    texts = {card.id: len(split_clean_text(card, clean)[1]) for card in cards}
    short = [
        card
        for card in cards
        if not has_clean_texts(card.card, policy.get_rule(card.id), texts[card.id])
    ]
    for card in short:
        others = [other.id for other in short if other is not card]
        rule = policy.get_rule(card.id)
        most = _count_sampled(clean.name)
        require_clean_texts(card.card, rule, texts[card.id], clean.name, others, most)


def _count_sampled(name: str) -> int:
    """Return how many rows at most a run draws from its corpus as clean text of this name."""
    if not name.startswith(f"--background {OWN_CORPUS} "):
        return 0
    from pipelines.corpus_sample import SAMPLED_ROWS  # loads Beam, which is slow

    return SAMPLED_ROWS


def check_on_library(cards: Sequence[LoadedCard], policy: Policy) -> None:
    """Refuse cards and a policy that don't fit each other or the library's background.

    Raises: CardError: see `check_cards`.
    """
    check_cards(cards, policy, CleanText(collect_background(find_cards())))
