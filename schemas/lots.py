"""Lots: sets of records that share a teacher, a prompt source, a system prompt and a date."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import NamedTuple

from pydantic import field_validator

from schemas.cards import Strict
from schemas.scores import Side

UNKNOWN = "-"
"""The value of an unknown lot field. Such a field is null in the ledger."""

SEPARATOR = "\0"


class LotPattern(Strict):
    """Shell-style patterns (`*`, `?`) for the fields of a lot.

    A field that is left out matches every lot.
    """

    teacher: str | None = None
    prompt_source: str | None = None
    system_prompt: str | None = None
    date: str | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _require_a_value(cls, value: object) -> object:
        if value is None:
            raise ValueError(
                f"is empty: leave it out to match every lot, or write {UNKNOWN!r} to match "
                "lots where it isn't known"
            )
        return value

    def describe(self) -> str:
        """Return the fields that are set, with their patterns, or `every lot`."""
        wanted = self.model_dump(exclude_none=True).items()
        return ", ".join(f"{name}: {pattern}" for name, pattern in wanted) or "every lot"


class Lot(NamedTuple):
    """The four fields that the records of a lot share.

    A preference pair also has the teacher of its rejected answer. A row that the policy names is a
    lot of its own.
    """

    teacher: str = UNKNOWN
    prompt_source: str = UNKNOWN
    system_prompt: str = UNKNOWN
    """The first eight hex digits of the SHA-256 of the system prompt."""
    date: str = UNKNOWN
    rejected_teacher: str = UNKNOWN
    names: str = ""
    """The names by which exceptions of the policy name this one row, joined by `SEPARATOR`."""

    def for_side(self, side: Side) -> Lot:
        """Return the lot of a text on one side; a rejected answer may have its own teacher."""
        known = side == "rejected" and self.rejected_teacher != UNKNOWN
        return self._replace(teacher=self.rejected_teacher) if known else self

    def has_name(self, name: str) -> bool:
        """Return whether this is a single row with a name."""
        return bool(self.names) and name in self.names.split(SEPARATOR)

    def matches(self, pattern: LotPattern) -> bool:
        """Return whether the lot matches every field that the pattern sets."""
        return all(
            wanted is None or fnmatchcase(getattr(self, field), wanted) for field, wanted in pattern
        )


LOT_FIELDS: tuple[str, ...] = ("teacher", "prompt_source", "system_prompt", "date")
"""The lot columns, in the ledger's order."""
