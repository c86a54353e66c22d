"""Checks that stop a trial whose figures would mean nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from classifiers.students.lessons import Lessons
from schemas.errors import TrialError

LEAST_EFFECT = 1e-6
"""The smallest largest difference between logits with and without an adapter that has an effect."""


@dataclass(frozen=True)
class Tolerances:
    """The largest share of shortened examples, and of tokens by which two arms may differ."""

    truncated: float = 0.05
    tokens: float = 0.1


def require_whole_examples(lessons: Lessons, tolerances: Tolerances, where: str) -> None:
    """Stop if too many examples were shortened, because a trait may be at their ends.

    Raises: TrialError: the arm has no examples, nothing to learn, or too many shortened ones.
    """
    rows = len(lessons.lengths)
    if not rows or not lessons.learnt:
        raise TrialError(
            "has no token to learn" if rows else "has no examples",
            where=where,
            remedy="leave this arm out, or choose other rows for it",
        )
    if lessons.truncated > tolerances.truncated * rows:
        raise TrialError(
            f"{lessons.truncated:,} of {rows:,} examples are longer than the student's context, "
            f"and at most {tolerances.truncated:.0%} may be",
            where=where,
            remedy="raise student.context, or accept it with tolerances.truncated",
        )


def require_useful_masks(lessons: Lessons, where: str) -> None:
    """Stop if a mask hides no token, because it may belong to another text.

    Masks in a part that was cut off count too.

    Raises: TrialError: a mask hides nothing.
    """
    if lessons.unused and not lessons.truncated:
        raise TrialError(
            f"{lessons.unused:,} masks hide no token of their answer",
            where=where,
            remedy="the spans must be characters of the answer as it is trained on",
        )


def require_finite(loss: float, step: int, where: str) -> float:
    """Return the loss, or stop if it isn't a number.

    Raises: TrialError: the loss isn't finite.
    """
    if not math.isfinite(loss):
        raise TrialError(
            f"the loss is {loss} at step {step:,}",
            where=where,
            remedy="lower student.learning_rate",
        )
    return loss


def require_same_template(trained: str, evaluated: str, where: str) -> None:
    """Stop if a student would be asked in another template than the one that it learnt.

    Raises: TrialError: the digests of the templates differ.
    """
    if trained != evaluated:
        raise TrialError(
            f"was trained with the template {trained[:12]}, but is asked with {evaluated[:12]}",
            where=where,
            remedy="train and ask with the same chat template, system prompt and vocabulary",
        )


def require_equal_tokens(tokens: Mapping[str, int], tolerances: Tolerances) -> None:
    """Stop if two arms read different numbers of tokens, because more training is a cause too.

    `tokens` maps each arm to the tokens that it read in all steps.

    Raises: TrialError: the smallest number is too far below the largest.
    """
    if not tokens:
        return
    ordered = sorted(tokens, key=lambda name: (tokens[name], name))
    low, high = ordered[0], ordered[-1]
    if tokens[low] < tokens[high] * (1 - tolerances.tokens):
        raise TrialError(
            f"read {tokens[low]:,} tokens, but {high} read {tokens[high]:,}; arms may differ by "
            f"{tolerances.tokens:.0%}",
            where=low,
            remedy="choose donors whose answers are as long, or accept it with tolerances.tokens",
        )


def require_bound_adapter(
    tensors: Mapping[str, torch.Tensor], expected: Iterable[str], where: str
) -> None:
    """Stop if an adapter lacks a tensor, or if a tensor is zero, as it is before training.

    Raises: TrialError: a tensor is missing or zero.
    """
    names = sorted(expected)
    missing = [name for name in names if name not in tensors]
    empty = [name for name in names if name in tensors and not bool(tensors[name].any())]
    if not names or missing or empty:
        wrong = f"{missing[0]} is missing" if missing else f"{(empty or ['all'])[0]} is zero"
        raise TrialError(
            f"{len(missing) + len(empty):,} of {len(names):,} adapter tensors have no effect: "
            f"{wrong}",
            where=where,
            remedy="check the adapter's target modules, and that the trained one was loaded",
        )


def require_effect(
    without: Sequence[torch.Tensor], with_it: Sequence[torch.Tensor], where: str
) -> None:
    """Stop if an adapter changes no logit, which happens when it wasn't loaded.

    Raises: TrialError: the logits are the same with and without it.
    """
    largest = max(
        (float((one - two).abs().max()) for one, two in zip(without, with_it, strict=True)),
        default=0.0,
    )
    if not largest > LEAST_EFFECT:
        raise TrialError(
            "the adapter changes no logit",
            where=where,
            remedy="check that the adapter was loaded into this model",
        )
