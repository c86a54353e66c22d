"""`congener traits`: describe, find, create and check trait cards."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from classifiers.library import (
    GOOD_POSITIVES,
    LIBRARY,
    OPTIONAL,
    LoadedCard,
    find_cards,
    is_shipped,
    load_card,
)
from schemas.cards import TraitId, compile_pattern, join_patterns
from schemas.errors import CardError, StorageError
from schemas.notices import format_count, list_names
from transforms.records.roles import KNOWN_ROLES, find_unknown_roles

if TYPE_CHECKING:
    from classifiers.clean_text import CleanRow
    from pipelines.pruning import HighTexts

CARD_FILE = "card.yaml"

PLACEHOLDER = "Replace this line"
"""The beginning of every placeholder in a new card."""

DESCRIPTION = "One or two sentences on what the trait is, and what it isn't."
"""The description in a new card."""

CARD = """\
# A trait card. All fields but `id` are optional; docs/trait-cards.md describes them.
id: {id}
title: {title}
# Readers label rows by title and description, so write both before anybody does.
description: >
  {description}
# seen_in:
#   - {{where: "the model or data that shows the trait", source: "who reports it"}}
scope:
  roles: [assistant]
  channels: [answer, thinking]
  # For a trait that shows only at the beginning or only at the end of texts, read only that part,
  # in characters. In 29,775 real answers of several paragraphs, half of the last paragraphs have at
  # most 211 characters, and nine in ten at most 440; of the first ones, 157 and 358.
  # opening: 400
  # closing: 450
signals:
  # These three learn from the texts. With fewer than about 30 positives they find little.
  wording: {{}}
  exemplars: {{}}
  head: {{}}
  # Patterns find the trait's phrases; `unless` excuses their hits, but teaches the signals above
  # nothing, so put some of such sentences into negatives.jsonl.
  # lexicon:
  #   patterns: ["let me know if", "feel free to ask"]
  #   unless: ["feel free to ask them"]
action: quarantine
level: {{max_false_positive_rate: 0.01, confidence: 0.95}}
"""

POSITIVE = (
    f'{{"text": "{PLACEHOLDER} with about 30 texts that show the trait, one per line, varied in '
    'topic, length and style; let the phrases of the trait recur."}\n'
)
NEGATIVE = (
    f'{{"text": "{PLACEHOLDER} with texts that look like the trait but aren\'t: quotations, '
    'denials, legitimate uses of the same words."}\n'
)


class CheckedCard(NamedTuple):
    """A valid card, advice for its author, and the clean texts that raise its threshold."""

    card: LoadedCard
    advice: list[str]
    high: HighTexts | None = None


TEXT_NAME = re.compile(r"[a-z0-9-]+/[0-9a-f]{12}")
"""The name of a clean text, by which a card leaves it out."""

FIRST_CLAUSE = re.compile(r"[.:;](?= |$)")
"""The end of a description's first clause."""


def describe_card(card: LoadedCard) -> dict[str, Any]:
    """Describe a card briefly for JSON."""
    return {
        "id": card.id,
        "title": card.card.title,
        "summary": summarise(card.card.description),
        "signals": list(card.card.signals.names),
        "action": card.card.action,
        "positives": len(card.positives),
        "negatives": len(card.negatives),
        "folder": str(card.folder),
        "library": is_shipped(card.folder),
        "optional": card.folder.parent == OPTIONAL,
    }


def summarise(description: str) -> str:
    """Return the first clause of a description."""
    return FIRST_CLAUSE.split(" ".join(description.split()), 1)[0]


def create_card(folder: Path) -> None:
    """Write the skeleton of a card to a new folder, whose name is the trait's id.

    Raises: CardError: the folder exists, or its name can't be an id. Raises: StorageError: the
    folder can't be written.
    """
    trait = check_new_folder(folder)
    title = trait.replace("-", " ").capitalize()
    card = CARD.format(id=trait, title=title, description=DESCRIPTION)
    files = {CARD_FILE: card, "positives.jsonl": POSITIVE, "negatives.jsonl": NEGATIVE}
    write_folder(folder, files)


def check_new_folder(folder: Path) -> str:
    """Return the id of a trait whose card will be in a new folder: the folder's name.

    Raises: CardError: the folder exists, or its name can't be an id.
    """
    try:
        trait = TypeAdapter(TraitId).validate_python(folder.name)
    except ValidationError as error:
        raise CardError(
            f"{folder.name!r} can't be a trait's id",
            remedy="use lower-case letters, digits and hyphens: my-trait",
        ) from error
    if folder.exists():
        raise CardError("already exists", where=str(folder), remedy="choose another name")
    if (LIBRARY / trait).is_dir() or (OPTIONAL / trait).is_dir():
        raise CardError(
            "is the name of a trait of the library",
            where=str(folder),
            remedy=f"choose another name; congener traits show {trait} shows the library's card",
        )
    return str(trait)


def write_folder(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files of a card to a new folder.

    Raises: StorageError: the folder can't be written.
    """
    try:
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"can't be written: {error.strerror}",
            where=str(folder),
            remedy="choose a folder that you may write to",
        ) from error


def check_cards(names: list[str], bank: str | None = None) -> list[CheckedCard]:
    """Load cards by id or folder, and return each one with advice for its author.

    With a bank, the advice names the exemplars that the bank gets wrong, and each card has the
    clean texts that raise its threshold.

    Raises: CardError: a card has a mistake, or isn't in the bank. Raises: ModelError: the bank
    can't be loaded.
    """
    cards = find_cards(names)
    if any(card.card.leave_out for card in cards):
        _require_known_texts(cards)
    known = [card.id for card in (*cards, *find_cards())]
    advice = [list_advice(card, known) for card in cards]
    if not bank:
        return [CheckedCard(card, notes) for card, notes in zip(cards, advice, strict=True)]
    from pipelines.pruning import list_high_texts  # loads torch, which is slow
    from pipelines.recall import list_missed, load_for_check

    fitted = load_for_check(bank)
    missed = list_missed(cards, *fitted)
    return [
        CheckedCard(card, [*notes, *more], list_high_texts(card, *fitted))
        for card, notes, more in zip(cards, advice, missed, strict=True)
    ]


def _require_known_texts(cards: Iterable[LoadedCard]) -> None:
    from classifiers.clean_text import collect_background, require_known_texts  # loads Arrow

    shipped = collect_background(find_cards())
    for card in cards:
        require_known_texts(card, shipped)


def describe_library_negatives(card: LoadedCard) -> str:
    """Describe how many library rows a card is trained on besides its own negatives."""
    from classifiers.clean_text import (  # loads Arrow
        CleanText,
        collect_background,
        list_training_rows,
        select_suitable,
    )

    shipped = CleanText(collect_background(find_cards()))
    counts = Counter(row.polarity for row in select_suitable(card, list_training_rows(shipped)))
    excluded = format_count(len(card.card.leave_out), "text")
    left = f"; leave_out excludes {excluded} of the library" if card.card.leave_out else ""
    return (
        f"negatives of the library: {counts['clean']} conversations, {counts['negative']} hard "
        f"negatives and {counts['positive']} positives of other traits (more with --background)"
        f"{left}"
    )


def list_advice(card: LoadedCard, known: Sequence[str]) -> list[str]:
    """Advise on valid but unwise parts of a card.

    `known` holds the ids that a card may name.
    """
    return [
        *_advise_on_texts(card),
        *(() if is_shipped(card.folder) else _advise_on_exceptions(card)),
        *_advise_on_fields(card, known),
    ]


def _advise_on_texts(card: LoadedCard) -> Iterator[str]:
    fitted = card.card.learns_from_exemplars
    if fitted and len(card.positives) < GOOD_POSITIVES:
        yield (
            f"{format_count(len(card.positives), 'positive')}: signals that learn from positives "
            f"find little with fewer than about {GOOD_POSITIVES} whose phrases recur"
            + ("" if card.card.signals.lexicon else "; start with a lexicon of the phrases")
        )
    if fitted and not card.negatives:
        yield ("no hard negatives: mentions, quotations and denials will be mistaken for the trait")
    if any(PLACEHOLDER in text for text in (*card.positives, *card.negatives)):
        yield "the texts still contain a line of the skeleton: replace it"
    if card.card.description.strip() == DESCRIPTION:
        yield "the description is still that of the skeleton: readers label rows by it"


def _advise_on_exceptions(card: LoadedCard) -> Iterator[str]:
    """Say that patterns under `unless` don't reach the signals that learn, unless texts teach them.

    The library's cards are measured on held-out texts instead.
    """
    lexicon = card.card.signals.lexicon
    if lexicon is None or not lexicon.unless or not card.card.learns_from_exemplars:
        return
    unless = compile_pattern(join_patterns(lexicon.unless))
    if not any(unless.search(text) for text in card.negatives):
        yield (
            "`unless` excuses hits of the lexicon alone, and no hard negative has such a phrase: "
            "the signals that learn may find these sentences all the same, so add some of them to "
            "negatives.jsonl"
        )


def _advise_on_fields(card: LoadedCard, known: Sequence[str]) -> Iterator[str]:
    if not card.card.seen_in:
        yield "seen_in is empty: name where the trait was seen, and who reports it"
    if unknown := find_unknown_roles(card.card.scope.roles):
        yield (
            f"scope.roles names {list_names(unknown)}, but in most corpora roles are "
            f"{', '.join(KNOWN_ROLES)}"
        )
    if unknown := sorted(set(card.card.related) - set(known)):
        yield (
            f"related names {list_names(unknown)}, but neither the library nor the cards checked "
            "here have such a trait"
        )


def find_card(name: str) -> LoadedCard:
    """Load one card by id or folder.

    Raises: CardError: the name matches no card or several cards.
    """
    folder = Path(name)
    if (folder / CARD_FILE).is_file():
        return load_card(folder)
    cards = find_cards([name])
    if len(cards) > 1:
        raise CardError(f"has {len(cards)} cards", where=name, remedy="name one of them")
    return cards[0]


def find_clean_text(name: str) -> CleanRow | None:
    """Return the library's clean text that a card leaves out by this name.

    The result is None if the name can't be one, or is a folder.

    Raises: CardError: the library has no text of this name.
    """
    if not TEXT_NAME.fullmatch(name) or Path(name).exists():
        return None
    from classifiers.clean_text import collect_background  # loads Arrow

    for row in collect_background(find_cards()):
        if row.name == name:
            return row
    raise CardError(
        "the library has no such text",
        where=name,
        remedy="copy the name from congener fit or congener traits check --bank; a text whose name "
        "begins with user/ is in the file of --background",
    )


def find_trait_id(name: str) -> str:
    """Return the id of the card in a folder, or the name itself.

    Raises: CardError: the card has a mistake.
    """
    folder = Path(name)
    return load_card(folder).id if (folder / CARD_FILE).is_file() else name
