"""Tracing: which character of a rendered conversation comes from which text of the row.

A chat template may trim a text, leave it out, or write it in another place. To find out, the
conversation is rendered a second time with its letters replaced by characters of private use. Each
of these occurs once, so it tells where its letter is in the rendered text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import count

import numpy as np

CODES = "".join(map(chr, (*range(0xF0000, 0xFFFFE), *range(0x100000, 0x10FFFE))))
"""The characters of private use in the planes 15 and 16."""

FIRST, SECOND = 0xF0000, 0x100000
SECOND_INDEX = SECOND - FIRST - 2
"""The index in `CODES` of the second plane's first character."""

REPLACED = re.compile(r"<[^<>\n]{1,60}>|\[/?[A-Z_]{2,30}\]|◁[^◁▷\n]{1,30}▷|(\w)")
"""A letter or a digit, but none inside a tag, because templates look for tags."""

REPLACED_SIGN = re.compile(r"""([^\s"'\\])""")
"""A pattern for the characters that are replaced in texts without letters outside tags."""

END = 0xFFFFFFFF
"""What stands between two texts on the tape; it equals no character."""


class Tape:
    """Texts one after another, so that a single number identifies a text and a character in it.

    `texts` maps field paths to texts, `starts` to the index of each text's first character, and
    `marked` to the texts with characters of private use. `characters` holds the code points.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        places = {path: _find_places(text) for path, text in texts.items()}
        step = max(1, -(-sum(map(len, places.values())) // len(CODES)))
        numbers = count()
        self.texts = texts
        self.starts: dict[str, int] = {}
        self.marked: dict[str, str] = {}
        self._origins: list[int] = []
        pieces: list[np.ndarray] = []
        start = 0
        for path, text in texts.items():
            letters = list(text)
            for place in places[path][::step]:
                letters[place] = CODES[next(numbers)]
                self._origins.append(start + place)
            self.marked[path], self.starts[path] = "".join(letters), start
            pieces += [decode(text), np.array([END], np.uint32)]
            start += len(text) + 1
        self.characters = np.concatenate([*pieces, np.array([END], np.uint32)])

    def find_origins(self, rendered: str, traced: str) -> np.ndarray | None:
        """Return the tape's index for every rendered character, or -1 if the template wrote it.

        `traced` is the rendering of the marked texts. Returns None if it differs in more than the
        marks, because the template changes letters or decides by them.
        """
        plain, codes = decode(rendered), decode(traced)
        if len(plain) != len(codes):
            return None
        places = np.flatnonzero((codes >= FIRST) & (plain != codes))
        numbers = codes[places].astype(np.int64) - FIRST
        numbers[numbers >= SECOND - FIRST] += SECOND_INDEX - (SECOND - FIRST)
        if len(numbers) and numbers.max() >= len(self._origins):
            return None
        origins = np.full(len(plain), -1, np.int64)
        origins[places] = np.array(self._origins, np.int64)[numbers]
        codes[places] = self.characters[origins[places]]
        if not np.array_equal(plain, codes):
            return None
        origins = self._fill(plain, origins, 1)
        return self._fill(plain[::-1], origins[::-1], -1)[::-1]

    def find_turn(self, origins: np.ndarray, paths: Iterable[str]) -> tuple[int, int]:
        """Return where some texts of the tape begin and end in a rendered text, or (0, 0)."""
        inside = np.zeros(len(self.characters) + 1, bool)  # the last item is for the origin -1
        for path in paths:
            inside[self.starts[path] : self.starts[path] + len(self.texts[path])] = True
        places = np.flatnonzero(inside[origins])
        return (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)

    def _fill(self, plain: np.ndarray, origins: np.ndarray, step: int) -> np.ndarray:
        """Return the origins with those of characters that follow a known one as in its text."""
        positions = np.arange(len(plain))
        last = np.maximum.accumulate(np.where(origins >= 0, positions, -1))
        guess = origins[last] + step * (positions - last)
        guess[last < 0] = -1
        guess[(guess < 0) | (guess >= len(self.characters))] = -1
        differs = np.cumsum((guess < 0) | (self.characters[guess] != plain))
        alike = (guess >= 0) & (differs == differs[last])
        return np.where((origins < 0) & alike, guess, origins)


def decode(text: str) -> np.ndarray:
    """Return a text's code points."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).copy()


def _find_places(text: str) -> list[int]:
    """Return the indices of the characters that are replaced."""
    found = [match.start(1) for match in REPLACED.finditer(text) if match[1]]
    return found or [match.start() for match in REPLACED_SIGN.finditer(text)]
