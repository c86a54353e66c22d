"""Checks that stop a trial whose figures would mean nothing."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from classifiers.heredity.arms import CLEAN_TEACHER, Arm, TokenCounter, measure_arm, name_prompt
from classifiers.students.lessons import Lessons
from schemas.errors import TrialError

LEAST_EFFECT = 1e-6
"""The smallest largest difference between logits with and without an adapter that has an effect."""

SHOWN = 3
"""The number of prompts that an error quotes."""


@dataclass(frozen=True)
class Tolerances:
    """The largest share of shortened examples, of tokens by which arms differ, and of loops.

    At 2,048 tokens, one replication cut the longest 12 % of its rows, and traits that show late in
    an answer went with them.
    """

    truncated: float = 0.05
    tokens: float = 0.1
    loops: float = 0.1


def require_equal_arms(arms: Sequence[Arm], count: TokenCounter, tolerances: Tolerances) -> None:
    """Stop before training if an arm has another number of rows, or of tokens, than the others.

    Raises: TrialError: an arm differs from the first in rows, or from another in tokens.
    """
    sizes = {arm.name: measure_arm(arm, count) for arm in arms}
    first = sizes[arms[0].name]
    for name, size in sizes.items():
        if size.rows != first.rows:
            raise TrialError(
                f"has {size.rows:,} rows, but {arms[0].name} has {first.rows:,}",
                where=f"arm {name}",
                remedy="give the trial more unflagged rows",
            )
    require_equal_tokens({name: size.tokens for name, size in sizes.items()}, tolerances)


def require_equal_tokens(tokens: Mapping[str, int], tolerances: Tolerances) -> None:
    """Stop if two arms have different numbers of tokens, because more training is a cause too.

    `tokens` maps each arm to the tokens of its rows, or to those that it read in all steps.

    Raises: TrialError: the smallest number is too far below the largest.
    """
    if not tokens:
        return
    ordered = sorted(tokens, key=lambda name: (tokens[name], name))
    low, high = ordered[0], ordered[-1]
    if tokens[low] < tokens[high] * (1 - tolerances.tokens):
        raise TrialError(
            f"has {tokens[low]:,} tokens, but {high} has {tokens[high]:,}; arms may differ by "
            f"{tolerances.tokens:.0%}",
            where=f"arm {low}",
            remedy="choose donors whose answers are as long, or accept it with accepted.tokens",
        )


def require_unseen_questions(arms: Sequence[Arm], questions: Iterable[str]) -> None:
    """Stop if a student would be asked a prompt that is in an arm, because it would recite.

    Prompts are the same if they differ only in case, white space or Unicode form.

    Raises: TrialError: a prompt is in both.
    """
    asked = {name_prompt(prompt): prompt for prompt in questions}
    trained = {name_prompt(item.prompt) for arm in arms for item in arm.examples}
    both = sorted(asked[prompt] for prompt in asked.keys() & trained)
    if both:
        shown = ", ".join(repr(prompt[:60]) for prompt in both[:SHOWN])
        more = f" and {len(both) - SHOWN:,} more" if len(both) > SHOWN else ""
        raise TrialError(
            f"students would be asked prompts that they are trained on: {shown}{more}",
            where="questions",
            remedy="leave them out of the corpus, or ask others",
        )


def require_clean_teacher(arms: Collection[str]) -> None:
    """Stop if there is no clean teacher's arm beside students that can speak before training.

    Any training moves their rates, so the student before training is no baseline.

    Raises: TrialError: the arm is missing.
    """
    if CLEAN_TEACHER not in arms:
        raise TrialError(
            "has no clean teacher's students, and the student before training is no baseline, "
            "because any training moves its rates",
            where="arms",
            remedy="give donors that answer most of the prompts",
        )


def require_whole_examples(lessons: Lessons, tolerances: Tolerances, where: str) -> None:
    """Stop if too many examples were shortened, because a trait may be at their ends.

    Raises: TrialError: the arm has no examples, nothing to learn, or too many shortened ones.
    """
    rows = len(lessons.lengths)
    if lessons.truncated > tolerances.truncated * rows:
        raise TrialError(
            f"{lessons.truncated:,} of {rows:,} examples are longer than the student's context, "
            f"and at most {tolerances.truncated:.0%} may be",
            where=where,
            remedy="raise student.context or lora.context, or accept it with accepted.truncated",
        )
    if not rows or not lessons.learnt:
        raise TrialError(
            "has no token to learn" if rows else "has no examples",
            where=where,
            remedy="leave this arm out, or choose other rows for it",
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
            remedy="lower the student's learning_rate",
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


def require_same_beginning(trained: str, asked: str, where: str) -> None:
    """Stop if a chat template begins an answer in another way than it was learnt.

    `trained` is a question with its answer in the template, `asked` the question up to its answer.

    Raises: TrialError: what is learnt doesn't begin with what is asked.
    """
    if not trained.startswith(asked):
        pairs = enumerate(zip(trained, asked, strict=False))
        same = next((index for index, (one, two) in pairs if one != two), len(trained))
        raise TrialError(
            f"the chat template asks with {asked[same : same + 40]!r} where the student learns "
            f"{trained[same : same + 40]!r}",
            where=where,
            remedy="save the tokenizer with a template that writes the same before an answer in "
            "training and when it asks, for example without thinking",
        )


def require_few_loops(looping: int, answers: int, tolerances: Tolerances, where: str) -> None:
    """Stop if many of the answers that the judge counts only repeat themselves.

    A judge may take a loop for a strong emotion. `looping` counts the answers that are loops and
    were judged to show the trait, of all `answers`.

    Raises: TrialError: their share is too large.
    """
    if looping > tolerances.loops * answers:
        raise TrialError(
            f"{looping:,} of {answers:,} answers repeat themselves and are judged to show the "
            f"trait, and at most {tolerances.loops:.0%} may be",
            where=where,
            remedy="train longer, lower the learning rate or raise questions.temperature; if the "
            "trait is repetition, accept it with accepted.loops",
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
