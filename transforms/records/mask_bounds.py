"""Bounds of masks: whole sentences or words, and whole links or code blocks."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from transforms.records.sentences import LONGEST_SENTENCE, widen_hits, widen_to_sentences

WINDOW_REACH = 400
"""How far beyond a window to search for the ends of its sentences, in characters.

A window is already long, and text without sentences shouldn't be masked as a whole.
"""

LONGEST_WORD = 200
"""How far a mask grows to complete a word. Longer runs of letters aren't words."""

LONGEST_INLINE = 500
"""How far around a bound to search for a link or inline code, in characters."""

INLINE = re.compile(
    r"!?\[[^\[\]\n]{0,300}\]\([^()\s]{0,300}\)|(?<!`)(`{1,2})[^`\n]{1,200}\1(?!`)"
    r"|https?://[^\s<>]{1,300}"
)
"""A Markdown link or image, inline code, or a URL."""

FENCE = re.compile(r"^[ \t]{0,3}(```+|~~~+)[^\n]*\n?", re.MULTILINE)
"""A line that opens or closes a code block."""


class _Block(NamedTuple):
    """A code block: its bounds with the fences, and the bounds of the code."""

    start: int
    first: int
    last: int
    end: int


def find_mask_of_hits(text: str, hits: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the sentences of lexicon hits, which are given in text order."""
    return _settle(text, widen_hits(text, list(hits)))


def find_mask_of_window(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Return the mask of a window or a loop, or nothing if it is empty."""
    if not text[start:end].strip():
        return []
    start, end = trim(text, start, end)
    left, right = widen_to_sentences(text, start, end, WINDOW_REACH)
    found_start = left == 0 or left > start - WINDOW_REACH
    found_end = right == len(text) or right < end + WINDOW_REACH
    return _settle(text, [(left if found_start else start, right if found_end else end)])


def trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a span without white space at its ends."""
    if start < end <= len(text) and not (text[start].isspace() or text[end - 1].isspace()):
        return start, end  # most spans, without a copy of their text
    inside = text[start:end]
    left = start + len(inside) - len(inside.lstrip())
    return left, max(left, start + len(inside.rstrip()))


def _settle(text: str, spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Settle the bounds of spans, and join overlapping spans."""
    blocks = list(_list_blocks(text)) if "```" in text or "~~~" in text else []
    settled = []
    for span in join_spans(spans):
        start, end = _complete_inline(text, *_complete_words(text, *span))
        settled.append(trim(text, *_complete_blocks(blocks, start, end)))
    return list(join_spans(settled))


def join_spans(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield nonempty spans in text order, with overlapping spans joined."""
    last: tuple[int, int] | None = None
    for start, end in sorted(spans):
        if last is not None and start <= last[1]:
            last = last[0], max(last[1], end)
        elif end > start:
            if last is not None:
                yield last
            last = start, end
    if last is not None:
        yield last


def _complete_words(text: str, start: int, end: int) -> tuple[int, int]:
    """Widen a span to whole words."""
    first, last = max(0, start - LONGEST_WORD), min(len(text), end + LONGEST_WORD)
    left, right = start, end
    while left > first and text[left].isalnum() and text[left - 1].isalnum():
        left -= 1
    while 0 < right < last and text[right - 1].isalnum() and text[right].isalnum():
        right += 1
    return left, right


def _complete_inline(text: str, start: int, end: int) -> tuple[int, int]:
    """Widen a span to whole links and inline code."""
    for bound in (start, end):
        # searches without limits would read a text without line breaks once for every hit
        first, last = max(0, bound - LONGEST_INLINE), min(len(text), bound + LONGEST_INLINE)
        first = max(first, text.rfind("\n", first, bound) + 1)
        after = text.find("\n", bound, last)
        last = last if after < 0 else after
        near = text[first:last]
        if not ("`" in near or "](" in near or "://" in near):
            continue  # every match contains one of these; to look for them is far faster
        for match in INLINE.finditer(text, first, last):
            if match.start() < bound < match.end():
                start, end = min(start, match.start()), max(end, match.end())
    return start, end


def _list_blocks(text: str) -> Iterator[_Block]:
    """Yield every code block. A block without a closing fence ends with the text."""
    opening: re.Match[str] | None = None
    for match in FENCE.finditer(text):
        if opening is None:
            opening = match
        elif match[1].startswith(opening[1]) and not match[0].strip("`~ \t\n"):
            yield _Block(opening.start(), opening.end(), match.start(), match.end())
            opening = None
    if opening is not None:
        yield _Block(opening.start(), opening.end(), len(text), len(text))


def _complete_blocks(blocks: Sequence[_Block], start: int, end: int) -> tuple[int, int]:
    """Settle a span that covers one fence of a code block, or part of a fence.

    A short block is covered as a whole, and a long block not at all.
    """
    for bound in (start, end - 1):
        index = bisect_right(blocks, bound, key=lambda block: block.start) - 1
        block = blocks[index] if index >= 0 else _Block(0, 0, 0, 0)
        crosses = block.start <= bound < block.end
        is_inside = block.first <= start and end <= block.last
        is_around = start <= block.start and block.end <= end
        if not crosses or is_inside or is_around:
            continue
        if block.end - block.start <= LONGEST_SENTENCE:
            start, end = min(start, block.start), max(end, block.end)
        elif start <= block.start:
            end = block.start
        else:
            start = min(block.end, end)
    return start, end
