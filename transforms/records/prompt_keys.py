"""Prompt keys: when two records ask the same, and how far apart two questions are."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from schemas.digests import digest_config, normalise_text
from transforms.records.json_texts import replace_surrogates
from transforms.records.prompts import Prompt

SHINGLE = 3
"""The number of words in an n-gram."""

WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\W_]+")
"""A word, or a single character of a script without spaces."""

DISTANCE_DECIMALS = 4


class PromptKey(NamedTuple):
    """A prompt's canonical form.

    `whole` is a digest of all messages and tools. `before` is one of everything but the text of the
    last message, which is `asked`.
    """

    whole: str
    before: str
    asked: str


def build_key(prompt: Prompt) -> PromptKey | None:
    """Return a prompt's key, or None if a part of the prompt isn't text or nothing is asked.

    Texts are compared in NFC, and any white space counts as one space. Roles, names and tool calls
    count, but not the ids of calls.
    """
    if prompt.missing or not prompt.messages:
        return None
    messages = [_canonicalise(message) for message in prompt.messages]
    last = messages[-1]
    rest = {name: value for name, value in last.items() if name != "content"}
    before = [*messages[:-1], rest, prompt.tools]
    return PromptKey(
        digest_config([messages, prompt.tools]), digest_config(before), last["content"]
    )


def _canonicalise(message: Mapping[str, Any]) -> dict[str, Any]:
    calls = [call["function"] for call in message.get("tool_calls", ())]
    return {
        "role": message["role"],
        "content": squeeze(message["content"] or ""),
        **({"name": message["name"]} if "name" in message else {}),
        **({"calls": calls} if calls else {}),
    }


def squeeze(text: str) -> str:
    """Return a text in NFC with single spaces instead of any white space."""
    return " ".join(normalise_text(replace_surrogates(text)).split())


def cut_shingles(text: str) -> frozenset[str]:
    """Return a text's word 3-grams in lower case. A shorter text is one n-gram."""
    words = WORD.findall(text.lower())
    if len(words) <= SHINGLE:
        return frozenset([" ".join(words)]) if words else frozenset()
    return frozenset(" ".join(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1))


class NearPrompts:
    """An inverted index of prompts, which finds those within a distance exactly.

    Two prompts can only be near if their keys agree in everything but the last message's text.
    """

    def __init__(self, keys: Iterable[PromptKey], farthest: float) -> None:
        self._farthest = farthest
        self._keys = sorted(set(keys))
        self._shingles = [cut_shingles(key.asked) for key in self._keys]
        self._sizes = np.array([len(item) for item in self._shingles], np.int64)
        found: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for number, (key, shingles) in enumerate(zip(self._keys, self._shingles, strict=True)):
            for shingle in shingles:
                found[key.before, shingle].append(number)
        self._places = {name: np.array(numbers) for name, numbers in found.items()}

    def find(self, key: PromptKey) -> Iterator[tuple[str, float]]:
        """Yield the `whole` digest of each near prompt except the same one, and the distance."""
        shingles = cut_shingles(key.asked)
        lists = (self._places.get((key.before, shingle)) for shingle in shingles)
        places = [numbers for numbers in lists if numbers is not None]
        if not places:
            return
        numbers, shared = np.unique(np.concatenate(places), return_counts=True)
        similarity = shared / (self._sizes[numbers] + len(shingles) - shared)
        distances = np.round(1 - similarity, DISTANCE_DECIMALS)
        for number, distance in zip(numbers.tolist(), distances.tolist(), strict=True):
            other = self._keys[number]
            if distance <= self._farthest and other.whole != key.whole:
                yield other.whole, distance
