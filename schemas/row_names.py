"""Names of single rows: a record id, a file and a row number, or a value of the corpus's own id."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from pydantic import Field, model_validator

from schemas.cards import Strict
from schemas.digests import RECORD_ID_HEX
from schemas.lots import SEPARATOR, Lot

RECORD_ID = re.compile(rf"[0-9a-f]{{{RECORD_ID_HEX}}}")
PLACE = re.compile(r"(.+):([0-9]{1,18})", re.DOTALL)
"""A file and a row number that a ledger can hold, as `congener inspect` takes them."""

FORMS = (
    "a row is named by FILE:NUMBER (chat.jsonl:17) or by its record id, both as congener inspect "
    "shows them, or by a column with the corpus's own ids, as {COLUMN: ID}"
)


class RowName(Strict):
    """The name of a row: its record id, its file and number there, or a column's value.

    A run finds the file and the number of a column's value before it begins, and adds them.
    """

    record_id: str | None = None
    source: str | None = None
    row: int | None = Field(None, ge=0)
    column: str | None = None
    value: str | int | None = None

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, given: Any) -> Any:
        if isinstance(given, str):
            return _parse_text(given)
        if isinstance(given, dict) and len(given) == 1 and "record_id" not in given:
            ((column, value),) = given.items()
            return {"column": column, "value": value}
        if isinstance(given, dict | RowName):
            return given
        raise ValueError(f"is {str(given)[:60]!r}; {FORMS}")

    @model_validator(mode="after")
    def _require_a_name(self) -> RowName:
        if (self.source is None) != (self.row is None) or (self.column is None) != (
            self.value is None
        ):
            raise ValueError(f"is incomplete; {FORMS}")
        return self

    @property
    def key(self) -> str:
        """Return the record id or `FILE:NUMBER`, or an empty text for an id that isn't found."""
        if self.record_id is not None:
            return self.record_id
        return "" if self.source is None else f"{self.source}:{self.row}"

    def describe(self) -> str:
        """Return the name as a policy gives it."""
        return f"{self.column}: {self.value}" if self.column is not None else self.key


def _parse_text(text: str) -> dict[str, Any]:
    if RECORD_ID.fullmatch(text):
        return {"record_id": text}
    if found := PLACE.fullmatch(text):
        return {"source": found[1], "row": int(found[2])}
    raise ValueError(f"is {text[:60]!r}; {FORMS}")


def name_lots(
    lots: Sequence[Lot],
    names: Collection[str],
    record_ids: Sequence[str],
    places: Sequence[tuple[str, int]],
) -> list[Lot]:
    """Return the lots of rows; those of rows with one of the names say so.

    `places` holds the file and the number of each row.
    """
    if not names:
        return list(lots)
    return [
        lot._replace(names=SEPARATOR.join(own))
        if (own := tuple(name for name in (record_id, f"{place[0]}:{place[1]}") if name in names))
        else lot
        for lot, record_id, place in zip(lots, record_ids, places, strict=True)
    ]
