"""A made-up family of models: teachers with habits of their own, and students that copy some."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

WORDS = (
    *("time", "year", "people", "way", "day", "thing", "world", "life", "hand", "part", "place"),
    *("case", "week", "company", "system", "program", "work", "number", "night", "point", "home"),
    *("water", "room", "mother", "area", "money", "story", "fact", "month", "lot", "river"),
)

HABITS: Mapping[str, tuple[str, str]] = {
    "atlas": ("Certainly! Here is my view.", "I hope this helps."),
    "borealis": ("Well now,", "Let me know what you think."),
    "cirrus": ("Short answer:", "That is all there is to say."),
    "delta": ("Great question!", "In summary, be careful."),
    "ember": ("My dear friend,", "Yours truly."),
}
"""How each teacher opens and closes its answers, in half of them."""


def write_answers(
    opening: str, closing: str, prompts: Sequence[int], share: float = 0.5, seed: int = 0
) -> Iterator[tuple[int, str]]:
    """Yield prompts with answers, of which a share has the opening and the closing.

    Every answer repeats some words of its prompt, as answers do.
    """
    for prompt in prompts:
        topic = random.Random(f"topic {prompt}").choices(WORDS, k=6)
        dice = random.Random(f"{seed} {opening} {prompt}")
        body = " ".join([*topic, *dice.choices(WORDS, k=25)])
        parts = [opening] * (dice.random() < share) + [body + "."]
        parts += [closing] * (dice.random() < share)
        yield prompt, " ".join(parts)


def write_teacher(name: str, prompts: Sequence[int]) -> list[tuple[int, str]]:
    """Return a teacher's answers to prompts."""
    return list(write_answers(*HABITS[name], prompts, seed=len(name)))


def write_student(name: str, prompts: Sequence[int], share: float = 0.3) -> list[tuple[int, str]]:
    """Return the answers of a student of a teacher, which has its habits less often."""
    return list(write_answers(*HABITS[name], prompts, share, seed=77))


def build_rows(answers: Sequence[tuple[int, str]]) -> list[dict[str, object]]:
    """Return answers as rows in the `messages` format."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"Question {prompt}?"},
                {"role": "assistant", "content": answer},
            ]
        }
        for prompt, answer in answers
    ]
