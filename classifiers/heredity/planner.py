"""Which prompts to answer again: slices within a budget, each beside random rows of its size."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from classifiers.heredity.matching import draw_like
from schemas.errors import TrialError

BUDGET = 0.1
"""The share of rows that a plan may change.

Engels and Nanda (2026) found slices of 5 to 10 % on which another teacher is both necessary and
sufficient.
"""

TOP_SHARES = (0.01, 0.02, 0.05, 0.1)
"""The shares of rows with the highest scores that are slices of their own."""

FEWEST = 0.05
"""The smallest slice worth a trial, as a share of the budget."""

CLUSTERS = 20

WIDTH = 512
"""The length of a prompt's vector, which counts hashed words."""

ROUNDS = 20

BLOCK = 4_096
"""The number of prompts that are compared with flagged ones at once, which bounds the memory."""

WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class PromptTable:
    """The rows of a corpus, one element of every column for each.

    `scores` are a trait's, and may hold the similarity to the evaluation's prompts instead.
    `attributes` are other columns by which slices are cut, such as source, task, turns or language.
    """

    prompts: Sequence[str]
    tokens: np.ndarray
    flagged: np.ndarray
    scores: np.ndarray
    attributes: Mapping[str, Sequence[str]]


class Plan(NamedTuple):
    """A slice to swap, and as many random rows with about as many tokens to swap instead.

    `excess` is by how much the slice's scores exceed those of other rows, in sum, less two standard
    errors. It ranks plans. Only a trial shows whether a slice is necessary.
    """

    name: str
    rows: tuple[int, ...]
    control: tuple[int, ...]
    tokens: int
    flagged: int
    excess: float


def plan_slices(table: PromptTable, *, budget: float = BUDGET, seed: int = 0) -> list[Plan]:
    """Return plans from the most promising down, each within the budget.

    Slices are the values of each attribute, clusters of prompts, the rows with the highest scores,
    the flagged rows with their halo of nearest prompts, and the union of the best of these. Of a
    slice that is too large, the rows with the highest scores count. The result is deterministic.

    Raises: TrialError: there are no rows, or the budget isn't a share that gives a row.
    """
    total = len(table.prompts)
    most = int(budget * total)
    if not 0 < budget < 1 or not most:
        raise TrialError(
            f"a budget of {budget:g} of {total} rows allows no slice",
            remedy="give a share between 0 and 1 that allows at least one row",
        )
    vectors = embed_prompts(table.prompts)
    slices = _cut_attributes(table, cluster_prompts(vectors, seed=seed))
    slices |= {f"score, top {share:.0%}": _rank(table.scores)[: int(share * total)]
               for share in TOP_SHARES if share <= budget}  # fmt: skip
    slices["flagged and halo"] = find_halo(vectors, table.flagged, table.scores, most)
    fewest = max(1, int(FEWEST * most))
    kept = {
        name: rows[_rank(table.scores[rows])][:most]
        for name, rows in slices.items()
        if len(rows) >= fewest
    }
    plans = _sort([_plan(table, name, rows, seed) for name, rows in kept.items()])
    united = _unite(plans, most)
    if any(set(plan.rows) == set(united.tolist()) for plan in plans):
        return plans
    return _sort([*plans, _plan(table, "union of the best", united, seed)])


def find_halo(
    vectors: np.ndarray, flagged: np.ndarray, scores: np.ndarray, most: int
) -> np.ndarray:
    """Return the flagged rows and, up to `most` rows, the unflagged ones with the nearest prompts.

    A trait that is dropped where it shows comes back from its mild neighbours, which a filter
    doesn't flag. If more rows are flagged, those with the highest scores are returned.
    """
    own, others = np.flatnonzero(flagged), np.flatnonzero(~flagged)
    if not len(own) or len(own) >= most:
        first: np.ndarray = own[_rank(scores[own])][:most]
        return first
    parts = [others[start : start + BLOCK] for start in range(0, len(others), BLOCK)]
    nearness = [(vectors[part] @ vectors[own].T).max(1) for part in parts]
    nearest = others[_rank(np.concatenate(nearness))] if parts else others
    return np.concatenate([own, nearest[: most - len(own)]])


def embed_prompts(prompts: Sequence[str]) -> np.ndarray:
    """Return a vector of length 1 for each prompt, from its words and how rare they are."""
    counts = np.zeros((len(prompts), WIDTH), np.float32)
    for row, prompt in enumerate(prompts):
        words = [zlib.crc32(word.encode()) % WIDTH for word in WORD.findall(prompt.lower())]
        np.add.at(counts[row], words, 1)
    shown = (counts > 0).sum(0)
    vectors = np.log1p(counts) * np.log((1 + len(prompts)) / (1 + shown))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    normal: np.ndarray = vectors / np.where(lengths > 0, lengths, 1)
    return normal


def cluster_prompts(vectors: np.ndarray, *, clusters: int = CLUSTERS, seed: int = 0) -> np.ndarray:
    """Return each prompt's cluster, from spherical k-means with spread first centres."""
    random = np.random.default_rng(seed)
    centres = vectors[[random.integers(len(vectors))]]
    while len(centres) < min(clusters, len(vectors)):
        distances = np.maximum(0, 1 - (vectors @ centres.T).max(1)).astype(float)
        if not distances.sum():
            break
        chosen = random.choice(len(vectors), p=distances / distances.sum())
        centres = np.concatenate([centres, vectors[[chosen]]])
    found: np.ndarray = np.argmax(vectors @ centres.T, 1)
    for _ in range(ROUNDS):
        sums = np.stack([vectors[found == number].sum(0) for number in range(len(centres))])
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 0, sums / np.where(lengths > 0, lengths, 1), centres)
        moved = np.argmax(vectors @ centres.T, 1)
        if (moved == found).all():
            break
        found = moved
    return found


def _cut_attributes(table: PromptTable, clusters: np.ndarray) -> dict[str, np.ndarray]:
    """Return the rows of each value of each attribute, and of each cluster."""
    columns = {**table.attributes, "cluster": [str(number) for number in clusters.tolist()]}
    return {
        f"{name} {value}": np.flatnonzero(np.array(values, object) == value)
        for name, values in columns.items()
        for value in sorted(set(values))
    }


def _plan(table: PromptTable, name: str, rows: np.ndarray, seed: int) -> Plan:
    """Describe a slice, and draw random rows outside of it that are as many and as long."""
    outside = np.setdiff1d(np.arange(len(table.prompts)), rows)
    pool = np.random.default_rng([seed, zlib.crc32(name.encode())]).permutation(outside)
    control = np.sort(pool[draw_like(table.tokens[pool], table.tokens[rows])])
    inside, others = table.scores[rows], table.scores[outside]
    error = np.sqrt(inside.var() / len(inside) + others.var() / max(1, len(others)))
    mean = others.mean() if len(others) else 0.0
    return Plan(
        name,
        tuple(np.sort(rows).tolist()),
        tuple(control.tolist()),
        int(table.tokens[rows].sum()),
        int(table.flagged[rows].sum()),
        float(len(rows) * (inside.mean() - mean - 2 * error)),
    )


def _unite(plans: Sequence[Plan], most: int) -> np.ndarray:
    """Return the rows of the best plans, as many as the budget allows."""
    united = dict.fromkeys(row for plan in plans if plan.excess > 0 for row in plan.rows)
    return np.array(list(united)[:most] or plans[0].rows, np.intp)


def _sort(plans: Sequence[Plan]) -> list[Plan]:
    """Sort plans from the largest excess down, and by name."""
    return sorted(plans, key=lambda plan: (-plan.excess, plan.name))


def _rank(values: np.ndarray) -> np.ndarray:
    """Return indices from the highest value down; equal values keep their order."""
    return np.argsort(-values, kind="stable")
