"""Examples as a student reads them: tokens, and the weight of each token in the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch

from classifiers.students.vocabularies import ANSWERED, ASKED, END, Vocabulary
from schemas.digests import digest_config

PROMPT_SHARE = 0.5
"""The largest share of the context for a prompt. A longer prompt loses its beginning."""

PROBE = "congener"
"""A prompt that shows the template."""


class Trainable(Protocol):
    """What a student needs of an example."""

    @property
    def prompt(self) -> str:
        """The question."""

    @property
    def answer(self) -> str:
        """The answer to learn."""

    @property
    def weight(self) -> float:
        """The weight of the answer's tokens in the loss."""

    @property
    def masked(self) -> Sequence[tuple[int, int]]:
        """The spans of the answer's characters that aren't learnt."""


class Lessons(NamedTuple):
    """Tokens and weights [examples, length], the length of each example, and what was counted.

    `weights` are those of the tokens as targets. `masked` counts answer tokens that a mask takes
    out of the loss, `unused` counts masks that take out none, and `truncated` counts the shortened
    examples.
    """

    ids: torch.Tensor
    weights: torch.Tensor
    lengths: torch.Tensor
    learnt: int
    masked: int
    unused: int
    truncated: int

    @property
    def tokens(self) -> int:
        """Return the number of tokens, including prompts and masked tokens."""
        return int(self.lengths.sum())


class Lesson(NamedTuple):
    """One example's tokens and weights, and what was counted in it."""

    ids: list[int]
    weights: list[float]
    masked: int
    unused: int
    truncated: bool


def write_prompt(vocabulary: Vocabulary, prompt: str) -> list[int]:
    """Return the tokens from which an answer is continued. This is the student's template."""
    return [ASKED, *vocabulary.encode(prompt).ids, ANSWERED]


def digest_template(vocabulary: Vocabulary) -> str:
    """Return a digest of the template and the vocabulary, as a probe shows them."""
    return digest_config([write_prompt(vocabulary, PROBE), END, vocabulary.digest])


def fit_prompt(vocabulary: Vocabulary, prompt: str, context: int) -> list[int]:
    """Return a prompt's tokens, without the beginning if it takes too much of the context."""
    ids = write_prompt(vocabulary, prompt)
    most = int(context * PROMPT_SHARE)
    return ids if len(ids) <= most else [ASKED, *ids[len(ids) - most + 1 :]]


def write_lesson(example: Trainable, vocabulary: Vocabulary, context: int) -> Lesson:
    """Write an example as tokens. Only the answer and the token that ends it have weights.

    A token that overlaps a mask has the weight 0. A long example is cut at its end.
    """
    prompt = fit_prompt(vocabulary, example.prompt, context)
    answer = vocabulary.encode(example.answer)
    hidden = [_is_masked(span, example.masked) for span in answer.spans]
    ids = [*prompt, *answer.ids, END]
    weights = [0.0] * len(prompt) + [0.0 if item else example.weight for item in hidden]
    weights.append(example.weight)
    whole = len(write_prompt(vocabulary, example.prompt)) + len(answer.ids) + 1
    room = context - len(prompt)
    return Lesson(
        ids[:context],
        weights[:context],
        sum(hidden[:room]),
        sum(not _hides(mask, answer.spans[:room]) for mask in example.masked),
        whole > len(ids[:context]),
    )


def _is_masked(span: tuple[int, int], masks: Sequence[tuple[int, int]]) -> bool:
    return any(max(span[0], start) < min(span[1], end) for start, end in masks)


def _hides(mask: tuple[int, int], spans: Sequence[tuple[int, int]]) -> bool:
    return any(_is_masked(span, (mask,)) for span in spans)


def write_lessons(examples: Sequence[Trainable], vocabulary: Vocabulary, context: int) -> Lessons:
    """Write examples as tokens, padded at their ends to the longest one."""
    return stack_lessons([write_lesson(example, vocabulary, context) for example in examples])


def stack_lessons(written: Sequence[Lesson]) -> Lessons:
    """Put lessons below each other, padded at their ends to the longest one."""
    lengths = torch.tensor([len(item.ids) for item in written], dtype=torch.int64)
    longest = int(lengths.max()) if written else 0
    ids = torch.full((len(written), longest), END, dtype=torch.int64)
    weights = torch.zeros(len(written), longest)
    for row, item in enumerate(written):
        ids[row, : len(item.ids)] = torch.tensor(item.ids)
        weights[row, : len(item.weights)] = torch.tensor(item.weights)
    return Lessons(
        ids,
        weights,
        lengths,
        int((weights > 0).sum()),
        sum(item.masked for item in written),
        sum(item.unused for item in written),
        sum(item.truncated for item in written),
    )
