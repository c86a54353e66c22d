"""Quotation: whether a span of an answer is somebody else's words or code."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

FENCE = re.compile(r"```|^[ \t]*~~~", re.MULTILINE)

LINE_CONTEXT = 1_000
"""The search for quotation marks stays within a span's line and this many characters."""

WRAPPER = re.compile(
    r"\s*(?:<(?P<tag>[\w-]+)>(?P<tagged>.*)</(?P=tag)>|```\w*\n(?P<fenced>.*?)\n?```)\s*\Z",
    re.DOTALL,
)
"""An answer inside one pair of tags or one code block."""

PAIRED = (
    *(("“", "”"), ("„", "“"), ("„", "”"), ("«", "»"), ("‹", "›"), ("‚", "‘")),
    *(("「", "」"), ("『", "』"), ("``", "''")),
    *((f"<{tag}>", f"</{tag}>") for tag in ("code", "pre", "blockquote", "q")),
)
"""Tags and quotation marks with different opening and closing forms."""

REVERSED = ("»", "«")
"""Guillemets that point inwards, as in German and Danish."""

MARK = re.compile('"|&quot;')
CURLY_MARK = re.compile("”")
OPENING_SIGNS = '"“”„«»‹›‚「『`<&'
"""A character of every opening mark except single quotation marks."""

ESCAPED_MARK = re.compile(r'(?<!\\)(?:\\\\)*\\"')
"""An escaped quotation mark inside a JSON string."""

# Each pattern begins with its mark, which `re` finds quickly, and then checks the text before it.
SINGLE_OPENING = re.compile(
    r"'(?<![\w']')(?=[^\W\d])(?!(?:tis|twas|em|til|cause|bout|n)\b)|‘", re.IGNORECASE
)
SINGLE_CLOSING = re.compile(r"['’](?<=[\w.,!?…)]['’])(?![\w'])")
"""A closing single mark at the end of a word. Marks inside words are apostrophes."""

STRING_END = re.compile(r'(?<!\\)(?:\\\\)*"')
"""The quotation mark that begins or ends a JSON string."""

JSON_OPENING = re.compile(r"[{\[]\s*[\"{\[]")
RECORD_OPENING = re.compile(r"\s*[{\[]\s*(?:\{\s*)?[\"']")
"""The start of an answer that is a JSON or Python record, even a damaged record."""

JSON_SEPARATOR = re.compile(r"[\s,]*")

MOST_OPENINGS = 20
"""How many brackets in an answer are tried as the start of JSON."""

JSON_SHARE = 0.5
"""An answer with more than this share of JSON counts as JSON."""


class Answer(NamedTuple):
    """A whole answer's code fences, enclosure and JSON.

    `begin` and `end` bound the text inside tags, a code block or quotation marks around the whole
    answer. Such an enclosure isn't a quotation. `json_begin` and `json_end` bound the answer's
    JSON, and are equal without JSON.
    """

    fences: list[int]
    begin: int
    end: int
    json_begin: int = 0
    json_end: int = 0

    @property
    def is_json(self) -> bool:
        """Return whether the answer is JSON. Strings in JSON aren't quotations."""
        return self.json_end > self.json_begin


def read_answer(text: str) -> Answer:
    """Return the properties of a whole answer."""
    begin, end = _unwrap(text)
    found = _find_json(text, begin, end)
    if found is None:
        return Answer(find_fences(text), *_strip_quotes(text, begin, end))
    return Answer(find_fences(text), begin, end, *found)


def _unwrap(text: str) -> tuple[int, int]:
    match = WRAPPER.match(text) if text[:LINE_CONTEXT].lstrip()[:1] in ("<", "`") else None
    if match is None:
        return 0, len(text)
    name = "tagged" if match["tag"] else "fenced"
    if "```" in match[name]:
        return 0, len(text)
    return match.span(name)


def _find_json(text: str, begin: int, end: int) -> tuple[int, int] | None:
    """Return the bounds of JSON that fills most of a stretch of text, or None.

    Incomplete or broken JSON counts only at the start of the stretch.
    """
    if "{" not in text and "[" not in text:
        return None
    needed = JSON_SHARE * len(text[begin:end].strip())
    for first, last in _list_json(text, begin, end):
        if last - first > needed:
            return first, last
    opening = RECORD_OPENING.match(text, begin, end)
    return (begin, end) if opening else None


def _list_json(text: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the bounds of each run of outermost JSON objects and lists."""
    decoder, after = json.JSONDecoder(), begin
    for _ in range(MOST_OPENINGS):
        opening = JSON_OPENING.search(text, after, end)
        if opening is None:
            return
        first = after = opening.start()
        while after < end and text[after] in "{[":
            try:
                _, last = decoder.raw_decode(text, after)
            except (ValueError, RecursionError):
                break
            after = _skip(JSON_SEPARATOR, text, last)
        else:
            last = after
        if after > first:
            yield first, min(after, end)
        after = max(after, first + 1)


def _skip(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start)
    return match.end() if match else start


def _strip_quotes(text: str, begin: int, end: int) -> tuple[int, int]:
    """Return the bounds of a stretch without enclosing quotation marks."""
    inner = text[begin:end]
    stripped = inner.strip()
    for opening, closing in (('"', '"'), ("'", "'"), ("‘", "’"), *PAIRED):
        if not (stripped.startswith(opening) and stripped.endswith(closing)):
            continue
        inside = stripped[len(opening) : -len(closing)]
        if inside and not _has_mark(inside, opening, closing):
            first = begin + inner.index(opening) + len(opening)
            return first, first + len(inside)
    return begin, end


def _has_mark(text: str, opening: str, closing: str) -> bool:
    """Return whether a text contains either mark of a pair, apart from apostrophes."""
    if opening in "'‘":
        return bool(SINGLE_OPENING.search(text) or SINGLE_CLOSING.search(text))
    return opening in text or closing in text


def find_fences(text: str) -> list[int]:
    """Return the offsets of a text's code fences."""
    fenced = "```" in text or "~~~" in text
    return [match.start() for match in FENCE.finditer(text)] if fenced else []


def is_quoted(text: str, start: int, end: int, answer: Answer | None = None) -> bool:
    """Return whether a span is in quotation marks, in a quoted line, or in code.

    Both marks must be in the span's line, within `LINE_CONTEXT` characters, which limits the time
    for each span. A mark after a letter or a digit is an inch mark or an apostrophe and opens
    nothing. For many spans, pass the result of `read_answer`.
    """
    answer = read_answer(text) if answer is None else answer
    in_json = answer.json_begin <= start < answer.json_end
    if not in_json and bisect_left(answer.fences, start) % 2:
        return True
    head = text.rfind("\n", max(0, start - LINE_CONTEXT), start) + 1 or max(0, start - LINE_CONTEXT)
    tail = text.find("\n", end, end + LINE_CONTEXT)
    head, tail = max(head, answer.begin), tail if tail >= 0 else end + LINE_CONTEXT
    before, after = text[head:start], text[end : min(tail, answer.end)]
    if before.lstrip().startswith(">"):
        return True
    if not in_json:
        first, last = text[start : start + 1], text[end - 1 : end]
        return _is_between(before, after, MARK) or _is_between_single(before + first, last + after)
    before, after = _cut_to_string(before, after)
    if before.lstrip()[:1] in ("{", "["):
        return False  # JSON inside a JSON string, such as the arguments of a tool call
    return _is_between(before, after, ESCAPED_MARK)


def _is_between(before: str, after: str, mark: re.Pattern[str]) -> bool:
    """Return whether a span is inside a pair of marks, from the text around it."""
    if not any(map(before.__contains__, OPENING_SIGNS)):  # most texts quote nothing
        return False
    return (
        any(
            before.rfind(opening) > before.rfind(closing) and closing in after
            for opening, closing in _list_pairs(before)
        )
        or (_is_open(before, mark) and mark.search(after) is not None)
        or (before.count("`") % 2 == 1 and "`" in after)
        or ("''" not in before and before.count("``") % 2 == 1 and "``" in after)
        or ("“" not in before and _is_open(before, CURLY_MARK) and "”" in after)
    )


def _list_pairs(before: str) -> Iterator[tuple[str, str]]:
    """Yield the pairs of marks that may enclose a span, from the text before it."""
    opening, closing = before.find("«"), before.find("»")
    yield from PAIRED
    if closing >= 0 and (opening < 0 or closing < opening):
        yield REVERSED


def _is_between_single(before: str, after: str) -> bool:
    """Return whether a span is between single quotation marks rather than apostrophes.

    `before` includes the span's first character, and `after` its last.
    """
    if "'" not in before and "‘" not in before:  # most texts quote nothing
        return False
    openings = [match.start() for match in SINGLE_OPENING.finditer(before)]
    closings = [match.start() for match in SINGLE_CLOSING.finditer(before)]
    is_open = bool(openings) and openings[-1] > max(closings, default=-1)
    return is_open and SINGLE_CLOSING.search(after) is not None


def _cut_to_string(before: str, after: str) -> tuple[str, str]:
    """Cut the text around a span to the JSON string that contains the span."""
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
