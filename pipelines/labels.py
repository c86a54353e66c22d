"""Files of labels: a reader's judgements of rows."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeGuard

import numpy as np

from classifiers.library import read_text_file
from pipelines.label_files import (
    Entry,
    is_chained,
    is_review,
    is_table,
    parse_line,
    parse_time,
    read_entries,
)
from schemas.digests import digest_bytes, digest_config
from schemas.errors import CardError, StorageError
from schemas.notices import choose_form, format_count, suggest_name
from schemas.runs import FOLDERS, WORK
from schemas.scores import SCORE_DECIMALS
from transforms.files.locations import describe_unusable
from transforms.files.storage import is_local, write_bytes

SPELLINGS: Mapping[object, bool | None] = {
    **dict.fromkeys(("yes", "y", "true", "1"), True),
    **dict.fromkeys(("no", "n", "false", "0"), False),
    "unsure": None,
}
"""Accepted texts of a label, besides true, false, 1 and 0."""


MOST_ROWS = 2**63 - 1
"""The largest row number that a ledger can hold."""

HIDDEN_DIGITS = 16
"""How many hex digits a hidden score and the digest of a definition have."""

LONGEST_VALUE = 40
"""How many characters of a wrong value are shown in an error."""

OTHER_FILE = "name another file with --labels"

RowKey: TypeAlias = tuple[str, int] | str
"""A row's name: its source and row number, or its record id."""


class Label(NamedTuple):
    """The label of a row, which is named by source and row number, by record id or by its text.

    If a line has both, the source and the row number count, and the record id says which text was
    read.

    `shows` is None if the reader was unsure. `score` is the row's score when it was chosen, if the
    file gives the score, and `drawn` is what `hide_score` made of it. `place` is the label's line
    or row in the file. `time` is in seconds since 1970. A label without a trait is about every
    trait.
    """

    source: str | None
    row: int | None
    record_id: str | None
    shows: bool | None
    score: float | None
    place: str
    trait: str | None = None
    text: str | None = None
    prompt: str = ""
    time: float | None = None
    is_picked: bool = False
    """Whether the reader chose the row, which nobody drew at random."""
    drawn: str | None = None
    card: str | None = None
    """The digest of the card by whose scores the row was drawn (`digest_card`)."""
    definition: str | None = None
    """The digest of the definition that the reader judged by (`digest_definition`)."""

    @property
    def is_drawn_by_score(self) -> bool:
        """Return whether the line says that the row was drawn from a range of scores."""
        return self.score is not None or self.drawn is not None

    @property
    def key(self) -> RowKey | None:
        """Return the row's name."""
        if self.source is None or self.row is None:
            return self.record_id
        return self.source, self.row


def digest_definition(card: Mapping[str, Any]) -> str:
    """Return a digest of what a reader judges by: a card's title and description.

    White space doesn't count. Exemplars, patterns and everything else that finds the trait don't
    count either, because the reader doesn't see them.
    """
    words = [" ".join(str(card.get(name) or "").split()) for name in ("title", "description")]
    return digest_config(words)[:HIDDEN_DIGITS]


ACCEPT = (
    "if the labels are right by the new words, too, add --accept-definition; otherwise label the "
    "rows again in a new file"
)
LABEL_AGAIN = "label the rows again: congener review RUN"


def require_definition(
    labels: Sequence[Label], trait: str, definition: str, path: Path | str, remedy: str = ACCEPT
) -> None:
    """Refuse labels that were given by another definition of a trait than the card's.

    A label that doesn't say by which one it was given is accepted.

    Raises: CardError: some were.
    """
    others = [label for label in labels if label.definition not in (None, definition)]
    if others:
        count = f"{format_count(len(others), 'label')} of {trait}"
        raise CardError(
            f"{count} {choose_form(len(others), 'was', 'were')} given by another definition: the "
            "card's title or description has changed since",
            where=f"{path} {others[0].place}".strip(),
            remedy=f"{remedy}. A change of exemplars or patterns alone keeps all labels",
        )


def hide_score(trait: str, record_id: str, score: float) -> str:
    """Return a digest of a row's score, so that a reader who labels the row doesn't see the score.

    Whoever has the run can compare it with the row's score there (`has_score`). It hides the score
    from a look at the file, and not from somebody who tries all 10,001 scores.
    """
    text = "none" if math.isnan(score) else f"{score:.{SCORE_DECIMALS}f}"
    return digest_bytes(f"{trait}\0{record_id}\0{text}".encode())[:HIDDEN_DIGITS]


def has_score(label: Label, trait: str, score: float, change: float) -> bool:
    """Return whether a label's row was drawn with about this score, or with one that isn't known.

    `change` is the largest difference.
    """
    if label.score is not None:
        return abs(score - label.score) <= change
    if label.drawn is None or label.record_id is None:
        return True
    step = 10.0**-SCORE_DECIMALS
    near = (
        [score] if math.isnan(score) else [*np.arange(score - change, score + change + step, step)]
    )
    return label.drawn in {hide_score(trait, label.record_id, float(value)) for value in near}


def read_labels(path: Path, trait: str) -> list[Label]:
    """Read a trait's labels of named rows, without unlabelled rows and other traits' rows.

    Raises: CardError: the file can't be read, or a row isn't a label.
    """
    labels = [
        _parse_label(entry, path) for entry in _read_rows(path) if _is_about(entry.fields, trait)
    ]
    found = [label for label in labels if label is not None]
    for label in found:
        if label.key is None:
            raise _report_nameless(f"{path} {label.place}")
    return found


def read_all_labels(path: Path) -> list[Label]:
    """Read the labels of all traits, of named rows and of texts, without unlabelled rows.

    Raises: CardError: the file can't be read, or a row isn't a label.
    """
    labels = (_parse_label(entry, path) for entry in _read_rows(path))
    return [label for label in labels if label is not None]


def read_files(paths: Iterable[Path]) -> list[Label]:
    """Read the labels of several files, as `read_all_labels`; each label's place names its file."""
    return [
        label._replace(place=f"{path} {label.place}")
        for path in paths
        for label in read_all_labels(path)
    ]


def require_traits(labels: Sequence[Label], known: Sequence[str], path: Path) -> None:
    """Check that there are labels, and that each is about one of the traits.

    Raises: CardError: there is no label, or one names no trait or an unknown one.
    """
    if not labels:
        remedy = "set each `label` to true, false or unsure"
        raise CardError("has no labelled row", where=str(path), remedy=remedy)
    for label in labels:
        if label.trait is None and len(known) > 1:
            raise CardError(
                f"names no trait, and {len(known)} traits are fitted",
                where=f"{path} {label.place} trait",
                remedy="name the trait of each label, or fit one trait with --traits",
            )
        if label.trait is not None and label.trait not in known:
            raise CardError(
                f"no trait {label.trait!r} is fitted",
                where=f"{path} {label.place} trait",
                remedy=f"{suggest_name(label.trait, known)}the traits are {', '.join(known)}",
            )


def choose_label(first: Label, second: Label, path: str) -> Label:
    """Return the label that counts of two labels for the same row: the later one.

    Raises: CardError: they differ, and they have no times or the same time.
    """
    if first.time is not None and second.time is not None and first.time != second.time:
        return max(first, second, key=lambda label: label.time or 0)
    if first.shows != second.shows:
        raise CardError(
            f"contradicts the label of the same row on {first.place}",
            where=f"{path} {second.place}".strip(),
            remedy="remove one of the two, or give both a time, and the later one counts",
        )
    return first


def list_unlabelled(path: Path, trait: str) -> list[RowKey]:
    """Return the rows that a file lists for a trait without a label.

    Raises: CardError: the file can't be read.
    """
    rows = (entry.fields for entry in _read_rows(path))
    own = (row for row in rows if _is_about(row, trait) and row.get("label") is None)
    return [key for key in map(_find_key, own) if key is not None]


def _read_rows(path: Path) -> Iterator[Entry]:
    """Yield the rows of a file that is one of labels."""
    for place, fields in read_entries(path):
        if "label" not in fields and _find_key(fields) is None:
            raise CardError(
                "is neither a label nor a row to read",
                where=f"{path} {place}",
                remedy="name a file of labels with --labels; a label has the field `label`",
            )
        yield Entry(place, fields)


def _is_about(fields: Mapping[str, Any], trait: str) -> bool:
    """Return whether a line is about a trait; one that names no trait is about every trait."""
    return fields.get("trait") in (None, trait)


def _find_key(fields: Mapping[str, Any]) -> RowKey | None:
    source, row, record_id = (fields.get(name) for name in ("source", "row", "record_id"))
    if _is_name(source) and _is_row(row):
        return source, row
    return record_id if _is_name(record_id) else None


def _is_row(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_ROWS


def _is_name(value: object) -> TypeGuard[str]:
    """Return whether a value can be a name in a ledger, which is in UTF-8."""
    return isinstance(value, str) and describe_unusable(value) is None


def _parse_label(entry: Entry, path: Path) -> Label | None:
    """Return a row's label, or None if the row isn't labelled."""
    fields, where = entry.fields, f"{path} {entry.place}"
    if fields.get("label") is None:
        return None
    key = _find_key(fields)
    text = _parse_text(fields, "text", where) if key is None or _is_text(fields) else None
    if key is None and text is None:
        raise _report_nameless(where)
    source, row = key if isinstance(key, tuple) else (None, None)
    record_id = fields.get("record_id") if _is_name(fields.get("record_id")) else None
    return Label(
        source,
        row,
        record_id,
        _parse_answer(fields["label"], where),
        _parse_score(fields, where),
        entry.place,
        _parse_text(fields, "trait", where),
        text,
        _parse_text(fields, "prompt", where) or "",
        parse_time(fields, where),
        _parse_picked(fields, where),
        _parse_text(fields, "drawn", where),
        _parse_text(fields, "card", where),
        _parse_text(fields, "definition", where),
    )


def _parse_picked(fields: Mapping[str, Any], where: str) -> bool:
    """Return whether a line says that its reader chose the row."""
    value = fields.get("picked")
    if value is None or isinstance(value, bool):
        return bool(value)
    if str(value).strip().lower() in ("true", "false"):
        return str(value).strip().lower() == "true"
    raise CardError(
        f"picked {str(value)[:LONGEST_VALUE]!r} is neither true nor false",
        where=where,
        remedy="write true for a row that you chose yourself, or leave it out",
    )


def _report_nameless(where: str) -> CardError:
    return CardError(
        "names no row",
        where=where,
        remedy='give "source" and "row", or "record_id", as in the run\'s ledger',
    )


def _is_text(fields: Mapping[str, Any], name: str = "text") -> bool:
    """Return whether a field is a text that isn't blank and can be written as UTF-8."""
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        return False
    return not any("\ud800" <= char <= "\udfff" for char in value)


def _parse_text(fields: Mapping[str, Any], name: str, where: str) -> str | None:
    value = fields.get(name)
    if value is None or _is_text(fields, name):
        return value
    raise CardError(
        f"{name} {str(value)[:LONGEST_VALUE]!a} isn't a text in UTF-8, or is blank",
        where=where,
        remedy=f"write the {name} as a string, or leave it out",
    )


def _parse_score(fields: Mapping[str, Any], where: str) -> float | None:
    score = fields.get("score")
    if score is None:
        return None
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise CardError(
            f"score {str(score)[:LONGEST_VALUE]} isn't a number from 0 to 1",
            where=where,
            remedy="copy the score from the line that congener wrote, or leave it out",
        )
    return float(score)


def _parse_answer(value: object, where: str) -> bool | None:
    spelled = str(value).strip().lower()
    if not isinstance(value, bool | int | str) or spelled not in SPELLINGS:
        raise CardError(
            f"label {str(value)[:LONGEST_VALUE]!r} is neither true nor false",
            where=where,
            remedy="write true, false, unsure or null (not read)",
        )
    return SPELLINGS[spelled]


def require_usable(path: Path, trait: str) -> None:
    """Check a file of labels before the work on which its rows depend.

    Raises: CardError: the file can't be read, or a line isn't a label.
    Raises: StorageError: the file can't be written.
    """
    if path.exists():
        read_labels(path, trait)
    existing = next(item for item in (path, *path.absolute().parents) if item.exists())
    is_kind = existing.is_file() if existing == path else existing.is_dir()
    if not is_kind or not os.access(existing, os.W_OK):
        problem = "isn't writable" if is_kind else "is a file"
        raise StorageError(
            f"can't be written: {existing} {problem}", where=str(path), remedy=OTHER_FILE
        )


def require_outside(run: str, path: Path) -> None:
    """Refuse a file of labels in one of a run's folders, whose readers would read it too.

    Raises: CardError: the file is there.
    """
    folders = (Path(os.path.realpath(run), name) for name in (*FOLDERS, WORK) if is_local(run))
    if any(Path(os.path.realpath(path)).is_relative_to(folder) for folder in folders):
        raise CardError(
            f"is in a folder of the run {run}",
            where=str(path),
            remedy="name another place",
        )


def append_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Append lines to a file of labels, creating the file if needed.

    Only lines with digests are added to a file of a review.

    Raises: CardError: the file is a review's, and a line has no digest.
    Raises: StorageError: the file can't be written.
    """
    lines = list(lines)
    if not lines or not all(map(is_chained, lines)):
        require_open(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        separator = _find_separator(path)
        with path.open("a", encoding="utf-8") as file:
            file.write(separator)
            file.writelines(f"{_format_line(line)}\n" for line in lines)
    except OSError as error:
        raise StorageError(
            f"can't be written: {error.strerror}",
            where=str(path),
            remedy=OTHER_FILE,
        ) from error


def require_open(path: Path) -> None:
    """Refuse a file to which lines without digests can't be added.

    Raises: CardError: the file is a review's. Raises: StorageError: it is a table.
    """
    if is_table(path):
        raise StorageError(
            "is a table, to which rows to read can't be added",
            where=str(path),
            remedy="name a file of JSON Lines with --labels",
        )
    if is_review(path):
        raise CardError(
            "is a file of a review, whose lines have digests, so no other line can be added to it",
            where=str(path),
            remedy="name a new file for rows to read and for other labels",
        )


def keep_answer(path: Path, answer: Mapping[str, Any], *, replaces: bool = False) -> None:
    """Label the answer's row in its unlabelled line, or append a line.

    With `replaces`, the last line about the row takes the answer even if it is labelled.

    Raises: CardError: the file is a review's. Raises: StorageError: the file can't be written.
    """
    require_open(path)
    names = {(answer["source"], answer["row"]), answer.get("record_id")} - {None}
    lines = read_text_file(path).split("\n") if path.exists() else []
    for index, line in reversed(list(enumerate(lines))) if replaces else enumerate(lines):
        fields = parse_line(line, f"{path} line {index + 1}") if line.strip() else {"label": ""}
        if (
            (replaces or fields.get("label") is None)
            and _is_about(fields, answer["trait"])
            and _find_key(fields) in names
        ):
            given = {name: answer[name] for name in ("label", "time") if name in answer}
            lines[index] = _format_line(fields | given)
            write_bytes(str(path), "\n".join(lines).encode("utf-8"))
            return
    append_lines(path, [answer])


def _format_line(fields: Mapping[str, Any]) -> str:
    """Return a line of JSON that can be written as UTF-8, even if a text has half a character."""
    line = json.dumps(fields, ensure_ascii=False)
    return line if describe_unusable(line) is None else json.dumps(fields)


def _find_separator(path: Path) -> str:
    """Return the missing line break at a file's end."""
    if not path.exists() or not path.stat().st_size:
        return ""
    with path.open("rb") as file:
        file.seek(-1, 2)
        return "" if file.read(1) == b"\n" else "\n"
