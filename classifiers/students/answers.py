"""Let a student answer prompts, greedily or by sampling."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from classifiers.students.checks import require_same_template
from classifiers.students.lessons import digest_template, fit_prompt
from classifiers.students.networks import Cache, compute_repeatably
from classifiers.students.training import Student
from classifiers.students.vocabularies import ANSWERED, ASKED, END

BATCH = 64
"""How many prompts of the same length are answered at a time."""


@dataclass(frozen=True)
class Decoding:
    """How answers are drawn. A temperature of 0 takes the likeliest token each time."""

    temperature: float = 1.0
    tokens: int = 48
    threads: int = 1


def answer_prompts(
    student: Student, prompts: Sequence[str], decoding: Decoding, seed: int
) -> list[str]:
    """Return an answer to each prompt. The same student, prompts and seed give the same answers.

    An answer ends with the token that ends it, or at the limit of tokens or of the context.

    Raises: TrialError: the student learnt another template.
    """
    asked = digest_template(student.vocabulary)
    require_same_template(student.template, asked, "the student")
    context = student.network.shape.context
    by_length = defaultdict[int, list[tuple[int, list[int]]]](list)
    for index, prompt in enumerate(prompts):
        ids = fit_prompt(student.vocabulary, prompt, context)
        by_length[len(ids)].append((index, ids))
    answers = [""] * len(prompts)
    generator = torch.Generator().manual_seed(seed)
    with compute_repeatably(decoding.threads), torch.inference_mode():
        for _, group in sorted(by_length.items()):
            for first in range(0, len(group), BATCH):
                part = group[first : first + BATCH]
                found = _continue(student, [ids for _, ids in part], decoding, generator)
                for (index, _), ids in zip(part, found, strict=True):
                    answers[index] = student.vocabulary.decode(ids)
    return answers


def _continue(
    student: Student, prompts: list[list[int]], decoding: Decoding, generator: torch.Generator
) -> list[list[int]]:
    """Return the tokens of an answer to each prompt. All prompts have the same length."""
    caches: list[Cache] = [[] for _ in student.network.blocks]
    room = student.network.shape.context - len(prompts[0])
    ids, drawn = torch.tensor(prompts), list[torch.Tensor]()
    ended = torch.zeros(len(prompts), dtype=torch.bool)
    for _ in range(min(decoding.tokens, room)):
        logits = student.network(ids, caches)[:, -1]
        ids = draw_tokens(logits, decoding.temperature, generator)
        drawn.append(ids[:, 0])
        ended |= ids[:, 0] == END
        if bool(ended.all()):
            break
    rows = torch.stack(drawn, 1).tolist() if drawn else [[] for _ in prompts]
    return [row[: row.index(END)] if END in row else row for row in rows]


def draw_tokens(
    logits: torch.Tensor, temperature: float, generator: torch.Generator
) -> torch.Tensor:
    """Draw a token for each row of logits, int64 [rows, 1]. Marks of turns are never drawn."""
    logits = logits.clone()
    logits[:, [ASKED, ANSWERED]] = float("-inf")
    if temperature == 0:
        return logits.argmax(1, keepdim=True)
    shares = torch.softmax(logits / temperature, 1)
    return torch.multinomial(shares, 1, generator=generator)
