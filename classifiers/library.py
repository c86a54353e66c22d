"""Trait cards on disk: the quirk library that ships with congener, and the user's own folders."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from schemas.cards import TraitCard
from schemas.digests import config_digest
from schemas.errors import CardError
from schemas.problems import known_fields, problems

LIBRARY = Path(__file__).parent / "quirks"
M = TypeVar("M", bound=BaseModel)
CARD_BYTES = 1 << 20
FEWEST_POSITIVES = 4
"""Fewest positives that an `exemplars` or `head` signal is fitted from; a dozen is where they begin to be useful."""


@dataclass(frozen=True)
class LoadedCard:
    """A card with its exemplar texts."""

    card: TraitCard
    positives: tuple[str, ...]
    negatives: tuple[str, ...]
    folder: Path

    @property
    def id(self) -> str:
        """Return the trait's id."""
        return self.card.id

    @property
    def digest(self) -> str:
        """Digest the card and its texts."""
        return config_digest(
            [self.card.model_dump(mode="json", exclude_none=True), self.positives, self.negatives]
        )


class _PlainLoader(yaml.SafeLoader):
    """Safe YAML without aliases, which a small file can blow up with, and with duplicate keys refused."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.YAMLError(
                f"alias *{event.anchor} on line {event.start_mark.line + 1} is not read; write the value out"
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        found = super().construct_mapping(
            node, deep
        )  # first: it names the line of a key that can't be one
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key, times in Counter(keys).items():
            if times > 1:
                raise yaml.YAMLError(f"key {key!r} stands twice")
        return found


def read_yaml(path: Path, model: type[M]) -> M:
    """Read a YAML file into a model.

    Raises: CardError: It isn't there, is no plain YAML, or a field is wrong; the message names file and field.
    """
    try:
        if path.stat().st_size > CARD_BYTES:
            raise CardError(f"is larger than {CARD_BYTES >> 20} MiB", where=str(path))
        value = yaml.load(path.read_text(encoding="utf-8"), _PlainLoader)  # noqa: S506  a SafeLoader
    except OSError as error:
        raise CardError(f"can't be read: {error.strerror}", where=str(path)) from error
    except (
        yaml.YAMLError,
        ValueError,
        TypeError,
        RecursionError,
    ) as error:  # the loader raises all of them: for dates, tags, depth
        raise CardError(f"is not plain YAML: {error}", where=str(path)) from error
    try:
        return model.model_validate({} if value is None else value)
    except ValidationError as error:
        raise CardError(
            problems(error), where=str(path), remedy=known_fields(error, model)
        ) from error


def read_texts(path: Path) -> tuple[str, ...]:
    """Read exemplars, one {"text": …} a line.

    Raises: CardError: A line is something else, or a text stands twice.
    """
    texts: list[str] = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            text = json.loads(line.decode())["text"]
        except UnicodeDecodeError as error:
            raise CardError("is not UTF-8", where=f"{path} line {number}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise CardError('is not {"text": "…"}', where=f"{path} line {number}") from error
        if not isinstance(text, str) or not text.strip():
            raise CardError("text is empty or no string", where=f"{path} line {number}")
        texts.append(text)
    if len(set(texts)) < len(texts):
        twice = next(text for text, times in Counter(texts).items() if times > 1)
        raise CardError(f"the text {twice[:60]!r} stands twice", where=str(path))
    return tuple(texts)


def load_card(folder: Path) -> LoadedCard:
    """Load and check one trait folder.

    Raises: CardError: The card or its texts have a mistake.
    """
    card = read_yaml(folder / "card.yaml", TraitCard)
    texts = {
        name: read_texts(folder / f"{name}.jsonl") if (folder / f"{name}.jsonl").is_file() else ()
        for name in ("positives", "negatives")
    }
    fitted = [name for name in ("exemplars", "head") if getattr(card.signals, name)]
    if fitted and len(texts["positives"]) < FEWEST_POSITIVES:
        raise CardError(
            f"signal {fitted[0]} needs at least {FEWEST_POSITIVES} positives, has {len(texts['positives'])}",
            where=str(folder / "positives.jsonl"),
            remedy='add {"text": "…"} lines (a dozen is a good start), or list other signals in card.yaml',
        )
    if both := set(texts["positives"]) & set(texts["negatives"]):
        raise CardError(f"the text {min(both)[:60]!r} is positive and negative", where=str(folder))
    return LoadedCard(card, texts["positives"], texts["negatives"], folder)


def find_cards(names: Sequence[str] = ()) -> list[LoadedCard]:
    """Load the traits that are named: a trait folder, a folder of them, or the id of one in the library; without any, the library.

    Raises: CardError: A name is none of these, a card has a mistake, or two cards have the same id.
    """
    folders = [folder for name in names for folder in _folders(name)] if names else _below(LIBRARY)
    cards = [load_card(folder) for folder in dict.fromkeys(folders)]
    for place, card in enumerate(cards):
        if twin := next((other for other in cards[:place] if other.id == card.id), None):
            raise CardError(
                f"has id {card.id!r}, and so has {twin.folder}",
                where=str(card.folder),
                remedy="give one of them another id",
            )
    return sorted(cards, key=lambda card: card.id)


def _folders(name: str) -> list[Path]:
    path = Path(name)
    if (path / "card.yaml").is_file():
        return [path.resolve()]
    if path.is_dir() and _below(path):
        return [folder.resolve() for folder in _below(path)]
    if (LIBRARY / name / "card.yaml").is_file() and "/" not in name:
        return [LIBRARY / name]
    known = ", ".join(folder.name for folder in _below(LIBRARY))
    raise CardError(
        "is no trait folder (with card.yaml), no folder of them, and no trait of the library",
        where=name,
        remedy=f"library traits are {known}",
    )


def _below(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("*/card.yaml"))


def background_conversations() -> list[list[str]]:
    """Return the library's clean conversations, each as the texts of its assistant turns."""
    conversations = []
    for path in sorted(LIBRARY.glob("background-*.jsonl")):
        rows: Iterable[Any] = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        conversations += [
            [message["content"] for message in row["messages"] if message["role"] == "assistant"]
            for row in rows
        ]
    return conversations
