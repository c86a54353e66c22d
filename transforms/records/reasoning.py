"""Reasoning in answers: blocks between marks such as `<think>`, and the answer."""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

FINAL = r"(?:<\|start\|>assistant)?<\|channel\|>final<\|message\|>"
"""The mark at the start of gpt-oss's answer."""

END = "<|end|>"

MODEL_MARKS = (
    *((rf"<{tag}>", rf"</{tag}>") for tag in ("think", "thinking", "seed:think")),
    (r"\[THINK\]", r"\[/THINK\]"),
    (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),
    ("◁think▷", "◁/think▷"),
    (r"<unused94>thought\n?", "<unused95>"),
    (
        r"(?:<\|start\|>assistant)?<\|channel\|>analysis<\|message\|>",
        rf"(?:<\|end\|>)?{FINAL}|<\|end\|>",
    ),
)
"""The marks of reasoning models.

The template may hold the opening mark, and the text may end before the closing mark.
"""

PROMPTED_TAGS = (
    *("thought", "thoughts", "reasoning", "scratchpad", "inner_monologue"),
    *("chain_of_thought", "cot", "antthinking"),
)
"""Tags that prompts ask for. An unpaired tag is just a word, unless it begins a text."""

MARKS = (*MODEL_MARKS, *((rf"<{tag}>", rf"</{tag}>") for tag in PROMPTED_TAGS))

MARK = re.compile(
    # checking the first character first is several times as fast
    r"(?=[<\[◁])(?:"
    + "|".join(f"(?P<o{code}>{one})|(?P<c{code}>{two})" for code, (one, two) in enumerate(MARKS))
    + ")",
    re.IGNORECASE,
)

THINKING_SIGNS = (
    re.compile(
        rb"<(?:/?(?i:think|seed:|thought|reasoning|scratchpad|inner_|chain_|cot|antth)"
        rb"|\|(?i:begin_of_th|end_of_th|start_th|end_th|channel|start\|)|(?i:unused9))"
    ),
    re.compile(rb"\[/?(?i:THINK)\]"),
    re.compile(b"\xe2\x97\x81/?(?i:think)"),
)
"""Byte patterns, at least one of which matches every text with reasoning."""

ANSWER_TAGS = ("answer", "final_answer", "solution", "response", "output")

OPENING_OF_ANSWER = re.compile(
    rf"\s*(?:<(?:{'|'.join(ANSWER_TAGS)})>|<\|(?:begin_of_solution|START_RESPONSE)\|>|{FINAL})",
    re.IGNORECASE,
)
CLOSING_OF_ANSWER = re.compile(
    rf"(?:</(?:{'|'.join(ANSWER_TAGS)})>|<\|(?:end_of_solution|END_RESPONSE|return|end)\|>)\s*\Z",
    re.IGNORECASE,
)
LONGEST_CLOSING = 99
"""How many characters at an answer's end are searched for its closing mark."""


class _Mark(NamedTuple):
    """A mark in a text: whether it opens a block, its index in `MARKS`, and its offsets."""

    opens: bool
    code: int
    start: int
    end: int

    @classmethod
    def decode(cls, mark: re.Match[str]) -> _Mark:
        """Return the mark of a match of `MARK`."""
        name = str(mark.lastgroup)
        return cls(name[0] == "o", int(name[1:]), *mark.span())

    def closes_model(self, text: str) -> bool:
        """Return whether this mark alone proves a block.

        `<|end|>` proves nothing, since it also ends other models' turns.
        """
        model = not self.opens and self.code < len(MODEL_MARKS)
        return model and text[self.start : self.end].lower() != END


class ChannelSpan(NamedTuple):
    """A part of a field in one channel.

    `start` is the first character's offset.
    """

    channel: str
    start: int
    text: str


def split_reasoning(text: str) -> list[ChannelSpan]:
    """Split a text into reasoning and answer, in order, without marks or blank parts."""
    spans, offset = [], 0
    for start, end, inner_start, inner_end in find_thinking_blocks(text):
        spans.append(ChannelSpan("answer", offset, text[offset:start]))
        spans.append(ChannelSpan("thinking", inner_start, text[inner_start:inner_end]))
        offset = end
    spans.append(ChannelSpan("answer", offset, text[offset:]))
    if offset:
        spans = [_unwrap(span) if span.channel == "answer" else span for span in spans]
    return [span for span in spans if span.text and not span.text.isspace()]


def _unwrap(span: ChannelSpan) -> ChannelSpan:
    """Strip marks such as `<answer>` around an answer with reasoning."""
    opening = OPENING_OF_ANSWER.match(span.text)
    begin = opening.end() if opening else 0
    closing = CLOSING_OF_ANSWER.search(span.text, max(begin, len(span.text) - LONGEST_CLOSING))
    whole = closing and (opening or closing.group().startswith("<|"))
    end = closing.start() if closing and whole else len(span.text)
    return ChannelSpan(span.channel, span.start + begin, span.text[begin:end])


def find_thinking_blocks(text: str) -> Iterator[tuple[int, int, int, int]]:
    """Yield the bounds of each reasoning block, and then of its content.

    A model's block without a closing mark extends to the end of the text. A block without an
    opening mark begins at the start of the text, or after the previous mark.
    """
    marks = [_Mark.decode(mark) for mark in MARK.finditer(text)]
    if marks and marks[0].closes_model(text):
        yield 0, marks[0].end, 0, marks[0].start
        marks[0] = marks[0]._replace(code=-1)
    closings: dict[int, list[int]] = {}
    for index, mark in enumerate(marks):
        if not mark.opens:
            closings.setdefault(mark.code, []).append(index)
    after = 0
    for index, mark in enumerate(marks):
        if index < after or not mark.opens:
            continue
        same = closings.get(mark.code, [])
        position = bisect(same, index)
        if position < len(same):
            after = same[position] + 1
            yield mark.start, marks[after - 1].end, mark.end, marks[after - 1].start
        elif mark.code < len(MODEL_MARKS) or (not index and not text[: mark.start].strip()):
            yield mark.start, len(text), mark.end, len(text)
            return


def find_texts_with(texts: pa.LargeStringArray, signs: Iterable[re.Pattern[bytes]]) -> list[int]:
    """Return the ascending indices of the texts that match any of `signs`.

    The search runs over Arrow's buffer and creates no Python strings.
    """
    if not len(texts):
        return []
    _, offsets, values = texts.buffers()
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    data = memoryview(values or b"")[: bounds[-1]]
    found: list[int] = []
    for sign in signs:
        match = sign.search(data, int(bounds[0]))
        while match:
            index = int(np.searchsorted(bounds, match.start(), "right")) - 1
            inside = match.end() <= bounds[index + 1]
            if inside:
                found.append(index)
            match = sign.search(data, int(bounds[index + 1]) if inside else match.start() + 1)
    return sorted(set(found))
