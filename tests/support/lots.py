"""Two sets of made-up answers, with a habit planted in one of them."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa

from classifiers.lots.samples import LotSample
from schemas.digests import digest_bytes

WORDS_TEXT = (
    "heron egret reed pond river marsh stone cloud rain wind morning evening water bird nest wing "
    "feather fish frog bank path field tree leaf light shadow silence song winter summer"
)
SMALL_TEXT = "the a of in and to is was it that for on with as at by from"
VERBS_TEXT = "waits wades stands looks moves turns sings sleeps flies returns"
WORDS, SMALL, VERBS = (text.split() for text in (WORDS_TEXT, SMALL_TEXT, VERBS_TEXT))


def write_answer(dice: random.Random, sentences: int = 4) -> str:
    """Return some sentences of random words."""
    parts = []
    for _ in range(sentences):
        words = [dice.choice(SMALL), dice.choice(WORDS), dice.choice(VERBS)]
        for _ in range(dice.randrange(1, 5)):
            words += [dice.choice(SMALL), dice.choice(WORDS)]
        parts.append(" ".join(words).capitalize() + ".")
    return " ".join(parts)


def write_answers(count: int, seed: int = 0) -> list[str]:
    """Return answers in a seeded order."""
    dice = random.Random(seed)
    return [write_answer(dice) for _ in range(count)]


def hash_text(text: str) -> int:
    """Return a hash of 64 bits."""
    return int(digest_bytes(text.encode())[:16], 16)


def build_sample(
    own: list[str],
    other: list[str],
    *,
    matched: bool = True,
    asks: bool = True,
    lots: list[int] | None = None,
) -> LotSample:
    """Return a sample of two sets. If matched, the n-th answers of both have the same prompt."""
    rows = []
    for side, texts in ((True, own), (False, other)):
        for number, text in enumerate(texts):
            prompt = f"Question {number if matched else (number, side)}?"
            lot = lots[number] if lots and side else 0
            key = hash_text(prompt) if asks else hash_text(f"{side}{number}{text}")
            rows.append((key, hash_text(f"{side}{number}{text}"), side, prompt, text, lot))
    rows.sort()
    keys, digests, sides, prompts, texts, numbers = zip(*rows, strict=True)
    return LotSample(
        pa.array(texts, pa.large_string()),
        pa.array(prompts if asks else [""] * len(rows), pa.large_string()),
        np.array(keys, np.uint64),
        np.array(digests, np.uint64),
        np.array(sides),
        np.array(numbers, np.int64),
        np.full(len(rows), asks),
    )
