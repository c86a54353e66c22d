"""Files of labels: a reader's judgements of rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from classifiers.library import read_text_file
from schemas.errors import CardError, StorageError
from transforms.files.storage import write_bytes

SPELLINGS: Mapping[object, bool] = {
    **dict.fromkeys(("yes", "y", "true", "1"), True),
    **dict.fromkeys(("no", "n", "false", "0"), False),
}
"""Accepted texts of a label, besides true, false, 1 and 0."""


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
            if fields.get("trait", trait) == trait:
                yield number, fields


def _parse_line(line: str, where: str) -> dict[str, Any]:
    try:
        return dict(json.loads(line))
    except (ValueError, TypeError, RecursionError) as error:
        raise CardError("is not a JSON object", where=where) from error


def _find_key(fields: Mapping[str, Any]) -> RowKey | None:
    source, row, record_id = (fields.get(name) for name in ("source", "row", "record_id"))
    if isinstance(source, str) and isinstance(row, int) and not isinstance(row, bool):
        return source, row
    return record_id if isinstance(record_id, str) else None


def _parse_label(fields: Mapping[str, Any], where: str, number: int) -> Label:
    key = _find_key(fields)
    if key is None:
        raise CardError(
            "names no row",
            where=where,
            remedy='give "source" and "row", or "record_id", as in the run\'s ledger',
        )
    source, row, record_id = (None, None, key) if isinstance(key, str) else (*key, None)
    score = fields.get("score")
    return Label(
        source,
        row,
        record_id,
        _parse_answer(fields["label"], where),
        float(score) if isinstance(score, int | float) else None,
        number,
    )


def _parse_answer(value: object, where: str) -> bool:
    spelled = str(value).strip().lower()
    if not isinstance(value, bool | int | str) or spelled not in SPELLINGS:
        raise CardError(
            f"label {value!r} is neither true nor false",
            where=where,
            remedy="write true, false or null (not read)",
        )
    return SPELLINGS[spelled]


def append_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Append lines to a file of labels, creating the file if needed.

    Raises: StorageError: the file can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        separator = _find_separator(path)
        with path.open("a", encoding="utf-8") as file:
            file.write(separator)
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    except OSError as error:
        raise StorageError(
            f"can't be written: {error.strerror}",
            where=str(path),
            remedy="name another file with --labels",
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
            and fields.get("trait", answer["trait"]) == answer["trait"]
            and _find_key(fields) == (answer["source"], answer["row"])
        ):
            lines[index] = json.dumps(fields | {"label": answer["label"]}, ensure_ascii=False)
            write_bytes(str(path), "\n".join(lines).encode("utf-8"))
            return
    append_lines(path, [answer])


def _find_separator(path: Path) -> str:
    """Return the missing line break at a file's end."""
    if not path.exists() or not path.stat().st_size:
        return ""
    with path.open("rb") as file:
        file.seek(-1, 2)
        return "" if file.read(1) == b"\n" else "\n"
