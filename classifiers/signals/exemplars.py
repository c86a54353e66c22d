"""Exemplar search: exact inner-product neighbours in FAISS, positives against hard negatives."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from schemas.errors import ModelError

try:
    import faiss
except (
    ImportError
) as error:  # the two wheels can't share an environment, so neither is a plain dependency
    raise ModelError(
        "FAISS isn't installed",
        remedy="pip install 'congener[cpu]', or 'congener[gpu]' on a CUDA machine",
    ) from error


class Neighbour(NamedTuple):
    """An exemplar near a text: its place among the trait's positives or negatives, and the cosine similarity."""

    place: int
    similarity: float


def build_index(vectors: np.ndarray) -> Any:
    """Build an exact inner-product index of float32 unit vectors; ids are their places."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, np.float32))
    return index


def on_device(index: Any, device: str) -> Any:
    """Move an index to the GPU when the device is one and FAISS was built for it; otherwise return it as it is."""
    if (
        index is not None
        and device == "cuda"
        and hasattr(faiss, "StandardGpuResources")
        and faiss.get_num_gpus()
    ):
        return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
    return index


def index_bytes(index: Any) -> bytes:
    """Serialise a CPU index."""
    return bytes(faiss.serialize_index(index).tobytes())


def index_from_bytes(data: bytes) -> Any:
    """Read back an index whose digest the caller has checked."""
    return faiss.deserialize_index(np.frombuffer(data, np.uint8))


def contrast(vectors: np.ndarray, positives: Any, negatives: Any, neighbours: int) -> np.ndarray:
    """Return mean similarity to the nearest positives less that to the nearest negatives, float32 [n].

    With no negatives it is the first term alone. Measured on 68 persona traits, 32 + 32 exemplars: AUROC 0.90 for the
    mean of five against 0.74 for the single nearest positive.
    """
    near = _mean_top(vectors, positives, neighbours)
    return (
        near - _mean_top(vectors, negatives, neighbours)
        if negatives is not None and negatives.ntotal
        else near
    )


def _mean_top(vectors: np.ndarray, index: Any, count: int) -> np.ndarray:
    similarities, _ = index.search(
        np.ascontiguousarray(vectors, np.float32), min(count, index.ntotal)
    )
    mean: np.ndarray = np.asarray(similarities, np.float32).mean(axis=1)
    return mean


def nearest(vector: np.ndarray, index: Any, count: int) -> list[Neighbour]:
    """Return the nearest exemplars of one vector; equal similarities (to 6 decimals) are ordered by place."""
    similarities, places = index.search(
        np.ascontiguousarray(vector[None], np.float32), min(count, index.ntotal)
    )
    found = [
        Neighbour(int(place), round(float(value), 6))
        for place, value in zip(places[0], similarities[0], strict=True)
    ]
    return sorted(found, key=lambda item: (-item.similarity, item.place))
