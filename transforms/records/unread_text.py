"""Unread text: text in no trait's scope, and text that the format doesn't read.

Ids, URLs, hashes, source names and base64 aren't text. A field is text if its values have at least
`FEWEST_WORDS` words on average, if one value has at least `LONG_WORDS` words, or if it is a key of
a message's content.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.languages import ENGLISH, LANGUAGES
from classifiers.texts import find_in_scope
from schemas.cards import Scope
from schemas.coverage import FieldCounts, LanguageCounts, TextCounts, TurnCounts, add_turns
from transforms.records.languages import HEAD, classify_rows
from transforms.records.roles import CHANNELS
from transforms.records.segments import Segments
from transforms.records.transcripts import cut_transcript

FEWEST_WORDS = 3
LONG_WORDS = 20

LONGEST_WORD = 30
"""The longest word, in letters. A longer run is data such as base64."""

LOOKED_AT = 2_000
"""How many characters of a value are searched for words."""

MOST_PATHS = 6
"""The largest number of text fields in a column that are reported separately."""

MOST_FIELDS = 100
"""The largest number of fields counted by name. With more fields, the keys are data rather than
names.
"""

OTHER_FIELDS = "(other fields)"

LONGEST_ROLE = 64

LONGEST_PATH = 500
"""The longest field path, in characters. Every text below a long key repeats the key."""

INDEX = re.compile(r"\[\d+\]")
STEP = re.compile(r"[.\[]")

CONTENT_KEY = re.compile(r"\.(?:content|value)\.([^.\[]+)\Z")
"""A key of a message's content. Its value counts as text, however short it is.

Chat templates print a content that is an object.
"""

METADATA = frozenset(
    (
        *("type", "role", "from", "id", "name", "url", "model", "format", "language", "lang"),
        *("status", "mime_type", "mimeType", "finish_reason", "media_type"),
    )
)
"""Keys of a content whose values aren't text."""

PUNCTUATION = "\"'“”‘’.,;:!?()[]{}<>*_`|-"
APOSTROPHES = re.compile("['’-]")

UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Letters of scripts without spaces: Thai, Lao, Burmese, Khmer, Kana, Han."""


def find_reach(segments: Segments, scopes: Iterable[Scope]) -> np.ndarray:
    """Return how many characters at both ends of each segment are read by at least one trait.

    The numbers are floats, since a segment that is read as a whole gets infinity. They may exceed
    the length of the segment.
    """
    first, last = np.zeros(len(segments)), np.zeros(len(segments))
    for scope in set(scopes):
        inside, end = find_in_scope(segments, scope), last if scope.part < 0 else first
        end[inside] = np.maximum(end[inside], abs(scope.part) or np.inf)
    return first + last


class RowNames(NamedTuple):
    """Each row's source, and the row's number in the source."""

    sources: Sequence[str]
    numbers: Sequence[int]


def count_texts(segments: Segments, names: RowNames, scopes: Iterable[Scope]) -> TextCounts:
    """Count texts by role and channel, and rows by the language of the text that traits read."""
    reach = find_reach(segments, scopes)
    lengths = pc.utf8_length(segments.text).to_numpy(zero_copy_only=False).astype(np.int64)
    read = np.flatnonzero(reach)
    heads = pc.utf8_slice_codeunits(segments.text, 0, HEAD).take(pa.array(read))
    languages = classify_rows(len(names.sources), segments.rows[read], lengths[read], heads)
    return TextCounts(
        turns=count_turns(segments, lengths, reach), languages=count_languages(languages, names)
    )


def count_conversations(segments: Segments) -> Counter[str]:
    """Count the messages that hold a whole conversation, by role.

    Trainers read such content in the message's role, so it isn't cut.
    """
    below = np.array([bool(path.below) for path in segments.fields], bool)
    chosen = np.flatnonzero(below[segments.field_codes])
    return Counter(
        segments.roles[index]
        for index, text in zip(
            chosen, segments.text.take(pa.array(chosen)).to_pylist(), strict=True
        )
        if cut_transcript(text) is not None
    )


def count_languages(languages: np.ndarray, names: RowNames) -> tuple[LanguageCounts, ...]:
    """Count the rows in each language except English, and name each language's first row."""
    found, first, counts = np.unique(languages, return_index=True, return_counts=True)
    return tuple(
        LanguageCounts(
            language=LANGUAGES[language],
            rows=count,
            source=names.sources[row],
            row=names.numbers[row],
        )
        for language, row, count in zip(
            found.tolist(), first.tolist(), counts.tolist(), strict=True
        )
        if language != ENGLISH
    )


def count_turns(
    segments: Segments, lengths: np.ndarray, reach: np.ndarray
) -> tuple[TurnCounts, ...]:
    """Count the characters of every role and channel, and how many of them are unread.

    `lengths` holds each segment's characters; `reach` holds how many of them are read.
    """
    if not len(segments):
        return ()
    codes = segments.role_codes * len(CHANNELS) + segments.channel_codes
    size = len(segments.role_names) * len(CHANNELS)
    characters = np.bincount(codes, lengths, size).astype(np.int64)
    unread = np.bincount(codes, np.maximum(lengths - reach, 0), size).astype(np.int64)
    rows = int(segments.rows.max()) + 1
    pairs = np.unique(codes * rows + segments.rows) // rows
    counts = np.bincount(pairs, minlength=size)
    return add_turns(
        TurnCounts(
            role=segments.role_names[code // len(CHANNELS)][:LONGEST_ROLE],
            channel=CHANNELS[code % len(CHANNELS)],
            rows=int(counts[code]),
            characters=int(characters[code]),
            unread=int(unread[code]),
        )
        for code in np.flatnonzero(counts).tolist()
    )


@dataclass
class _FieldText:
    """The strings at one path: their number, their words, and their rows."""

    rows: set[int] = field(default_factory=set)
    values: int = 0
    characters: int = 0
    words: int = 0
    most_words: int = 0

    def observe(self, row: int, text: str) -> None:
        words = count_words(text)
        self.rows.add(row)
        self.values += 1
        self.characters += len(text)
        self.words += words
        self.most_words = max(self.most_words, words)

    def is_text(self, path: str) -> bool:
        if self.words and (key := CONTENT_KEY.search(path)) and key[1] not in METADATA:
            return True
        return self.words >= FEWEST_WORDS * self.values or self.most_words >= LONG_WORDS


def count_words(text: str) -> int:
    """Count the words at the start of a text.

    A word is a run of two or more letters between white space, ignoring punctuation. In a script
    without spaces, two letters are one word.
    """
    head = text[:LOOKED_AT]
    runs = [APOSTROPHES.sub("", run.strip(PUNCTUATION)) for run in head.split()]
    spaced = sum(run.isalpha() and 2 <= len(run) <= LONGEST_WORD for run in runs)
    return max(spaced, len(UNSPACED.findall(head)) // 2)


class UnreadFields:
    """Collects the text in rows' fields that no segment contains."""

    def __init__(self) -> None:
        self._rows = 0
        self._found: dict[str, _FieldText] = {}
        self.columns: set[str] = set()
        """The columns that have had a value."""

    def observe(self, row: Mapping[str, Any], read: Iterable[tuple[str, str]]) -> None:
        """Add a row, and its segments' field paths and channels."""
        texts, calls = set[str](), set[str]()
        for path, channel in read:
            texts.update(list_prefixes(path))  # a JSON string may hold the field
            if channel == "tool":  # calls are read as JSON, with everything below their path
                calls.add(path)
        for path, text in list_strings(row):
            if path in texts or not text or text.isspace():
                continue
            if not calls or calls.isdisjoint(list_prefixes(path)):
                general = INDEX.sub("[]", path)
                self._found.setdefault(general, _FieldText()).observe(self._rows, text)
        self.columns.update(name for name, value in row.items() if value not in (None, "", [], {}))
        self._rows += 1

    def list_fields(self) -> tuple[FieldCounts, ...]:
        """Return the text fields, the largest first."""
        texts = {path: found for path, found in self._found.items() if found.is_text(path)}
        groups: dict[str, list[str]] = {}
        for path in texts:
            groups.setdefault(STEP.split(path, maxsplit=1)[0], []).append(path)
        fields = [
            _build_counts(name, [texts[path] for path in inside])
            for column, paths in groups.items()
            for name, inside in (
                [(column, paths)] if len(paths) > MOST_PATHS else [(path, [path]) for path in paths]
            )
        ]
        fields.sort(key=lambda item: (-item.characters, item.field_path))
        return tuple(_join_smallest(fields, self._rows))


def _build_counts(path: str, found: Sequence[_FieldText]) -> FieldCounts:
    return FieldCounts(
        field_path=path,
        rows=len(set[int]().union(*(item.rows for item in found))),
        characters=sum(item.characters for item in found),
    )


def _join_smallest(fields: list[FieldCounts], rows: int) -> Iterator[FieldCounts]:
    """Yield the first `MOST_FIELDS` fields, and then one field for the rest."""
    yield from fields[:MOST_FIELDS]
    if others := fields[MOST_FIELDS:]:
        yield FieldCounts(
            field_path=OTHER_FIELDS,
            rows=min(rows, sum(item.rows for item in others)),
            characters=sum(item.characters for item in others),
        )


def list_prefixes(path: str) -> Iterator[str]:
    """Yield a field path, and then the paths of all values that contain the field."""
    yield path
    for match in STEP.finditer(path):
        yield path[: match.start()]


def list_strings(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the field path and the text of every string in a row, at any depth.

    Paths are cut to `LONGEST_PATH` characters.
    """
    waiting: list[tuple[str, Any]] = [(name[:LONGEST_PATH], value) for name, value in row.items()]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, str):
            yield path, value
        elif isinstance(value, Mapping):
            waiting += [(_extend(path, f".{key}"), below) for key, below in value.items()]
        elif isinstance(value, list | tuple):
            waiting += [(_extend(path, f"[{index}]"), item) for index, item in enumerate(value)]


def _extend(path: str, step: str) -> str:
    return path if len(path) == LONGEST_PATH else (path + step)[:LONGEST_PATH]
