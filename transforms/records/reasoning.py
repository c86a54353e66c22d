"""Reasoning in answers: `<think>` blocks, and the parts that they split a text into."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

THINKING_SIGNS = (b"<think", b"</think")
"""Bytes of which every text with a reasoning block contains at least one."""

BLOCK = re.compile(r"<(think|thinking)>(.*?)(?:</\1>|\Z)", re.DOTALL)
OPENING_TAG = re.compile(r"<think(?:ing)?>")
CLOSING_TAG = re.compile(r"</think(?:ing)?>")


class ChannelSpan(NamedTuple):
    """A part of a field that belongs to one channel; `start` is its first character's offset."""

    channel: str
    start: int
    text: str


def split_reasoning(text: str) -> list[ChannelSpan]:
    """Split a text into reasoning and answer, in order, without tags and blank parts."""
    spans, offset = [], 0
    for start, end, inner_start, inner_end in find_thinking_blocks(text):
        spans.append(ChannelSpan("answer", offset, text[offset:start]))
        spans.append(ChannelSpan("thinking", inner_start, text[inner_start:inner_end]))
        offset = end
    spans.append(ChannelSpan("answer", offset, text[offset:]))
    return [span for span in spans if span.text and not span.text.isspace()]


def find_thinking_blocks(text: str) -> Iterator[tuple[int, int, int, int]]:
    """Yield the offsets of each reasoning block: its start and end, then those inside its tags.

    A block without a closing tag extends to the end of the text, and a block without an opening tag
    begins at the start of the text. The second case has its own search, because a pattern for both
    would remember a state for every character of a long text.
    """
    closing, offset = CLOSING_TAG.search(text), 0
    if closing and not OPENING_TAG.search(text, 0, closing.start()):
        offset = closing.end()
        yield 0, offset, 0, closing.start()
    yield from ((*block.span(), *block.span(2)) for block in BLOCK.finditer(text, offset))


def find_texts_with(texts: pa.LargeStringArray, signs: Iterable[bytes]) -> list[int]:
    """Return the ascending indices of the texts that contain any of `signs`.

    The search runs over Arrow's single buffer and creates no Python string for a text.
    """
    if not len(texts):
        return []
    _, offsets, values = texts.buffers()
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    data = bytes(memoryview(values or b"")[: bounds[-1]])
    found: list[int] = []
    for sign in signs:
        offset = data.find(sign, bounds[0])
        while offset >= 0:
            index = int(np.searchsorted(bounds, offset, "right")) - 1
            if offset + len(sign) <= bounds[index + 1]:
                found.append(index)
                offset = data.find(sign, bounds[index + 1])
            else:
                offset = data.find(sign, offset + 1)
    return sorted(set(found))
