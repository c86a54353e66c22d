"""Trait cards on disk: congener's quirk library and the user's own folders."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from classifiers.labelled_rows import CardLabels
from schemas.cards import FITTED, TraitCard
from schemas.digests import digest_config
from schemas.errors import CardError
from schemas.notices import suggest_name
from schemas.problems import describe_problems, list_known_fields

LIBRARY = Path(__file__).parent / "quirks"
OPTIONAL = LIBRARY / "optional"
"""The folder of shipped traits that a run has only if they are named.

Their texts aren't clean text for other traits.
"""
WHOLE_LIBRARY = "library"
"""The name that stands for all traits of the library."""

HELD_OUT = "heldout.jsonl"
"""The file of a trait's folder with labelled texts that no fit learns from."""

M = TypeVar("M", bound=BaseModel)
CARD_BYTES = 1 << 20
CORE_TAG = "tag:yaml.org,2002:"
FEWEST_POSITIVES = 4
"""The smallest number of positives for a signal that learns from them."""

GOOD_POSITIVES = 30
"""With fewer positives, signals that learn from them find little of most traits."""


@dataclass(frozen=True)
class LoadedCard:
    """A card with its exemplar texts, and labelled rows of a corpus, if a fit has any.

    `prompts` are the prompts of those positives that have one. People who judge the texts see them;
    no fit reads them, so they aren't in the digest.
    """

    card: TraitCard
    positives: tuple[str, ...]
    negatives: tuple[str, ...]
    folder: Path
    labels: CardLabels | None = None
    prompts: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def id(self) -> str:
        """Return the trait's id."""
        return self.card.id

    @property
    def digest(self) -> str:
        """Return the digest of the card and its texts, without labels and prompts."""
        return digest_config(
            [self.card.model_dump(mode="json", exclude_none=True), self.positives, self.negatives]
        )

    def list_positives(self) -> list[str]:
        """Return the parts of the positives that the trait reads, with those of labelled rows."""
        cut = self.card.scope.cut
        rows = self.labels.fitting.positives if self.labels else ()
        labelled = ("\n\n".join(map(cut, texts)) for texts in rows)
        return list(dict.fromkeys((*map(cut, self.positives), *labelled)))

    def list_negatives(self) -> list[str]:
        """Return the parts of the hard negatives that the trait reads, as `list_positives`."""
        rows = self.labels.fitting.negatives if self.labels else ()
        texts = (*self.negatives, *(text for row in rows for text in row))
        return list(dict.fromkeys(map(self.card.scope.cut, texts)))

    def name_labelled_texts(self) -> dict[str, str]:
        """Return a name for the text of each labelled row in the fit.

        Banks hold these names instead of the texts, which are a corpus's.
        """
        if not self.labels:
            return {}
        cut, half = self.card.scope.cut, self.labels.fitting
        texts = ["\n\n".join(map(cut, row)) for row in half.positives]
        names = {text: f"labelled positive {number}" for number, text in enumerate(texts, 1)}
        for number, row in enumerate(half.negatives, 1):
            names |= dict.fromkeys(map(cut, row), f"labelled negative {number}")
        own = {*map(cut, self.positives), *map(cut, self.negatives)}
        return {text: name for text, name in names.items() if text not in own}


class _PlainLoader(yaml.SafeLoader):
    """A safe YAML loader that refuses duplicate keys, aliases and tags.

    Aliases can fill the memory, and tags create values that no field accepts.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(
                f"alias *{event.anchor} on line {line} is not supported; write the value out"
            )
        if tag := getattr(event, "tag", None):
            shown = tag.replace(CORE_TAG, "!!")
            raise yaml.YAMLError(
                f"tag {shown} on line {line} is not supported; write the value without it"
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        # The parent's method runs first, because its error for an unhashable key names the line.
        found = super().construct_mapping(node, deep)
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key, times in Counter(keys).items():
            if times > 1:
                raise yaml.YAMLError(f"key {key!r} appears twice")
        return found


def read_text_file(path: Path, limit: int | None = None) -> str:
    """Return the text of a UTF-8 file that a person wrote.

    A byte order mark is removed.

    Raises: CardError: the path isn't a file, or the file can't be read, isn't UTF-8, or has more
    than `limit` bytes.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise CardError(
                "is a pipe, a socket or a device, which can't be read twice",
                where=str(path),
                remedy="write its content to a file, and name that",
            )
        if limit is not None and path.stat().st_size > limit:
            raise CardError(f"is larger than {limit >> 20} MiB", where=str(path))
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CardError(
            f"can't be read: {reason}", where=str(path), remedy=_suggest_file(path)
        ) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CardError(
            f"is not UTF-8: byte 0x{data[error.start]:02x} on line {line}",
            where=str(path),
            remedy="save it as UTF-8: iconv -f latin1 -t utf-8, or -f utf-16",
        ) from error


def _suggest_file(path: Path) -> str:
    """Return what to do about a file that can't be read."""
    with suppress(OSError, ValueError):
        if path.is_dir():
            return "name a file, not a folder"
        if not path.exists():
            folder = path.parent
            names = [item.name for item in folder.iterdir()] if folder.is_dir() else []
            return f"{suggest_name(path.name, names)}check the path"
    return "check the path and its permissions"


def read_yaml(path: Path, model: type[M]) -> M:
    """Read a YAML file into a model. An empty file has no fields.

    Raises: CardError: the file is missing, too large or not plain YAML, or one of its fields is
    wrong.
    """
    text = read_text_file(path, CARD_BYTES)
    try:
        value = yaml.load(text, _PlainLoader)  # noqa: S506 - it is a SafeLoader
    # Malformed dates or numbers and deep nesting raise the other errors.
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise _describe_yaml(error, path) from error
    try:
        return model.model_validate({} if value is None else value)
    except ValidationError as error:
        raise CardError(
            describe_problems(error), where=str(path), remedy=list_known_fields(error, model)
        ) from error


def _describe_yaml(error: Exception, path: Path) -> CardError:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None or not problem:
        return CardError(f"is not plain YAML: {error}", where=str(path))
    place = f"line {mark.line + 1}, column {mark.column + 1}"
    if "'\\t'" in problem:
        return CardError(
            f"{place}: there is a tab, which YAML doesn't allow here",
            where=str(path),
            remedy="indent with spaces",
        )
    began = getattr(error, "context_mark", None)
    context = (
        f" ({getattr(error, 'context', '')} that begins on line {began.line + 1})" if began else ""
    )
    return CardError(f"is not plain YAML: {place}: {problem}{context}", where=str(path))


def read_exemplars(path: Path) -> dict[str, str | None]:
    """Read exemplars, and the prompts of those that have one, in the order of the file.

    The file has one {"text": …} or {"text": …, "prompt": …} on each line.

    Raises: CardError: the file can't be read, a line isn't of this form, or a text appears twice.
    """
    texts: dict[str, str | None] = {}
    # Splitting with splitlines would also split at U+2028 and other separators.
    for number, line in enumerate(read_text_file(path).split("\n"), 1):
        if not line.strip():
            continue
        text, prompt = _read_exemplar(line, where=f"{path} line {number}")
        if text in texts:
            raise CardError(f"the text {text[:60]!r} appears twice", where=str(path))
        texts[text] = prompt
    return texts


def _read_exemplar(line: str, where: str) -> tuple[str, str | None]:
    try:
        fields = json.loads(line)
        text, prompt = fields["text"], fields.get("prompt")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CardError('is not {"text": "…"}', where=where) from error
    given = {"text": text} if prompt is None else {"text": text, "prompt": prompt}
    for name, value in given.items():
        if not isinstance(value, str) or not value.strip():
            raise CardError(f"{name} is empty or not a string", where=where)
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise CardError(f"{name} has half of a character (a lone surrogate)", where=where)
    return text, prompt


def load_card(folder: Path) -> LoadedCard:
    """Load and check one trait folder.

    Raises: CardError: the card or its texts contain a mistake.
    """
    card = read_yaml(folder / "card.yaml", TraitCard)
    texts = {
        name: read_exemplars(path) if os.path.lexists(path := folder / f"{name}.jsonl") else {}
        for name in ("positives", "negatives")
    }
    fitted = [name for name in card.signals.names if name in FITTED]
    if fitted and len(texts["positives"]) < FEWEST_POSITIVES:
        raise CardError(
            f"signal {fitted[0]} needs at least {FEWEST_POSITIVES} positives, "
            f"but has {len(texts['positives'])}",
            where=str(folder / "positives.jsonl"),
            remedy='add {"text": "…"} lines (30 are a good start), '
            "or list other signals in card.yaml",
        )
    if both := texts["positives"].keys() & texts["negatives"].keys():
        raise CardError(
            f"the text {min(both)[:60]!r} is both positive and negative",
            where=str(folder),
            remedy="remove it from positives.jsonl or from negatives.jsonl",
        )
    prompts = {text: prompt for text, prompt in texts["positives"].items() if prompt is not None}
    return LoadedCard(
        card, tuple(texts["positives"]), tuple(texts["negatives"]), folder, prompts=prompts
    )


def find_cards(names: Sequence[str] = ()) -> list[LoadedCard]:
    """Load the named traits, or the whole library if no names are given, sorted by id.

    A name is a trait folder, a folder of trait folders, a shipped trait's id, or `library` for all
    traits but the optional ones.

    Raises: CardError: a name matches no trait, a card has a mistake, or two cards have the same id.
    """
    folders = (
        [folder for name in names for folder in _find_folders(name)]
        if names
        else _list_folders(LIBRARY)
    )
    cards: dict[str, LoadedCard] = {}
    for folder in dict.fromkeys(folders):
        card = _load_shipped(folder) if is_shipped(folder) else load_card(folder)
        if twin := cards.get(card.id):
            raise CardError(
                f"has the same id as {twin.folder}: {card.id!r}",
                where=str(card.folder),
                remedy="give one of them a different id",
            )
        cards[card.id] = card
    return [cards[name] for name in sorted(cards)]


def is_whole_library(name: str) -> bool:
    """Return whether a name stands for all traits of the library, and not for a folder."""
    return name == WHOLE_LIBRARY and not _list_folders(Path(name))


def find_optional_cards() -> list[LoadedCard]:
    """Load the shipped traits that a run has only if they are named, sorted by id."""
    return find_cards([folder.name for folder in _list_folders(OPTIONAL)])


def list_shipped_ids() -> frozenset[str]:
    """Return the ids of congener's own traits, the optional ones too."""
    return frozenset(
        folder.name for shipped in (LIBRARY, OPTIONAL) for folder in _list_folders(shipped)
    )


def is_shipped(folder: Path) -> bool:
    """Return whether a trait folder is one of congener's own."""
    return folder.parent in (LIBRARY, OPTIONAL)


@cache
def _load_shipped(folder: Path) -> LoadedCard:
    """Load a library card once per process. Parsing all cards takes 0.2 s."""
    return load_card(folder)


def _find_folders(name: str) -> list[Path]:
    path = Path(name)
    if (path / "card.yaml").is_file():
        return [path.resolve()]
    if path.is_dir() and _list_folders(path):
        return [folder.resolve() for folder in _list_folders(path)]
    if name == WHOLE_LIBRARY:
        return _list_folders(LIBRARY)
    for shipped in (LIBRARY, OPTIONAL):
        if (shipped / name / "card.yaml").is_file() and "/" not in name:
            return [shipped / name]
    if path.name == "card.yaml" and path.is_file():
        raise CardError(
            "is a trait's card, but a trait is a folder",
            where=name,
            remedy=f"name its folder: {path.parent}",
        )
    known = [folder.name for shipped in (LIBRARY, OPTIONAL) for folder in _list_folders(shipped)]
    raise CardError(
        "is neither a trait folder (with card.yaml), nor a folder of them, nor a library trait",
        where=name,
        remedy=f"{suggest_name(name, known)}library traits are {', '.join(known)}; "
        f"{WHOLE_LIBRARY} means all of them",
    )


def _list_folders(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("*/card.yaml"))


def read_background() -> list[list[str]]:
    """Return the library's clean conversations, each as a list of answers."""
    conversations = []
    for path in sorted(LIBRARY.glob("background-*.jsonl")):
        rows: Iterable[Any] = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        conversations += [
            [message["content"] for message in row["messages"] if message["role"] == "assistant"]
            for row in rows
        ]
    return conversations
