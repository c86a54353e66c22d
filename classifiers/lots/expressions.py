"""A finding as a pattern that a lexicon can search for."""

from __future__ import annotations

import re

import pyarrow as pa
import re2

from classifiers.lots.discovery import Kind
from classifiers.lots.formats import HABITS
from classifiers.lots.naming import HIDDEN
from classifiers.lots.tokens import find_tokens

GAP = r"[^\s]+"
"""What stands for any word in a pattern."""

QUOTES = {"'": "['‘’]", '"': '["“”]'}
"""Marks that are equal for the audit."""

APOSTROPHES = re.compile("[‘’]")
QUOTATIONS = re.compile("[“”]")


def build_expression(kind: Kind, text: str) -> str:
    """Return an RE2 pattern, to be searched without regard to case, for a finding of an audit.

    White space between words may be longer than in the text or a line break. Openings and closings
    match only at the edge of a text. Formats have the pattern by which the audit counts them.
    Grammar has no pattern, and must not be given.
    """
    if kind == "format":
        return f"(?-i:{HABITS[text]})"
    body = _join_tokens(text, hides=kind == "pattern")
    if kind == "opening":
        return rf"^\s*{body}{_bound(text[-1:])}"
    if kind == "closing":
        return rf"{_bound(text[:1])}{body}\s*$"
    return f"{_bound(text[:1])}{body}{_bound(text[-1:])}"


def _join_tokens(text: str, hides: bool) -> str:
    """Return the tokens' patterns, with white space between them where the text has it."""
    tokens = find_tokens(pa.array([text], pa.large_string()))
    parts: list[str] = []
    before = 0
    for start, end in zip(tokens.start.tolist(), tokens.end.tolist(), strict=True):
        gap = text[before:start]
        if parts:
            parts.append(r"\s*" if hides or not gap else r"\s+")
        word = text[start:end]
        parts.append(GAP if hides and word == HIDDEN else _escape(word))
        before = end
    return "".join(parts)


def _escape(word: str) -> str:
    plain = QUOTATIONS.sub('"', APOSTROPHES.sub("'", word))
    return "".join(QUOTES.get(letter, re2.escape(letter)) for letter in plain)


def _bound(letter: str) -> str:
    """Return a word boundary beside a letter for which RE2 knows one."""
    return r"\b" if letter.isascii() and letter.isalnum() else ""
