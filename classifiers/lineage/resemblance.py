"""How much models share of what the reference doesn't do: in their wording, and prompt by prompt.

Both measures compare every two models. The reference is a group of the models; its mean counts as
what any model does, so that only idiosyncrasies count.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix, diags

from classifiers.lineage.tokens import TokenisedTexts, count_grams

PRIOR_SHARE = 1.0
"""How much of the reference's frequency is added to each model's, so that rare words count little.

It is a share of the model's own text, so that corpora of different sizes are smoothed alike.
"""

FEWEST = 20
"""How often the reference must use a word for it to count."""

FEWEST_SHARED = 15
"""How many prompts two models must both have answered for their answers to be compared."""


class Resemblance(NamedTuple):
    """How alike models are; both arrays are float64 [models, models].

    `wording` is the correlation of their words' frequencies, relative to the reference. `overlap`
    is the mean cosine of their answers to the same prompt, or NaN with too few such prompts.
    `shared` counts those prompts.
    """

    wording: np.ndarray
    overlap: np.ndarray
    shared: np.ndarray


def measure_resemblance(
    found: TokenisedTexts, model: np.ndarray, prompt: np.ndarray, reference: np.ndarray
) -> Resemblance:
    """Compare every two models.

    `model` and `prompt` are the model and the prompt of each text, as int64 [texts]; a prompt below
    0 is unknown. `reference` is bool [models].
    """
    words = count_grams(found, 1).counts
    wording = compare_wording(sum_by_model(words, model, len(reference)), reference)
    pairs = weigh_pairs(count_grams(found, 2).counts, reference[model])
    overlap, shared = compare_answers(pairs, model, prompt, reference)
    return Resemblance(wording, overlap, shared)


def sum_by_model(counts: csr_matrix, model: np.ndarray, models: int) -> np.ndarray:
    """Return the sums of each model's texts, as float64 [models, n-grams]."""
    ones = np.ones(len(model), np.float64)
    sums = csr_matrix((ones, (model, np.arange(len(model)))), (models, len(model))) @ counts
    return np.asarray(sums.toarray(), np.float64)


def compare_wording(
    counts: np.ndarray, reference: np.ndarray, prior: float = PRIOR_SHARE
) -> np.ndarray:
    """Return the correlations of models' word frequencies beyond the reference's.

    `counts` is float64 [models, words]. Each frequency enters as its logarithm, smoothed by the
    reference's (the log-odds with an informative prior of Monroe et al. 2008), less the mean of the
    reference's models, weighted by the square root of the reference's frequency. Without a word
    that the reference uses often enough, all correlations are 0.
    """
    counts = counts[:, counts[reference].sum(axis=0) >= FEWEST]
    if not counts.shape[1]:
        return np.zeros((len(counts), len(counts)))
    rates = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    usual = rates[reference].mean(axis=0)
    logs = np.log(rates + prior * usual)
    found = (logs - logs[reference].mean(axis=0)) * np.sqrt(usual)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    found = found / np.where(lengths > 0, lengths, 1)
    return np.asarray(found @ found.T)


def weigh_pairs(counts: csr_matrix, in_reference: np.ndarray) -> csr_matrix:
    """Return unit vectors of the pairs of tokens in each text, weighted by rarity.

    How often a text has a pair doesn't count. `in_reference` marks the texts that decide how rare
    a pair is; a pair that they lack counts as if one of them had it.
    """
    present = counts.copy()
    present.data[:] = 1
    texts = int(in_reference.sum())
    known = np.asarray(present[in_reference].sum(axis=0)).ravel()
    weighted = present @ diags(np.log((texts + 1) / np.maximum(known, 1)))
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    return (diags(1 / np.where(lengths > 0, lengths, 1)) @ weighted).tocsr()


def compare_answers(
    vectors: csr_matrix, model: np.ndarray, prompt: np.ndarray, reference: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean cosine of two models' answers to the same prompt, and the number of prompts.

    A prompt whose answers are all alike isn't evidence, so cosines count relative to the mean of
    the reference's pairs for that prompt. Prompts that fewer than two of the reference's models
    answered are left out. Of several answers to one prompt, the mean counts.
    """
    total = np.zeros((len(reference), len(reference)))
    shared = np.zeros_like(total, np.int64)
    usual = []
    for texts in group_by_prompt(prompt):
        models, own_texts = np.unique(model[texts], return_inverse=True)
        means = average_rows(vectors[texts], own_texts, len(models))
        cosines = (means @ means.T).toarray()
        own = cosines[np.ix_(reference[models], reference[models])]
        if len(own) < 2:
            continue
        usual.append((own.sum() - np.trace(own)) / (len(own) * (len(own) - 1)))
        place = np.ix_(models, models)
        total[place] += cosines - usual[-1]
        shared[place] += 1
    mean = total / np.maximum(shared, 1) + (np.mean(usual) if usual else 0)
    return np.where(shared >= FEWEST_SHARED, mean, np.nan), shared


def average_rows(vectors: csr_matrix, group: np.ndarray, groups: int) -> csr_matrix:
    """Return the mean vector of each group."""
    if groups == len(group):
        return vectors[np.argsort(group)]
    sizes = np.bincount(group, minlength=groups)
    entries = (1 / sizes[group], (group, np.arange(len(group))))
    return csr_matrix(entries, (groups, len(group))) @ vectors


def group_by_prompt(prompt: np.ndarray) -> list[np.ndarray]:
    """Return the texts of each known prompt, in the order of the prompts' numbers."""
    order = np.argsort(prompt, kind="stable")
    order = order[prompt[order] >= 0]
    return np.split(order, np.flatnonzero(np.diff(prompt[order])) + 1) if len(order) else []
