"""Masks on a chat's texts, and on the rendered characters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from transforms.records.chats import ChatTurn
from transforms.records.mask_bounds import trim
from transforms.records.tracing import Tape

STEP = re.compile(r"[.\[]")


class MaskedTexts(NamedTuple):
    """The masked characters of a chat's texts.

    `characters` and `whole` are bool arrays over the tape. `whole` marks fields that are masked as
    a whole, such as tool calls. `turns` are the paths of messages that are masked as a whole.
    `unused` counts the masks on text that isn't learnt.
    """

    characters: np.ndarray
    whole: np.ndarray
    turns: frozenset[str]
    unused: int


def find_masked_texts(
    tape: Tape, turns: Iterable[ChatTurn], masks: Sequence[Mapping[str, Any]]
) -> MaskedTexts:
    """Find the masked characters on the tape of the given turns.

    If a masked message field has no text on the tape, the whole message is masked.
    """
    paths = {turn.path for turn in turns}
    inside: dict[str, list[str]] = {}
    for name in tape.starts:
        for above in _list_above(name):
            inside.setdefault(above, []).append(name)
    characters = np.zeros(len(tape.characters), bool)
    whole, messages, unused = characters.copy(), set[str](), 0
    for mask in masks:
        path = mask["field_path"]
        below = inside.get(path, [])
        if path in tape.starts:
            # Many tokenizers put the space before a word into the word's token.
            start, end = trim(tape.texts[path], mask["start"], mask["end"])
            characters[tape.starts[path] + start : tape.starts[path] + end] = True
        elif below:
            for name in below:
                own = slice(tape.starts[name], tape.starts[name] + len(tape.texts[name]))
                characters[own] = whole[own] = True
        elif owners := paths.intersection(_list_above(path)):
            messages.update(owners)
        else:
            unused += 1
    return MaskedTexts(characters, whole, frozenset(messages), unused)


def mask_turn(turn: ChatTurn, origins: np.ndarray, found: MaskedTexts) -> np.ndarray:
    """Return which characters of a rendered turn are masked.

    `origins` holds each character's tape index, or -1 for the template's own text. Such text is
    masked between two masked texts, or beside a field that is masked as a whole.
    """
    if turn.path in found.turns:
        return np.ones(len(origins), bool)
    known = origins >= 0
    masked = known & found.characters[origins]
    whole = known & found.whole[origins]
    positions = np.arange(len(origins))
    before = np.maximum.accumulate(np.where(known, positions, -1))
    after = np.minimum.accumulate(np.where(known, positions, len(origins))[::-1])[::-1]
    left, right = (np.append(values, False) for values in (masked, whole))
    between = left[before] & left[after]
    beside = right[before] | right[after]
    result: np.ndarray = np.where(known, masked, between | beside)
    return result


def _list_above(path: str) -> list[str]:
    """Return the paths of everything that contains what a path leads to."""
    return [path[: step.start()] for step in STEP.finditer(path) if step.start()]
