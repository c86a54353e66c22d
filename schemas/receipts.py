"""Receipts: what became of a shard. A shard is done when its receipt and the files it names exist."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from schemas.cards import Strict
from schemas.digests import canonicalise_json, digest_config


class Output(Strict):
    """A file that a run wrote; `path` is relative to the run directory."""

    path: str
    rows: int
    bytes: int
    sha256: str


class Receipt(Strict):
    """What became of a shard's rows, and the files that hold them."""

    shard: str
    rows: int
    outputs: tuple[Output, ...]
    decisions: dict[str, int]
    fired: dict[str, int]
    """Rows by trait that fired on them."""
    ledger_root: str
    tokens: int
    """Tokens that went through a model, without padding."""
    padded: int
    """The same tokens with padding."""
    run: str = ""
    budget_cuts: int = 0
    """How often memory ran out and batches became smaller."""
    unscored: int = 0
    """Rows without any text that a trait looks at."""

    def to_bytes(self) -> bytes:
        """Encode the receipt as JSON, with its own digest."""
        value = self.model_dump(mode="json")
        return canonicalise_json(value | {"digest": digest_config(value)})


def parse_receipt(data: bytes) -> Receipt:
    """Decode a receipt.

    Raises: ValueError: its bytes aren't what was written.
    """
    try:
        value: dict[str, Any] = dict(json.loads(data))
        if value.pop("digest", None) == digest_config(value):
            return Receipt.model_validate(value)
    except (ValueError, TypeError, ValidationError):
        pass
    raise ValueError("its receipt is damaged")
