"""Receipts: the outcome of each shard.

A shard is finished once its receipt and the listed files exist.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field

from schemas.cards import Strict
from schemas.coverage import TextCounts
from schemas.digests import canonicalise_json, digest_config


class Output(Strict):
    """A file that a run wrote; `path` is relative to the run directory."""

    path: str
    rows: int
    bytes: int
    sha256: str


class NearMisses(Strict):
    """The rows whose scores are closest below a trait's threshold.

    `rows` counts the rows within `NEAR_MISS` of the threshold. `best` is the highest score below
    the threshold, or None if there is no such score.
    """

    rows: int = 0
    best: float | None = None

    def add(self, other: NearMisses) -> NearMisses:
        """Combine the near misses of two sets of rows."""
        scores = [best for best in (self.best, other.best) if best is not None]
        return NearMisses(rows=self.rows + other.rows, best=max(scores, default=None))


class Receipt(Strict):
    """The decisions on a shard's rows, the files that hold them, and the cost of scoring them."""

    shard: str
    rows: int
    outputs: tuple[Output, ...]
    decisions: dict[str, int]
    fired: dict[str, int]
    """The number of rows on which each trait fired."""
    near: dict[str, NearMisses] = Field(default_factory=dict)
    """The near misses of each trait in trained texts."""
    ledger_root: str
    tokens: int
    """The number of tokens that went through a model, without padding."""
    padded: int
    """The number of tokens that went through a model, with padding."""
    run: str = ""
    budget_cuts: int = 0
    """How often batches were made smaller because memory ran out."""
    unscored: int = 0
    """Rows without text in any trait's scope."""
    unprompted: int = 0
    """Swapped rows that aren't on the swap list, because they have no prompt."""
    incomplete: int = 0
    """Prompts on the swap list that lack a part, such as an image."""
    texts: TextCounts = TextCounts()

    def to_bytes(self) -> bytes:
        """Encode the receipt as JSON, with its own digest."""
        value = self.model_dump(mode="json")
        return canonicalise_json(value | {"digest": digest_config(value)})


def parse_receipt(data: bytes) -> Receipt:
    """Decode a receipt.

    Raises: ValueError: the bytes aren't a receipt, or don't match the digest that they contain.
    """
    try:
        value: dict[str, Any] = dict(json.loads(data))
        if value.pop("digest", None) == digest_config(value):
            return Receipt.model_validate(value)
    except (ValueError, TypeError, RecursionError):
        pass
    raise ValueError("its receipt is damaged")
