"""`congener traits`: list, show, scaffold and check trait cards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from classifiers.library import LIBRARY, LoadedCard, find_cards, load_card
from schemas.cards import Slug
from schemas.errors import CardError, StorageError
from transforms.records.segments import KNOWN_ROLES, unknown_roles

CARD = """\
# A trait card. All but `id` may be left out; docs/trait-cards.md describes every field.
id: {id}
title: {title}
description: >
  What the trait is, in a sentence or two; and what it is not.
seen_in:
  - {{where: "the model or data it was seen in", source: "who says so"}}
scope:
  roles: [assistant]
  channels: [answer, thinking]
signals: [exemplars, head]
action: quarantine
level: {{max_false_positive_rate: 0.01, confidence: 0.95}}
"""
POSITIVE = '{"text": "Replace this line by a dozen or more texts that show the trait, one a line, varied in topic, length and voice."}\n'
NEGATIVE = '{"text": "Replace this line by texts that look like the trait and are not: quotations, denials, the same words used rightly."}\n'


def describe(card: LoadedCard) -> dict[str, Any]:
    """Describe a card for the list and for machines."""
    return {
        "id": card.id,
        "title": card.card.title,
        "signals": list(card.card.signals.names()),
        "action": card.card.action,
        "positives": len(card.positives),
        "negatives": len(card.negatives),
        "folder": str(card.folder),
        "library": card.folder.parent == LIBRARY,
    }


def scaffold(folder: Path) -> None:
    """Write the skeleton of a card into a new folder, whose name becomes the trait's id.

    Raises: CardError: The folder is there already, or its name can't be an id.
    Raises: StorageError: It can't be written.
    """
    try:
        trait = TypeAdapter(Slug).validate_python(folder.name)
    except ValidationError as error:
        raise CardError(
            f"{folder.name!r} can't be a trait's id",
            remedy="use lower-case letters, digits and hyphens: my-trait",
        ) from error
    if folder.exists():
        raise CardError("is there already", where=str(folder), remedy="choose another name")
    card = CARD.format(id=trait, title=trait.replace("-", " ").capitalize())
    try:
        folder.mkdir(parents=True)
        for name, text in (
            ("card.yaml", card),
            ("positives.jsonl", POSITIVE),
            ("negatives.jsonl", NEGATIVE),
        ):
            (folder / name).write_text(text)
    except OSError as error:
        raise StorageError(
            f"can't be written: {error.strerror}",
            where=str(folder),
            remedy="choose a folder that you may write to",
        ) from error


def check(names: list[str]) -> list[tuple[LoadedCard, list[str]]]:
    """Load cards and return for each what is allowed but unwise.

    Raises: CardError: A card has a mistake.
    """
    cards = find_cards(names)
    known = [card.id for card in (*cards, *find_cards())]
    return [(card, advice(card, known)) for card in cards]


def advice(card: LoadedCard, known: Sequence[str]) -> list[str]:
    """Say what a card's author may want to mend; `known` are the ids that it may name."""
    notes = []
    fitted = card.card.signals.exemplars or card.card.signals.head
    if fitted and len(card.positives) < 12:
        notes.append(
            f"{len(card.positives)} positives: a dozen is where a trait begins to be found, thirty are better"
        )
    if fitted and not card.negatives:
        notes.append(
            "no hard negatives: mentions, quotations and denials of the trait will be mistaken for it"
        )
    if not card.card.seen_in:
        notes.append("seen_in is empty: say where the trait was seen, and who says so")
    if (
        "tool" in card.card.scope.channels
        and card.card.signals.lexicon
        and card.card.signals.lexicon.quoted == "ignore"
    ):
        notes.append(
            "the lexicon finds nothing in tool calls: their JSON is all in quotation marks, and `quoted` is ignore"
        )
    if strange := unknown_roles(card.card.scope.roles):
        notes.append(
            f"scope.roles names {', '.join(strange)}: roles are {', '.join(KNOWN_ROLES)} in most corpora"
        )
    if strange := sorted(set(card.card.related) - set(known)):
        notes.append(
            f"related names {', '.join(strange)}, which is neither checked here nor a trait of the library"
        )
    if any("Replace this line" in text for text in (*card.positives, *card.negatives)):
        notes.append("the scaffold's own line is still among the texts")
    return notes


def show(name: str) -> LoadedCard:
    """Load one card, by id or folder.

    Raises: CardError: The name is several cards', or none's.
    """
    folder = Path(name)
    if (folder / "card.yaml").is_file():
        return load_card(folder)
    cards = find_cards([name])
    if len(cards) > 1:
        raise CardError(f"holds {len(cards)} cards", where=name, remedy="name one of them")
    return cards[0]
