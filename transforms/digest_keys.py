"""The secret key for a run's digests.

Without the key, nobody can check a guessed text against the ledger.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import NamedTuple

from schemas.digests import digest_bytes
from schemas.errors import CardError
from transforms.files import storage

ENVIRONMENT = "env:"
"""The prefix of a reference to an environment variable. Other references are file paths."""

FEWEST_BYTES = 16
CHECK_HEX = 16
"""The number of hex digits that identify a key in a manifest."""

REMEDY = "make a key: openssl rand -hex 32 > digest.key"


class DigestKey(NamedTuple):
    """A reference to a key, and the digest that identifies the key in the run.

    Workers get only the reference, so neither the pipeline nor the run stores the key.
    """

    reference: str
    check: str

    def read(self) -> bytes:
        """Return the key.

        Raises: CardError: the variable isn't set, or the key is too short or isn't the run's key.
        """
        key = read_key(self.reference)
        if check_key(key) != self.check:
            raise CardError(
                "isn't the key that the run was made with",
                where=self.reference,
                remedy="give the run's own key",
            )
        return key


def settle_key(reference: str | None) -> DigestKey | None:
    """Return the key that a reference names, or None without a reference.

    Raises: CardError: the variable isn't set, or the key is too short.
    """
    return None if reference is None else DigestKey(reference, check_key(read_key(reference)))


def read_key(reference: str) -> bytes:
    """Return the key in a file or an environment variable, without surrounding white space.

    Raises: CardError: the variable isn't set, or the key is too short. Raises: InputError: the file
    can't be read.
    """
    if reference.startswith(ENVIRONMENT):
        key = os.environb.get(os.fsencode(reference.removeprefix(ENVIRONMENT)), b"").strip()
    else:
        key = _read_file(reference)
    if len(key) < FEWEST_BYTES:
        raise CardError(
            f"has a key of {len(key)} bytes; it needs {FEWEST_BYTES} or more",
            where=reference,
            remedy=REMEDY,
        )
    return key


@lru_cache(8)
def _read_file(path: str) -> bytes:
    return storage.read_bytes(path).strip()


def check_key(key: bytes) -> str:
    """Return a digest that identifies a key in a manifest without revealing the key."""
    return digest_bytes(b"congener digest key", key)[:CHECK_HEX]
