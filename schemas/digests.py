"""Digests of files, canonical content and configurations, and the ledger's Merkle tree."""

from __future__ import annotations

import hashlib
import hmac
import json
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import chain, groupby, pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import re2

LONGEST_MARK_RUN = 64
"""The shortest run of combining marks that is sorted before Python normalises the text.

No script needs runs that long.
"""

MARKS = re2.compile(rf"\pM{{{LONGEST_MARK_RUN},}}")

RECORD_ID_HEX = 32
"""The number of hex digits in a record id: the first 128 bits of the content digest.

For 10^15 records, the chance of a collision is below 10^-8.
"""

STRIPPED = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005"
    "\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)


ROLE_ESCAPES = str.maketrans({"\x1b": "\x1b0", "\x1e": "\x1b1", "\x1f": "\x1b2", "/": "\x1b3"})
"""Escapes for characters in a role that would otherwise act as separators."""


class Utterance(NamedTuple):
    """One text in a conversation, with its role and channel."""

    role: str
    channel: str
    text: str


def digest_bytes(data: bytes | memoryview, key: bytes | None = None) -> str:
    """Return the SHA-256 of `data` in hex, or its HMAC-SHA-256 if there is a key."""
    if key is not None:
        return hmac.digest(key, data, "sha256").hex()
    return hashlib.sha256(data).hexdigest()


def canonicalise_json(value: Any) -> bytes:
    """Encode `value` as JSON with sorted keys and no white space.

    Raises: ValueError: `value` contains NaN or an infinity, which JSON can't represent.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest_config(value: Any) -> str:
    """Return the SHA-256 of a JSON-like configuration in hex."""
    return digest_bytes(canonicalise_json(value))


def name_speaker(role: str, channel: str, side: str = "") -> str:
    """Join a side, a role and a channel into one unambiguous text.

    The side is `chosen/` or `rejected/` in a preference pair, and otherwise empty.
    """
    return f"{side}{role.translate(ROLE_ESCAPES)}\x1f{channel}"


EMPTY_DIGEST = hashlib.sha256(b"").hexdigest()
"""The content digest of a row without any text."""


def digest_content(utterances: Iterable[Utterance]) -> str:
    """Return the hex digest of a conversation's canonical content.

    The digest covers the role, channel and text of every utterance. Texts are stripped and
    normalised to NFC. A length in bytes precedes each text, so that two utterances can't be
    mistaken for one.
    """
    ordered = list(utterances)
    speakers = pa.array(
        [name_speaker(role, channel) for role, channel, _ in ordered], pa.large_string()
    )
    texts = pa.array([text for *_, text in ordered], pa.large_string())
    return digest_content_by_row(1, np.zeros(len(ordered), np.int64), speakers, texts)[0]


def digest_content_by_row(
    size: int, rows: np.ndarray, speakers: pa.Array, texts: pa.Array, key: bytes | None = None
) -> list[str]:
    """Return the hex content digest of each of `size` rows.

    Each utterance has an entry in every array, in row order: its row (int64), its speaker
    (`name_speaker`), and its text (both large_string). A digest is the SHA-256 of the row's
    utterances, each written as speaker, 0x1F, length of the text in bytes, 0x1F, text, 0x1E. With a
    key, the digest is an HMAC-SHA-256, except for a row without utterances.
    """
    normal = normalise_array(texts)
    lengths = pc.binary_length(normal).cast(pa.large_string())
    separator, end, empty = (pa.scalar(sign, pa.large_string()) for sign in ("\x1f", "\x1e", ""))
    written = pc.binary_join_element_wise(
        pc.binary_join_element_wise(speakers, lengths, normal, separator), empty, end
    )
    if isinstance(written, pa.ChunkedArray):  # Arrow splits results beyond two gigabytes
        written = pa.concat_arrays(written.chunks)
    offsets, data = _read_buffers(written)
    edges = offsets[np.searchsorted(rows, np.arange(size + 1))].tolist()
    return [
        digest_bytes(data[begin:end], key if begin < end else None)
        for begin, end in pairwise(edges)
    ]


def _read_buffers(texts: pa.LargeStringArray) -> tuple[np.ndarray, memoryview]:
    """Return an array's offsets (int64, one more than there are texts) and bytes."""
    if not len(texts):
        return np.zeros(1, np.int64), memoryview(b"")
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return bounds, memoryview(data or b"")


def normalise_array(texts: pa.Array) -> pa.Array:
    """Strip white space from texts (large_string) like `str.strip`, and normalise them to NFC."""
    stripped = pc.utf8_trim(texts, characters=STRIPPED)
    foreign = np.flatnonzero(pc.invert(pc.string_is_ascii(stripped)).to_numpy(zero_copy_only=False))
    originals = stripped.take(pa.array(foreign)).to_pylist()
    changed = {
        index: normal
        for index, text in zip(foreign.tolist(), originals, strict=True)
        if (normal := normalise_text(text)) != text
    }
    if not changed:
        return stripped
    mask = np.zeros(len(stripped), bool)
    mask[list(changed)] = True
    return pc.replace_with_mask(
        stripped, pa.array(mask), pa.array(changed.values(), pa.large_string())
    )


def normalise_text(text: str) -> str:
    """Return a text's NFC form in linear time, even with long runs of combining marks.

    Python sorts such a run in quadratic time, so long runs are sorted here first. The result is the
    same.
    """
    data = text.encode()
    if len(text) > LONGEST_MARK_RUN and MARKS.search(data):
        text = MARKS.sub(_sort_marks, data).decode()
    return unicodedata.normalize("NFC", text)


def _sort_marks(run: Any) -> bytes:
    """Decompose the marks of a match and sort them stably by combining class.

    Marks of class 0 keep their place, and no mark passes them.
    """
    marks = "".join(unicodedata.normalize("NFD", char) for char in run.group().decode())
    parts = (
        sorted(part, key=unicodedata.combining)
        for _, part in groupby(marks, lambda char: unicodedata.combining(char) > 0)
    )
    return "".join(chain.from_iterable(parts)).encode()


def hash_leaf(row: str) -> bytes:
    """Return the hash of a ledger row, written as one text.

    The prefix 0x00 distinguishes leaves from nodes, as in RFC 6962.
    """
    return hashlib.sha256(b"\x00" + row.encode("utf-8", "surrogatepass")).digest()


def compute_merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the Merkle root of `leaves` as RFC 6962 defines it.

    A node without a neighbour moves up unchanged. Without leaves, the root is the SHA-256 of the
    empty string.
    """
    if not leaves:
        return hashlib.sha256(b"").digest()
    level = list(leaves)
    while len(level) > 1:
        pairs = [
            hashlib.sha256(b"\x01" + left + right).digest()
            for left, right in zip(level[::2], level[1::2], strict=False)
        ]
        level = pairs + level[len(pairs) * 2 :]
    return level[0]
