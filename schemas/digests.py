"""Digests: of files, of canonical content, of configurations, and the Merkle tree over ledger rows."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

RECORD_ID_HEX = 32
"""A record id is the first 128 bits of the content digest: enough for 10^15 records at a collision chance below 10^-8."""


class Utterance(NamedTuple):
    """One stretch of a conversation, as the content digest sees it."""

    role: str
    channel: str
    text: str


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of `data` in hex."""
    return hashlib.sha256(data).hexdigest()


def canonical_json(value: Any) -> bytes:
    """Encode `value` as JSON with sorted keys, no white space and no NaN, so that equal values have equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def config_digest(value: Any) -> str:
    """Digest a JSON-like configuration."""
    return sha256_hex(canonical_json(value))


def content_digest(utterances: Iterable[Utterance]) -> str:
    """Digest a conversation's canonical content: role, channel and NFC text of every utterance, stripped and length-prefixed.

    The prefix keeps two utterances from being mistaken for one. Lone surrogates are encoded as they stand.
    """
    return content_digests_by_row(1, ((0, *utterance) for utterance in utterances))[0]


def content_digests_by_row(size: int, utterances: Iterable[tuple[int, str, str, str]]) -> list[str]:
    """Digest the content of `size` rows, given as (row, role, channel, text) in row order."""
    states = [hashlib.sha256() for _ in range(size)]
    for row, role, channel, text in utterances:
        data = normal_bytes(text.strip())
        states[row].update(f"{role}\x1f{channel}\x1f{len(data)}\x1f".encode("utf-8", "surrogatepass") + data + b"\x1e")
    return [state.hexdigest() for state in states]


def normal_bytes(text: str) -> bytes:
    """Encode the NFC form of `text` in UTF-8."""
    if text.isascii():
        return text.encode()
    return unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass")


def leaf(row: str) -> bytes:
    """Hash one ledger row, its fields joined; the 0x00 prefix keeps leaves and nodes apart (RFC 6962)."""
    return hashlib.sha256(b"\x00" + row.encode("utf-8", "surrogatepass")).digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the Merkle root of `leaves`; an odd node moves up unchanged. The root of nothing is SHA-256 of nothing."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    level = list(leaves)
    while len(level) > 1:
        pairs = [hashlib.sha256(b"\x01" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0]
