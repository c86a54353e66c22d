"""Length, format and difficulty of texts as numbers, and habits of formatting as yes or no."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

COUNTED = {
    "sentences": r"[.!?。！？]+(?:\s|$)",
    "commas": r",",
    "colons": r":",
    "semicolons": r";",
    "dashes": r"[–—]| - ",
    "exclamation marks": r"!",
    "question marks": r"\?",
    "parentheses": r"\(",
    "quotation marks": r"[\"“”«»]",
    "digits": r"\d",
    "capitals": r"\p{Lu}",
    "line breaks": r"\n",
    "paragraphs": r"\n\s*\n",
    "bullets": r"(?m)^\s*[-*+•] ",
    "numbered items": r"(?m)^\s*\d+[.)] ",
    "headings": r"(?m)^#{1,6} ",
    "bold": r"\*\*[^*\n]+\*\*",
    "code": r"`",
    "symbols": r"[^\p{L}\p{M}\p{N}\p{Z}\s.,:;!?'\"()\-]",
    "long words": r"\p{L}{8,}",
    "short words": r"(?:^|[^\p{L}])\p{L}{1,3}(?:$|[^\p{L}])",
}
"""What the baseline counts, as patterns."""

HABITS = {
    "a bulleted list": COUNTED["bullets"],
    "a numbered list": COUNTED["numbered items"],
    "a heading": COUNTED["headings"],
    "bold text": COUNTED["bold"],
    "italic text": r"(?:^|[\s(])(?:\*[^*\s][^*\n]*\*|_[^_\s][^_\n]*_)(?:[\s.,;:!?)]|$)",
    "a code block": r"```",
    "inline code": r"(?:^|[^`])`[^`\n]+`(?:[^`]|$)",
    "a table": r"(?m)^\s*\|.*\|",
    "a link": r"https?://|\]\(",
    "a formula": r"\$[^$\n]+\$|\\\(|\\\[",
    "an HTML tag": r"</?[a-zA-Z][a-zA-Z0-9]*[^<>]*>",
    "an emoji": r"[\x{2600}-\x{27BF}\x{1F300}-\x{1FAFF}]",
    "an em dash": r"—",
    "an en dash": r"–",
    "a semicolon": r";",
    "an exclamation mark": r"!",
    "a question": r"\?",
    "an ellipsis": r"\.\.\.|…",
    "parentheses": r"\(",
    "curly quotation marks": r"[“”‘’]",
    "straight double quotation marks": r"\"",
    "a word in capitals": r"(?:^|[^\p{L}])\p{Lu}{4,}(?:[^\p{L}]|$)",
    "several paragraphs": COUNTED["paragraphs"],
    "a line that ends with a colon": r"(?m):[ \t]*$",
    "a contraction": r"(?i)\p{L}['’](?:s|t|re|ve|ll|d|m)(?:[^\p{L}]|$)",
    "a white space at the start": r"^\s",
    "a white space at the end": r"\s$",
    "a lower-case letter at the start": r"^\p{Ll}",
    "a mark at the start": r"^[^\p{L}\p{N}\s]",
    "a question at the end": r"\?\s*$",
    "an exclamation at the end": r"!\s*$",
    "no full stop at the end": r"[\p{L}\p{N},;:]\s*$",
    "a letter outside Latin script": r"[\p{Greek}\p{Cyrillic}\p{Arabic}\p{Han}\p{Hangul}]",
}
"""Habits of formatting, each with the pattern of the texts that show it."""

MEASURES = (
    "log characters",
    "log words",
    "word length",
    "words a sentence",
    "share of long words",
    *(f"{name} a word" for name in COUNTED),
    *(f"any {name}" for name in COUNTED),
)
"""The names of the numbers, in the order of `measure_formats`."""


def measure_formats(texts: pa.LargeStringArray) -> np.ndarray:
    """Return the length, format and difficulty of each text, float64 [texts, `MEASURES`].

    Difficulty is what readability formulas use: the lengths of words and sentences, and the share
    of long words. The wording doesn't count.
    """
    characters = _to_floats(pc.utf8_length(texts))
    words = 1.0 + _to_floats(pc.count_substring_regex(texts, r"\s+"))
    counts = np.stack(
        [_to_floats(pc.count_substring_regex(texts, pattern)) for pattern in COUNTED.values()]
    )
    named = dict(zip(COUNTED, counts, strict=True))
    sentences = np.maximum(named["sentences"], 1)
    columns = [
        np.log1p(characters),
        np.log(words),
        characters / words,
        np.log(words / sentences),
        named["long words"] / words,
        *np.minimum(counts / words, 1.0),
        *(counts > 0),
    ]
    return np.stack(columns, axis=1).astype(np.float64) if len(texts) else _empty()


def _empty() -> np.ndarray:
    return np.empty((0, len(MEASURES)))


def find_habits(texts: pa.LargeStringArray) -> np.ndarray:
    """Return which texts show which habit, bool [texts, `HABITS`]."""
    found = [
        pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False).astype(bool)
        for pattern in HABITS.values()
    ]
    return np.stack(found, axis=1) if len(texts) else np.empty((0, len(HABITS)), bool)


def _to_floats(counts: pa.Array) -> np.ndarray:
    return np.asarray(counts.to_numpy(zero_copy_only=False), np.float64)
