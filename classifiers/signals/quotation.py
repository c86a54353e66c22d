"""Quotation: whether a span of an answer is somebody else's words, or code."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from typing import NamedTuple

FENCE = re.compile("```")

LINE_CONTEXT = 1_000
"""The characters on each side of a span, in its line, that are searched for quotation marks."""

WRAPPER = re.compile(
    r"\s*(?:<(?P<tag>[\w-]+)>(?P<tagged>.*)</(?P=tag)>|```\w*\n(?P<fenced>.*?)\n?```)\s*\Z",
    re.DOTALL,
)
"""An answer that is enclosed as a whole in one pair of tags or one code block."""

PAIRED = (("“", "”"), ("«", "»"))
"""Quotation marks whose opening and closing characters differ."""

MARK = re.compile('"')
ESCAPED_MARK = re.compile(r'(?<!\\)(?:\\\\)*\\"')
"""A straight quotation mark inside a JSON string."""

STRING_END = re.compile(r'(?<!\\)(?:\\\\)*"')
"""The quotation mark that begins or ends a JSON string."""


class Answer(NamedTuple):
    """The properties of a whole answer: its code fences, what it is wrapped in, whether it is JSON.

    `begin` and `end` are the offsets of the text inside tags, a code block and quotation marks that
    enclose the whole answer. Being enclosed in these doesn't make text a quotation.
    """

    fences: list[int]
    begin: int
    end: int
    is_json: bool


def read_answer(text: str) -> Answer:
    """Return the properties of a text as a whole."""
    begin, end = _unwrap(text)
    is_json = _is_json(text[begin:end])
    if not is_json:
        begin, end = _strip_quotes(text, begin, end)
    return Answer(find_fences(text), begin, end, is_json)


def _unwrap(text: str) -> tuple[int, int]:
    match = WRAPPER.match(text) if text[:LINE_CONTEXT].lstrip()[:1] in ("<", "`") else None
    if match is None:
        return 0, len(text)
    name = "tagged" if match["tag"] else "fenced"
    if "```" in match[name]:
        return 0, len(text)
    return match.span(name)


def _is_json(text: str) -> bool:
    """Return whether a text is a JSON object or list; its strings are the answer's own words."""
    stripped = text.strip()
    if stripped[:1] + stripped[-1:] not in ("{}", "[]"):
        return False
    try:
        json.loads(stripped)
    except (ValueError, RecursionError):
        return False
    return True


def _strip_quotes(text: str, begin: int, end: int) -> tuple[int, int]:
    """Return the offsets inside quotation marks that enclose a whole stretch, if there are any."""
    inner = text[begin:end]
    stripped = inner.strip()
    for opening, closing in (('"', '"'), *PAIRED):
        inside = stripped[1:-1]
        encloses = stripped[:1] == opening and stripped[-1:] == closing
        if encloses and inside and opening not in inside and closing not in inside:
            first = begin + inner.index(opening) + 1
            return first, first + len(inside)
    return begin, end


def find_fences(text: str) -> list[int]:
    """Return the offsets of a text's code fences."""
    return [match.start() for match in FENCE.finditer(text)] if "```" in text else []


def is_quoted(text: str, start: int, end: int, answer: Answer | None = None) -> bool:
    """Return whether a span is in quotation marks, in a quoted line, or in code.

    Quotation marks must be a pair in the span's line, at most `LINE_CONTEXT` characters away, so
    the time for a text with many hits is proportional to its length. A mark after a letter or a
    digit doesn't open a pair: it is an inch mark or an apostrophe. A caller with many spans can
    pass the result of `read_answer`.
    """
    answer = read_answer(text) if answer is None else answer
    if not answer.is_json and bisect_left(answer.fences, start) % 2:
        return True
    head = text.rfind("\n", max(0, start - LINE_CONTEXT), start) + 1 or max(0, start - LINE_CONTEXT)
    tail = text.find("\n", end, end + LINE_CONTEXT)
    head, tail = max(head, answer.begin), tail if tail >= 0 else end + LINE_CONTEXT
    before, after = text[head:start], text[end : min(tail, answer.end)]
    if before.lstrip().startswith(">"):
        return True
    mark = MARK
    if answer.is_json:
        before, after, mark = *_cut_to_string(before, after), ESCAPED_MARK
        if before.lstrip()[:1] in ("{", "["):
            return False  # JSON inside a JSON string, such as the arguments of a tool call
    return (
        any(
            before.rfind(opening) > before.rfind(closing) and closing in after
            for opening, closing in PAIRED
        )
        or (_is_open(before, mark) and mark.search(after) is not None)
        or (before.count("`") % 2 == 1 and "`" in after)
    )


def _cut_to_string(before: str, after: str) -> tuple[str, str]:
    """Return the text before and after a span, within the JSON string that holds the span."""
    begin = max((match.end() for match in STRING_END.finditer(before)), default=0)
    end = STRING_END.search(after)
    return before[begin:], after[: end.start()] if end else after


def _is_open(before: str, mark: re.Pattern[str]) -> bool:
    """Return whether a text ends inside a pair of straight quotation marks."""
    is_open = False
    for match in mark.finditer(before):
        opens = match.start() == 0 or not before[match.start() - 1].isalnum()
        is_open = not is_open and opens
    return is_open
