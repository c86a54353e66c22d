"""Tracing: which text of the row each rendered character comes from.

A chat template may trim, move or omit a text. The conversation is therefore rendered a second time,
with each letter replaced by a different private-use character. That character shows where the
letter went.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import count

import numpy as np

CODES = "".join(map(chr, (*range(0xF0000, 0xFFFFE), *range(0x100000, 0x10FFFE))))
"""The private-use characters of planes 15 and 16."""

FIRST, SECOND = 0xF0000, 0x100000
SECOND_INDEX = SECOND - FIRST - 2
"""The index in `CODES` of plane 16's first character."""

REPLACED = re.compile(r"<[^<>\n]{1,60}>|\[/?[A-Z_]{2,30}\]|◁[^◁▷\n]{1,30}▷|(\w)")
"""A letter or a digit outside tags. Templates look for tags, so tags stay."""

REPLACED_SIGN = re.compile(r"""([^\s"'\\])""")
"""The replaced characters of texts without letters outside tags."""

END = 0xFFFFFFFF
"""The separator between two texts on the tape. No character has this code."""


class Tape:
    """Texts one after another, so that one index identifies a text and a character.

    `texts` maps field paths to texts, `starts` to the index of each text's first character, and
    `marked` to the texts with private-use characters. `characters` holds the code points.
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
        """Return every rendered character's tape index, or -1 for the template's own text.

        `traced` is the rendering of the marked texts. If the renderings differ in more than the
        marks, the result is None.
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
        """Return the bounds of some tape texts in a rendered text, or (0, 0)."""
        is_own = np.zeros(len(origins), bool)
        for path in paths:
            start = self.starts[path]
            is_own |= (origins >= start) & (origins < start + len(self.texts[path]))
        places = np.flatnonzero(is_own)
        return (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)

    def find_turns(
        self, origins: np.ndarray, turns: Sequence[Iterable[str]]
    ) -> list[tuple[int, int]]:
        """Return the bounds of each turn, given by the paths of its texts, or (0, 0)."""
        owners = np.full(len(self.characters) + 1, len(turns))  # the last item is for the origin -1
        for turn, paths in enumerate(turns):
            for path in paths:
                owners[self.starts[path] : self.starts[path] + len(self.texts[path])] = turn
        own, places = owners[origins], np.arange(len(origins))
        bounds = np.zeros((len(turns) + 1, 2), np.int64)
        bounds[own, 1] = places + 1
        bounds[own[::-1], 0] = places[::-1]
        return [(int(first), int(last)) for first, last in bounds[:-1]]

    def _fill(self, plain: np.ndarray, origins: np.ndarray, step: int) -> np.ndarray:
        """Extend known origins to neighbouring characters that agree with the text."""
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
    """Return the indices of the replaced characters."""
    found = [match.start(1) for match in REPLACED.finditer(text) if match[1]]
    return found or [match.start() for match in REPLACED_SIGN.finditer(text)]
