"""An encoder that remembers the vectors of whole groups of windows from one fit to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from classifiers.models.encoders import Encoder
from classifiers.models.interface import Progress
from classifiers.models.windows import Window, collect_windows
from schemas.digests import digest_config


class VectorStore(Protocol):
    """A place that keeps vectors by key; it may forget any of them, and it never raises."""

    def load(self, key: str) -> bytes | None:
        """Return what is kept under a key, or None."""

    def save(self, key: str, data: bytes) -> None:
        """Keep data under a key, if possible."""


@dataclass(kw_only=True)
class RememberingEncoder(Encoder):
    """An encoder that looks up the vectors of windows before it computes them.

    Windows are kept as the group that they were encoded in, because the last digits of a vector
    depend on the windows beside it. A fit therefore gives the same bank with and without the store.
    """

    store: VectorStore

    def remembers(self, windows: Sequence[Window]) -> bool:
        """Return whether the vectors of exactly these windows are kept and sound."""
        return self._recall(windows) is not None

    def encode(self, windows: Sequence[Window], progress: Progress | None = None) -> np.ndarray:
        """Return the vectors of windows, float32 [windows, dimension]; see `Encoder.encode`.

        Remembered vectors aren't reported as progress.

        Raises: RowError: a vector contains NaN or infinity.
        """
        if (found := self._recall(windows)) is not None:
            return found
        vectors = super().encode(windows, progress)
        if len(windows):
            self.store.save(self._find_key(windows), pack_vectors(vectors))
        return vectors

    def _recall(self, windows: Sequence[Window]) -> np.ndarray | None:
        data = self.store.load(self._find_key(windows)) if len(windows) else None
        return None if data is None else unpack_vectors(data, (len(windows), self.dimension))

    def _find_key(self, windows: Sequence[Window]) -> str:
        """Return a digest of the encoder and of the tokens of every window, in order."""
        runs = collect_windows(windows).runs
        lengths, tokens = runs.lengths.astype(np.int64), runs.ids.astype(np.int64)
        digest = sha256(lengths.tobytes() + tokens.tobytes()).hexdigest()
        return digest_config([self.identity, str(self.dtype), self.device.type, digest])


def remember(encoder: Encoder, store: VectorStore) -> RememberingEncoder:
    """Return the same loaded encoder, but one that remembers vectors in a store."""
    return RememberingEncoder(**vars(encoder), store=store)


def pack_vectors(vectors: np.ndarray) -> bytes:
    """Return vectors as safetensors, with a digest by which damage is noticed."""
    digest = np.frombuffer(sha256(vectors.tobytes()).digest(), np.uint8)
    return bytes(save_tensors({"vectors": np.ascontiguousarray(vectors), "sha256": digest}))


def unpack_vectors(data: bytes, shape: tuple[int, int]) -> np.ndarray | None:
    """Return packed vectors, or None if they are damaged or have another shape."""
    try:
        tensors = load_tensors(data)
        vectors, digest = tensors["vectors"], tensors["sha256"]
    except (SafetensorError, KeyError, ValueError, TypeError):
        return None
    is_sound = sha256(vectors.tobytes()).digest() == digest.tobytes()
    return vectors if is_sound and vectors.shape == shape else None
