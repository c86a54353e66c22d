"""Whether a trait's card is still the version of it that a run used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from classifiers.library import LIBRARY, OPTIONAL, LoadedCard
from pipelines.display.shell_words import quote_word
from pipelines.evaluation import Population
from pipelines.labels import HIDDEN_DIGITS
from pipelines.traits import CARD_FILE, find_card

SHOWN_DIGITS = 8


class CardChange(NamedTuple):
    """A card that isn't the version that a run used.

    `of_run` and `now` are digests of both versions, and `command` measures the card as it is.
    """

    run: str
    folder: str
    of_run: str
    now: str
    command: str

    def describe(self) -> str:
        """Say which version the figures are of, and how to measure the other one."""
        versions = f"{self.of_run[:SHOWN_DIGITS]}, now {self.now[:SHOWN_DIGITS]}"
        return (
            f"the run {self.run} used another version of the card than {self.folder} has now "
            f"(card {versions}). All figures, and the threshold in force, are of the run's "
            f"version. To measure the card as it is now: {self.command}. To decide by it, filter "
            "the corpus again with another --output"
        )


def find_change(
    name: str, population: Population, options: Sequence[str] = ()
) -> CardChange | None:
    """Return how a card differs from the one that a run used; None if it doesn't, as far as known.

    The name is a trait folder or a trait's id. An id that isn't in the library names no folder, so
    nothing can be compared. `options` are further words of the command that measures the card.

    Raises: CardError: the card has a mistake.
    """
    card = load_named(name)
    if card is None or not population.card:
        return None
    now = _limit(card, population).digest[:HIDDEN_DIGITS]
    if now == population.card:
        return None
    words = ["congener", "traits", "eval", name, *_name_corpus(population), *options]
    command = " ".join(map(quote_word, words))
    return CardChange(population.run, str(card.folder), population.card, now, command)


def load_named(name: str) -> LoadedCard | None:
    """Return the card in a folder, or of an id of the library; None if the name is neither."""
    folders = (Path(name), LIBRARY / name, OPTIONAL / name)
    is_known = any((folder / CARD_FILE).is_file() for folder in folders)
    return find_card(name) if is_known else None


def _limit(card: LoadedCard, population: Population) -> LoadedCard:
    """Return the card with the signals to which the run was limited by `--signals`, if it was."""
    signals = population.manifest.config.get("signals")
    return replace(card, card=card.card.limit_signals(signals)) if signals else card


def _name_corpus(population: Population) -> list[str]:
    """Return `--on` with what the run's command had as its input, or with a word for it."""
    words = list(population.manifest.circumstances.get("command", ()))
    pairs = pairwise(words) if words[1:2] == ["filter"] else ()
    given = [following for word, following in pairs if word in ("--input", "-i")]
    return [part for item in given or ["CORPUS"] for part in ("--on", item)]
