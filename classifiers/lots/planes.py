"""A plane on which texts have places: which ones are near each other, and which lie in an area.

Landmarks are the middles of groups of texts, and t-SNE (van der Maaten and Hinton 2008) spreads
them over the plane. A text's place is between the landmarks that it is most similar to, so placing
texts takes time in proportion to their number.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from classifiers.lots.strata import AT_ONCE, cluster, embed, find_words, learn_idf

GRID = 1 << 16
"""The number of places along each side of the plane. Places and areas are whole numbers."""

MOST_LEARNED = 4_000
"""From how many texts a plane is learned."""

FEWEST_LANDMARKS, MOST_LANDMARKS = 12, 96
FEWEST_A_LANDMARK = 8
"""About how many of the learned texts a landmark should have."""

NEAREST = 8
"""Between how many landmarks a text lies at most."""

MARGIN = 0.03
"""The empty share of the plane at each side."""

PERPLEXITY = 8
STEPS, FIRST_STEPS = 800, 150
EXAGGERATION = 4
"""How much stronger likeness pulls in the first steps, so that landmarks can pass each other."""


class Plane(NamedTuple):
    """Landmarks: their directions, float32 [landmarks, dimensions], and their spots [landmarks, 2].

    Spots are from 0 to 1.
    """

    directions: np.ndarray
    spots: np.ndarray

    def place(self, vectors: np.ndarray) -> np.ndarray:
        """Return the place of each unit vector, uint16 [vectors, 2].

        A landmark's weight is the square of how much more similar it is than the first landmark
        that isn't among the `NEAREST`, so a place changes steadily with the vector.
        """
        likeness = vectors @ self.directions.T
        beyond = len(self.spots) - NEAREST - 1
        limit = np.partition(likeness, max(0, beyond), axis=1)[:, [max(0, beyond)]]
        weights = np.maximum(likeness - limit, 0).astype(np.float64) ** 2
        weights[weights.sum(axis=1) == 0] = 1
        places = weights @ self.spots / weights.sum(axis=1, keepdims=True)
        return np.asarray(np.clip(np.floor(places * GRID), 0, GRID - 1).astype(np.uint16))


def learn_plane(vectors: np.ndarray) -> Plane:
    """Return a plane for vectors like some unit vectors.

    Landmarks are found by spherical k-means. The result depends only on the vectors and their
    order.
    """
    fewest = min(len(vectors), FEWEST_LANDMARKS)
    wanted = max(fewest, min(MOST_LANDMARKS, len(vectors) // FEWEST_A_LANDMARK))
    centres = cluster(vectors, wanted)
    directions = centres[np.unique(np.argmax(vectors @ centres.T, axis=1))]
    spots = _spread(directions.astype(np.float64))
    low, high = spots.min(axis=0), spots.max(axis=0)
    scaled = (spots - low) / np.where(high > low, high - low, 1)
    return Plane(directions, MARGIN + (1 - 2 * MARGIN) * scaled)


def _spread(directions: np.ndarray) -> np.ndarray:
    """Return spots for landmarks by t-SNE, which begins with their principal components."""
    spots = _find_components(directions)
    if len(spots) < 4 or not spots.std():
        return spots
    affinity = _find_affinities(directions)
    spots *= 0.01 / spots.std()
    speed, rate = np.zeros_like(spots), len(spots) / 6
    for step in range(STEPS):
        is_first = step < FIRST_STEPS
        apart = spots[:, None] - spots[None]
        near = 1 / (1 + (apart**2).sum(axis=2))
        np.fill_diagonal(near, 0)
        pull = (EXAGGERATION if is_first else 1) * affinity - near / near.sum()
        slope = 4 * ((pull * near)[:, :, None] * apart).sum(axis=1)
        speed = (0.5 if is_first else 0.8) * speed - rate * slope
        spots = spots + speed
    return spots


def _find_components(directions: np.ndarray) -> np.ndarray:
    """Return the first two principal components of directions, each with a fixed sign."""
    scores, sizes, axes = np.linalg.svd(directions - directions.mean(axis=0), full_matrices=False)
    largest = np.argmax(np.abs(axes), axis=1)
    signs = np.where(axes[np.arange(len(axes)), largest] < 0, -1, 1)
    spots = np.zeros((len(directions), 2))
    found = (scores * sizes * signs)[:, :2]
    spots[:, : found.shape[1]] = found
    return spots


def _find_affinities(directions: np.ndarray) -> np.ndarray:
    """Return how much landmarks attract each other, with the perplexity of `PERPLEXITY`."""
    apart = 2 - 2 * directions @ directions.T
    np.fill_diagonal(apart, np.inf)
    apart -= apart.min(axis=1, keepdims=True)
    aim = np.log(min(PERPLEXITY, (len(directions) - 1) / 3))
    low, high = np.full((len(apart), 1), 1e-3), np.full((len(apart), 1), 1e5)
    for _ in range(60):
        width = np.sqrt(low * high)
        share = np.exp(-apart * width)
        share /= share.sum(axis=1, keepdims=True)
        logs = np.log(share, out=np.zeros_like(share), where=share > 0)
        wide = -(share * logs).sum(axis=1, keepdims=True) > aim
        low, high = np.where(wide, width, low), np.where(wide, high, width)
    return np.asarray((share + share.T) / (2 * len(share)))


class WordPlane(NamedTuple):
    """A plane for texts by their hashed words, float32 [2^`TOPIC_BITS`] weights."""

    plane: Plane
    idf: np.ndarray

    def place(self, texts: pa.LargeStringArray) -> np.ndarray:
        """Return the place of each text, uint16 [texts, 2]."""
        found = [np.empty((0, 2), np.uint16)]
        for first in range(0, len(texts), AT_ONCE):
            part = texts.slice(first, AT_ONCE)
            found.append(self.plane.place(embed(find_words(part), len(part), self.idf)))
        return np.concatenate(found)


def learn_word_plane(texts: pa.LargeStringArray) -> WordPlane:
    """Return the plane of at most `MOST_LEARNED` texts, which should be a random sample."""
    words = find_words(texts)
    idf = learn_idf(words, max(1, len(texts)))
    return WordPlane(learn_plane(embed(words, len(texts), idf)), idf)


def find_inside(x: np.ndarray, y: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Return which points lie in a polygon, bool [points], in exact whole numbers.

    `corners` are the polygon's, int64 [corners, 2], in order. An area that the polygon goes round
    twice isn't in it (even-odd rule). A point on a side belongs to the polygon only if the polygon
    lies to its right, or, on a level side, above it; so polygons that share a side share no point.
    """
    inside = np.zeros(len(y), bool)
    order = np.argsort(y, kind="stable")
    level, across = y[order].astype(np.int64), x[order].astype(np.int64)
    crossed = np.zeros(len(y), bool)
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y1 == y2:
            continue
        (left, bottom), (right, top) = sorted([(x1, y1), (x2, y2)], key=lambda end: int(end[1]))
        first, last = np.searchsorted(level, [bottom, top])
        rise = (across[first:last] - left) * (top - bottom)
        crossed[first:last] ^= rise < (right - left) * (level[first:last] - bottom)
    inside[order] = crossed
    return inside
