"""How a corpus is laid out: its format, the columns that carry it, and the fields that name a lot."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from schemas.cards import Strict
from schemas.errors import InputError

FormatName = Literal["messages", "conversations", "alpaca", "completion", "preference", "text"]

FORMATS: dict[FormatName, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "messages": (("messages",), ()),
    "conversations": (("conversations",), ()),
    "preference": (("chosen", "rejected"), ("prompt",)),
    "alpaca": (("instruction", "output"), ("input",)),
    "completion": (("prompt", "completion"), ()),
    "text": (("text",), ()),
}
"""Each format's columns: those it needs, then those it uses when they are there."""

UNSUSPICIOUS = 64 << 20
"""Bytes that any file may unfold to: about what one row may have, and no harm to memory or time."""

LOT_FIELDS = ("teacher", "prompt_source", "system_prompt", "date")


class LotField(Strict):
    """Where one field of the lot comes from: a column of the corpus, or one value for all of it."""

    column: str | None = None
    constant: str | None = None

    @model_validator(mode="after")
    def _not_both(self) -> LotField:
        if self.column is not None and self.constant is not None:
            raise ValueError("name a column or a constant, not both")
        return self


class CorpusConfig(Strict):
    """What detection settles, or the user sets: format, columns and lot fields.

    `columns` maps a format's own column names to the corpus's (`{"messages": "dialogue"}`).
    """

    format: FormatName | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    teacher: LotField | None = None
    prompt_source: LotField | None = None
    system_prompt: LotField | None = None
    date: LotField | None = None

    @model_validator(mode="after")
    def _known_columns(self) -> CorpusConfig:
        known = {name for needs, uses in FORMATS.values() for name in (*needs, *uses)}
        if unknown := sorted(set(self.columns) - known):
            raise ValueError(
                f"columns: {unknown[0]!r} is not a column of any format; known are {', '.join(sorted(known))}"
            )
        if self.columns and self.format is None:
            raise ValueError(
                "columns: set `format` as well, since detection looks for the formats' own column names"
            )
        return self


TRUSTED = "it may be made to fill memory or to take days; if you trust it, raise shards.expansion in the configuration"


class ShardLimits(Strict):
    """How large a shard may grow; the first limit that is reached cuts it. Bytes are those of decompressed JSON, or of Parquet before compression.

    `expansion` bounds what a file, or a shard's part of it, may unfold to: so many times the file's size. What unfolds to less than 64 MiB isn't looked at.
    """

    rows: int = Field(5_000, ge=1)
    bytes: int = Field(32 << 20, ge=1 << 10)
    expansion: int = Field(200, ge=1)

    def unfolded(self, size: int) -> int:
        """Return the most bytes that a file of `size` bytes may unfold to."""
        return max(UNSUSPICIOUS, self.expansion * size)

    def unfolds_too_far(self, uri: str, size: int) -> InputError:
        """Return the error for a file that unfolds to more than it may."""
        return InputError(
            f"unfolds to more than {self.unfolded(size):,} bytes, and has {size:,}: shards.expansion allows {self.expansion} times as many",
            where=uri,
            remedy=TRUSTED,
        )
