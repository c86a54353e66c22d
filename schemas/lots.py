"""Lots: records that share a teacher, a prompt source, a system prompt and a date."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import NamedTuple

from pydantic import field_validator

from schemas.cards import Strict

UNKNOWN = "-"
"""The value of a lot field that isn't known. Such a field is null in the ledger."""


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


class Lot(NamedTuple):
    """The four fields that the records of a lot share; `UNKNOWN` for a field that isn't known."""

    teacher: str = UNKNOWN
    prompt_source: str = UNKNOWN
    system_prompt: str = UNKNOWN
    """The first eight hex digits of the SHA-256 of the system prompt."""
    date: str = UNKNOWN

    def matches(self, pattern: LotPattern) -> bool:
        """Return whether every field that the pattern names fits it."""
        return all(
            wanted is None or fnmatchcase(getattr(self, field), wanted) for field, wanted in pattern
        )


LOT_FIELDS: tuple[str, ...] = Lot._fields
"""The columns of a lot, in the order of the ledger."""
