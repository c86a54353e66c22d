"""The labels of one reviewer: a file of JSON Lines beside the run, in which each line has a digest.

`fit --labels` and `traits eval --labels` read the file as it is. The digest of a line covers the
line before it, so a line that is changed, added or removed afterwards is noticed. Labels of rows
begin with the digest of the run, and those of an audit's items with that of the draw.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pipelines.label_files import read_entries, report_mixed
from pipelines.labels import append_lines
from schemas.digests import digest_config
from schemas.errors import CardError, StorageError

Verdict: TypeAlias = Literal["yes", "no", "unsure"]

VERDICTS: Mapping[str, bool | str] = {"yes": True, "no": False, "unsure": "unsure"}
"""What a reviewer may say about a row and a trait, and how a line says it."""

REVIEWER = re.compile(r"[\w][\w.@+-]{0,63}")
"""The names of reviewers, which are parts of file names."""

LONGEST_REASON = 2_000

ROW_NAMES = ("source", "row", "record_id")
ITEM_NAMES = ("id",)
"""The fields that name a run's row, and an item of an audit."""

Place: TypeAlias = tuple[str, int, str]
"""A file, a row's number in it, and a trait. For an item of an audit: its name, 0, and a trait."""


def name_file(reviewer: str, kind: str = "labels") -> str:
    """Return the name of a reviewer's file: `labels` are of rows, and an `audit` has items.

    Raises: CardError: the name can't be part of a file name.
    """
    if not REVIEWER.fullmatch(reviewer):
        raise CardError(
            f"reviewer {reviewer[:80]!r} isn't a name of letters, digits, and . @ + - _",
            where="--reviewer",
            remedy="give a short name, such as --reviewer ada",
        )
    return f"{kind}-{reviewer}.jsonl"


class LabelBook:
    """One reviewer's labels of a run, by row and trait. Only one process may add to a book."""

    def __init__(
        self, path: Path, reviewer: str, first: str, names: Sequence[str] = ROW_NAMES
    ) -> None:
        """Read the file, if there is one.

        `first` is the digest with which the file begins, and `names` are the fields that name what
        is labelled.

        Raises: CardError: a line isn't one of this run's labels, or was changed afterwards.
        """
        self.path, self.reviewer, self._names = path, reviewer, names
        self._first, self._lock = first, threading.Lock()
        self._lines = read_lines(path, first)
        self._size = path.stat().st_size if path.exists() else 0

    def __len__(self) -> int:
        return len(self.list_labels())

    def list_labels(self) -> dict[Place, dict[str, Any]]:
        """Return the label that counts for each row and trait: the last one."""
        return {find_place(line): line for line in self._lines}

    def add(
        self, row: Mapping[str, Any], trait: str, verdict: Verdict, reason: str = "", **more: Any
    ) -> dict[str, Any]:
        """Append a label of a row, which has the book's names, and return the line.

        `more` holds further fields; `picked` is true unless it is among them.

        Raises: CardError: the file was changed by another program.
        Raises: StorageError: the file can't be written.
        """
        with self._lock:
            self._require_unchanged()
            before = self._lines[-1]["digest"] if self._lines else self._first
            line = {
                **{name: row[name] for name in self._names},
                "trait": trait,
                "label": VERDICTS[verdict],
                "time": datetime.fromtimestamp(time.time(), UTC).isoformat(),
                "reviewer": self.reviewer,
                "picked": True,
                **({"reason": reason} if reason.strip() else {}),
                **more,
                "before": before,
            }
            line["digest"] = digest_config(line)
            append_lines(self.path, [line])
            self._lines.append(line)
            self._size = self.path.stat().st_size
            return line

    def peek(self) -> dict[str, Any] | None:
        """Return the last label; None if there is no label."""
        return self._lines[-1] if self._lines else None

    def undo(self) -> dict[str, Any] | None:
        """Take the last label back, and return it; None if there is no label.

        Raises: CardError: the file was changed by another program.
        Raises: StorageError: the file can't be written.
        """
        with self._lock:
            self._require_unchanged()
            if not self._lines:
                return None
            kept = self.path.read_bytes().rstrip(b"\n").rpartition(b"\n")[0]
            self._size = len(kept) + 1 if kept else 0
            try:
                os.truncate(self.path, self._size)
            except OSError as error:
                raise StorageError(
                    f"can't be written: {error.strerror}", where=str(self.path)
                ) from error
            return self._lines.pop()

    def _require_unchanged(self) -> None:
        size = self.path.stat().st_size if self.path.exists() else 0
        if size != self._size:
            raise CardError(
                "was changed by another program during the review",
                where=str(self.path),
                remedy="end the other review of this reviewer, and start this one again",
            )


def find_place(line: Mapping[str, Any]) -> Place:
    """Return the row, or an audit's item, and the trait that a line is about."""
    if "id" in line:
        return line["id"], 0, line["trait"]
    return line["source"], line["row"], line["trait"]


def read_lines(path: Path, first: str) -> list[dict[str, Any]]:
    """Read the lines of a reviewer's file, and compare each with its digest.

    `first` is the digest with which the file begins.

    Raises: CardError: a line isn't a label of the run, or was changed, added or removed.
    """
    if not path.exists() or not path.stat().st_size:
        return []
    before, lines = first, []
    for number, text in enumerate(_split_lines(path), 1):
        try:
            line = json.loads(text)
            own = {name: value for name, value in line.items() if name != "digest"}
            is_sound = line["before"] == before and digest_config(own) == line["digest"]
            find_place(line)
        except (ValueError, KeyError, AttributeError, TypeError):
            is_sound, line = False, {}
        if not is_sound:
            raise _explain(path, number)
        before = line["digest"]
        lines.append(line)
    return lines


def _explain(path: Path, number: int) -> CardError:
    """Return an error about the first line that isn't the review's."""
    mixed = None
    with suppress(CardError):  # a line that was changed can't be moved away
        mixed = report_mixed(path, read_entries(path))
    return mixed or CardError(
        "isn't as the review wrote it, or is about another run or another draw",
        where=f"{path} line {number}",
        remedy="restore the file, or move it away to begin a new one; labels of an earlier "
        "run that still hold are taken over with congener review RUN --carry FILE",
    )


def _split_lines(path: Path) -> list[str]:
    """Return a file's lines without the empty one at its end."""
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CardError(f"can't be read: {error}", where=str(path)) from error
