"""Files of labels: a reader's judgements of rows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeGuard

from classifiers.library import read_text_file
from schemas.errors import CardError, StorageError
from schemas.runs import FOLDERS, WORK
from transforms.files.locations import describe_unusable
from transforms.files.storage import is_local, write_bytes

SPELLINGS: Mapping[object, bool] = {
    **dict.fromkeys(("yes", "y", "true", "1"), True),
    **dict.fromkeys(("no", "n", "false", "0"), False),
}
"""Accepted texts of a label, besides true, false, 1 and 0."""


MOST_ROWS = 2**63 - 1
"""The largest row number that a ledger can hold."""

LONGEST_VALUE = 40
"""How many characters of a wrong value are shown in an error."""

OTHER_FILE = "name another file with --labels"

RowKey: TypeAlias = tuple[str, int] | str
"""A row's name: its source and row number, or its record id."""


class Label(NamedTuple):
    """The label of a row, which is named by source and row number or by record id.

    `score` is the row's score when it was chosen, if the file gives the score.
    """

    source: str | None
    row: int | None
    record_id: str | None
    shows: bool
    score: float | None
    line: int

    @property
    def key(self) -> RowKey | None:
        """Return the row's name."""
        if self.source is None or self.row is None:
            return self.record_id
        return self.source, self.row


def read_labels(path: Path, trait: str) -> list[Label]:
    """Read a trait's labels from JSON Lines, without unlabelled lines and other traits' lines.

    Raises: CardError: the file can't be read, or a line isn't a label.
    """
    return [
        _parse_label(fields, f"{path} line {number}", number)
        for number, fields in _read_lines(path, trait)
        if fields.get("label") is not None
    ]


def list_unlabelled(path: Path, trait: str) -> list[RowKey]:
    """Return the rows that a file lists for a trait without a label.

    Raises: CardError: the file can't be read.
    """
    lines = (fields for _, fields in _read_lines(path, trait) if fields.get("label") is None)
    return [key for key in map(_find_key, lines) if key is not None]


def _read_lines(path: Path, trait: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and the fields of a trait's lines."""
    for number, line in enumerate(read_text_file(path).split("\n"), 1):
        if line.strip():
            fields = _parse_line(line, f"{path} line {number}")
            if "label" not in fields and _find_key(fields) is None:
                raise CardError(
                    "is neither a label nor a row to read",
                    where=f"{path} line {number}",
                    remedy="name a file of labels with --labels; answers are added to it",
                )
            if _is_about(fields, trait):
                yield number, fields


def _is_about(fields: Mapping[str, Any], trait: str) -> bool:
    """Return whether a line is about a trait; one that names no trait is about every trait."""
    return fields.get("trait") in (None, trait)


def _parse_line(line: str, where: str) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CardError("is not a JSON object", where=where) from error
    if not isinstance(fields, dict):
        raise CardError("is not a JSON object", where=where)
    return fields


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


def _parse_label(fields: Mapping[str, Any], where: str, number: int) -> Label:
    key = _find_key(fields)
    if key is None:
        raise CardError(
            "names no row",
            where=where,
            remedy='give "source" and "row", or "record_id", as in the run\'s ledger',
        )
    source, row, record_id = (None, None, key) if isinstance(key, str) else (*key, None)
    answer = _parse_answer(fields["label"], where)
    return Label(source, row, record_id, answer, _parse_score(fields, where), number)


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


def _parse_answer(value: object, where: str) -> bool:
    spelled = str(value).strip().lower()
    if not isinstance(value, bool | int | str) or spelled not in SPELLINGS:
        raise CardError(
            f"label {str(value)[:LONGEST_VALUE]!r} is neither true nor false",
            where=where,
            remedy="write true, false or null (not read)",
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
            remedy="name a file elsewhere with --labels",
        )


def append_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Append lines to a file of labels, creating the file if needed.

    Raises: StorageError: the file can't be written.
    """
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


def keep_answer(path: Path, answer: Mapping[str, Any]) -> None:
    """Label the answer's row in its unlabelled line, or append a line.

    Raises: StorageError: the file can't be written.
    """
    lines = read_text_file(path).split("\n") if path.exists() else []
    for index, line in enumerate(lines):
        fields = _parse_line(line, f"{path} line {index + 1}") if line.strip() else {"label": ""}
        if (
            fields.get("label") is None
            and _is_about(fields, answer["trait"])
            and _find_key(fields) == (answer["source"], answer["row"])
        ):
            lines[index] = _format_line(fields | {"label": answer["label"]})
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
