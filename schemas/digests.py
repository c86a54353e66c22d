"""Digests: of files, of canonical content, of configurations, and the Merkle tree over ledger rows."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import chain, groupby, pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import re2

LONGEST_RUN = 64
"""Marks after each other that are normalised as they stand; no script has as many."""

MARKS = re2.compile(rf"\pM{{{LONGEST_RUN},}}")

RECORD_ID_HEX = 32
"""A record id is the first 128 bits of the content digest: enough for 10^15 records at a collision chance below 10^-8."""

WHITE_SPACE = "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
"""What `str.strip` takes away."""


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
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def config_digest(value: Any) -> str:
    """Digest a JSON-like configuration."""
    return sha256_hex(canonical_json(value))


def content_digest(utterances: Iterable[Utterance]) -> str:
    """Digest a conversation's canonical content: role, channel and NFC text of every utterance, stripped and length-prefixed.

    The prefix keeps two utterances from being mistaken for one.
    """
    said = list(utterances)
    speakers = pa.array([f"{role}\x1f{channel}" for role, channel, _ in said], pa.large_string())
    texts = pa.array([text for *_, text in said], pa.large_string())
    return content_digests_by_row(1, np.zeros(len(said), np.int64), speakers, texts)[0]


def content_digests_by_row(
    size: int, rows: np.ndarray, speakers: pa.Array, texts: pa.Array
) -> list[str]:
    """Digest the content of `size` rows, given utterances in row order; `speakers` are role and channel, joined by 0x1F.

    What is hashed of a row are its utterances one after the other, each as speaker, 0x1F, bytes of the text, 0x1F, text, 0x1E.
    """
    normal = normalised(texts)
    lengths = pc.binary_length(normal).cast(pa.large_string())
    within, after, nothing = (pa.scalar(sign, pa.large_string()) for sign in ("\x1f", "\x1e", ""))
    said = pc.binary_join_element_wise(
        pc.binary_join_element_wise(speakers, lengths, normal, within), nothing, after
    )
    if isinstance(said, pa.ChunkedArray):  # beyond two gigabytes
        said = pa.concat_arrays(said.chunks)
    bounds = (
        np.frombuffer(said.buffers()[1], np.int64)[said.offset : said.offset + len(said) + 1]
        if len(said)
        else np.zeros(1, np.int64)
    )
    data = memoryview(said.buffers()[2] or b"") if len(said) else memoryview(b"")
    edges = bounds[np.searchsorted(rows, np.arange(size + 1))].tolist()
    return [hashlib.sha256(data[begin:end]).hexdigest() for begin, end in pairwise(edges)]


def normalised(texts: pa.Array) -> pa.Array:
    """Strip texts (large_string) of surrounding white space, as Python knows it, and bring them into Unicode's normal form C."""
    stripped = pc.utf8_trim(texts, characters=WHITE_SPACE)
    foreign = np.flatnonzero(pc.invert(pc.string_is_ascii(stripped)).to_numpy(zero_copy_only=False))
    changed = {
        place: normal
        for place, text in zip(
            foreign.tolist(), stripped.take(pa.array(foreign)).to_pylist(), strict=True
        )
        if (normal := normal_form(text)) != text
    }
    if not changed:
        return stripped
    mask = np.zeros(len(stripped), bool)
    mask[list(changed)] = True
    return pc.replace_with_mask(
        stripped, pa.array(mask), pa.array(changed.values(), pa.large_string())
    )


def normal_form(text: str) -> str:
    """Return the NFC form of a text.

    Normalising puts marks after each other in order, in a time that grows with the square of their number: long runs are
    sorted before, which doesn't change the form.
    """
    data = text.encode()
    if len(text) > LONGEST_RUN and MARKS.search(data):
        text = MARKS.sub(_in_order, data).decode()
    return unicodedata.normalize("NFC", text)


def _in_order(run: Any) -> bytes:
    """Decompose marks and sort them by combining class, equal ones as they stand; those of class 0 stay in their places."""
    marks = "".join(unicodedata.normalize("NFD", char) for char in run.group().decode())
    parts = (
        sorted(part, key=unicodedata.combining)
        for _, part in groupby(marks, lambda char: unicodedata.combining(char) > 0)
    )
    return "".join(chain.from_iterable(parts)).encode()


def leaf(row: str) -> bytes:
    """Hash one ledger row, its fields joined; the 0x00 prefix keeps leaves and nodes apart (RFC 6962)."""
    return hashlib.sha256(b"\x00" + row.encode("utf-8", "surrogatepass")).digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the Merkle root of `leaves`; an odd node moves up unchanged. The root of nothing is SHA-256 of nothing."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    level = list(leaves)
    while len(level) > 1:
        pairs = [
            hashlib.sha256(b"\x01" + a + b).digest()
            for a, b in zip(level[::2], level[1::2], strict=False)
        ]
        level = pairs + level[len(pairs) * 2 :]
    return level[0]
