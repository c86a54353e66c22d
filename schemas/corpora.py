"""The layout of a corpus (its format, columns and lot fields) and the size limits of its shards."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from schemas.cards import Strict
from schemas.errors import InputError
from schemas.notices import suggest_name

FormatName = Literal["messages", "conversations", "alpaca", "completion", "preference", "text"]

OutputFormat = Literal["input", "parquet", "jsonl"]

Transcripts = Literal["detect", "cut", "whole"]

FORMATS: dict[FormatName, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "messages": (("messages",), ("system", "rejected_response")),
    "conversations": (("conversations",), ("system", "rejected_response")),
    "preference": (
        ("chosen", "rejected"),
        ("system", "history", "prompt", "conversations", "instruction", "input"),
    ),
    "alpaca": (("instruction", "output"), ("system", "history", "input", "thinking")),
    "completion": (
        ("prompt", "completion"),
        ("system", "history", "thinking", "rejected_response"),
    ),
    "text": (("text",), ("thinking", "role")),
}
"""The required columns of each format, and then its optional columns."""

EXPANSION_FLOOR = 64 << 20
"""The number of bytes to which even the smallest compressed file may expand.

This is about the size of the largest accepted row.
"""

EXPANSION_REMEDY = (
    "the file may have been built to fill memory or to take days; if you trust it, "
    "raise shards.expansion in the configuration"
)


class LotField(Strict):
    """The source of a lot field: a column of the corpus, or a constant for all rows."""

    column: str | None = None
    constant: str | None = None

    @model_validator(mode="after")
    def _refuse_both(self) -> LotField:
        if self.column is not None and self.constant is not None:
            raise ValueError("name a column or a constant, not both")
        return self


class CorpusConfig(Strict):
    """The part of the layout that the user sets. The rest is detected.

    `columns` maps a format's column names to the corpus's names (`{"messages": "dialogue"}`). A
    path of keys and indices (`response.body.choices`) names a nested column.
    """

    format: FormatName | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    teacher: LotField | None = None
    prompt_source: LotField | None = None
    system_prompt: LotField | None = None
    date: LotField | None = None
    transcripts: Transcripts = "detect"
    """How to read a text that holds a whole conversation with a chat template's markers.

    `cut` splits the text into turns, and `whole` keeps it as one text. `detect` splits a column's
    texts if more than half of a sample are transcripts.
    """

    @model_validator(mode="after")
    def _require_known_columns(self) -> CorpusConfig:
        known = {name for needs, uses in FORMATS.values() for name in (*needs, *uses)}
        if unknown := sorted(set(self.columns) - known):
            raise ValueError(
                f"columns: {unknown[0]!r} is not a column of any format; "
                f"{suggest_name(unknown[0], known)}the known columns are "
                f"{', '.join(sorted(known))}"
            )
        return self


class ShardLimits(Strict):
    """The limits of a shard: it ends before the first row that would exceed `rows` or `bytes`.

    `bytes` counts decompressed JSON, or uncompressed Parquet data. `expansion` is the largest ratio
    of decompressed to compressed size, for a whole file or a shard's part of it. Files that expand
    to less than `EXPANSION_FLOOR` are always accepted. In a corpus of at most `apart` files with
    rows, no shard holds rows of two files; in a larger one, small files share shards.
    """

    rows: int = Field(5_000, ge=1)
    bytes: int = Field(32 << 20, ge=1 << 10)
    expansion: int = Field(200, ge=1)
    apart: int = Field(32, ge=0)

    def compute_max_bytes(self, size: int) -> int:
        """Return the number of bytes to which a file of `size` bytes may expand."""
        return max(EXPANSION_FLOOR, self.expansion * size)

    def build_expansion_error(self, uri: str, size: int) -> InputError:
        """Return the error for a file of `size` bytes that expands beyond its limit."""
        return InputError(
            f"has {size:,} bytes and expands to more than {self.compute_max_bytes(size):,}: "
            f"shards.expansion allows {self.expansion} times its size",
            where=uri,
            remedy=EXPANSION_REMEDY,
        )
