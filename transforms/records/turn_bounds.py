"""The bounds of turns in a rendered chat.

The template renders the first turns of the chat alone. Where that text is a beginning of the whole
chat, its length is where those turns end. Rendering every beginning of a long chat takes quadratic
time, so later turns are rendered after the first few turns, without those between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from schemas.errors import RowError
from transforms.records.chats import ChatTurn

EXACT_TURNS = 64
"""The number of turns up to which every beginning of a chat is rendered whole."""

COMPARED_TURNS = 32
"""The number of turns after which both ways are compared, up to `EXACT_TURNS`."""

NEAREST, FARTHEST = 8, 32
"""The fewest and the most turns between the end of a window and the turns that it leaves out."""

LAST_HEAD = 16
"""The most turns before those that a window leaves out."""

CHECKS = 8
"""How many windows are compared with whole beginnings although they show no bounds."""

Render = Callable[[Sequence[ChatTurn], bool], str]
"""A function that renders turns, as a prompt if the second argument is true.

Raises: RowError: the template refuses the turns.
"""


class Boundary(NamedTuple):
    """Where the turns before a turn end, without white space, and where the turn's text begins.

    `end` is None if the earlier turns alone are rendered in another way. `start` is None then, too,
    and if the template doesn't say where the assistant begins to write.
    """

    end: int | None
    start: int | None


class TurnWindow(NamedTuple):
    """The turns of a shortened chat: those before `head`, and those from `first` on."""

    head: int = 0
    first: int = 0


WHOLE = TurnWindow()
NOWHERE = Boundary(None, None)


class TurnBounds:
    """Finds the bounds of a chat's turns in its rendering, `text`."""

    def __init__(self, render: Render, turns: Sequence[ChatTurn], text: str) -> None:
        self._render, self._turns, self._text = render, turns, text
        self._learnt = {index for index, turn in enumerate(turns) if turn.is_learnt}
        self._boundaries: dict[int, Boundary] = {}
        self._heads: dict[tuple[str, str], int] = {}
        self._beginnings: dict[int, str] = {}
        self._checks = CHECKS
        self._has_windows = len(turns) > EXACT_TURNS and 2 * len(self._learnt) > EXACT_TURNS
        if self._has_windows:
            self._has_windows = self._find_in_windows()

    def find_start(self, index: int) -> int | None:
        """Return where a learnt turn's text begins, after the generation prompt, or None."""
        return self._find_boundary(index).start

    def find_end(self, index: int) -> int | None:
        """Return where a turn ends, after its end token and without white space, or None."""
        if index + 1 == len(self._turns):
            return len(self._text.rstrip())
        return self._find_boundary(index + 1).end

    def find_tail(self, index: int, measure: Callable[[Sequence[ChatTurn]], str]) -> str:
        """Return what `measure` finds at the end of the first turns, up to a given turn."""
        stop = index + 1
        window = self._choose_window(stop) if self._has_windows and stop > EXACT_TURNS else WHOLE
        tail = measure(self._select(window, stop))
        if window != WHOLE and self._checks:
            self._checks -= 1
            whole = measure(self._turns[:stop])
            self._has_windows, tail = whole == tail, whole
        return tail

    def _find_boundary(self, stop: int) -> Boundary:
        if stop not in self._boundaries:
            self._boundaries[stop] = self._measure(stop, WHOLE)
        return self._boundaries[stop]

    def _find_in_windows(self) -> bool:
        """Find all boundaries, and return whether windows agree with whole beginnings."""
        for stop in range(1, EXACT_TURNS + 1):
            found = self._find_boundary(stop)
            pair = self._turns[stop - 1].role, self._turns[stop].role
            if stop <= LAST_HEAD and found.end is not None:
                self._heads.setdefault(pair, stop)
            if stop > COMPARED_TURNS and self._measure(stop, self._choose_window(stop)) != found:
                return False
        later, check = dict[int, Boundary](), 2 * EXACT_TURNS
        for stop in range(EXACT_TURNS + 1, len(self._turns)):
            found = self._measure(stop, self._choose_window(stop))
            is_lost = found.end is None and self._checks > 0
            if is_lost or stop == check or stop + 2 >= len(self._turns):
                self._checks -= is_lost
                check *= 1 + (stop == check)
                if found != self._measure(stop, WHOLE):
                    for known in later:
                        del self._boundaries[known]
                    return False
            self._boundaries[stop] = later[stop] = found
        return True

    def _choose_window(self, stop: int) -> TurnWindow:
        """Return a window that leaves out most turns, or that leaves out none.

        The turns on both sides of the gap have the same roles as neighbours in the chat.
        """
        roles = [turn.role for turn in self._turns[max(0, stop - FARTHEST) : stop]]
        pairs = enumerate(pairwise(roles), stop - len(roles) + 1)
        for first, pair in reversed(list(pairs)):
            head = self._heads.get(pair)
            if first > stop - NEAREST or head is None or head >= first:
                continue
            if self._find_known_end(first) is not None:
                return TurnWindow(head, first)
        return WHOLE

    def _find_known_end(self, stop: int) -> int | None:
        return self._boundaries.get(stop, NOWHERE).end

    def _select(self, window: TurnWindow, stop: int) -> Sequence[ChatTurn]:
        return (*self._turns[: window.head], *self._turns[window.first : stop])

    def _measure(self, stop: int, window: TurnWindow) -> Boundary:
        """Return the boundary before a turn, from the earlier turns in a window."""
        turns = self._select(window, stop)
        place = (self._find_known_end(window.first) or 0) if window.first else 0
        beginning = self._render_beginning(window.head)
        try:
            earlier = self._render(turns, False)
        except RowError:  # a template may require a user's message
            return NOWHERE
        tail = earlier.rstrip().removeprefix(beginning)
        if not (earlier.startswith(beginning) and self._text.startswith(tail, place)):
            return NOWHERE
        end = place + len(tail)
        if stop not in self._learnt:
            return Boundary(end, None)
        try:
            prompt = self._render(turns, True)
        except RowError:
            return Boundary(end, None)
        after = prompt.removeprefix(beginning)
        shared = place + count_shared(after, self._text[place : place + len(after)])
        has_start = prompt.startswith(beginning) and len(earlier) < len(prompt) and shared > end
        return Boundary(end, shared if has_start else None)

    def _render_beginning(self, head: int) -> str:
        """Render the first turns alone, without white space at the end."""
        if head not in self._beginnings:
            turns = self._turns[:head]
            self._beginnings[head] = self._render(turns, False).rstrip() if head else ""
        return self._beginnings[head]


def count_shared(one: str, other: str) -> int:
    """Return the length of the common beginning of two texts."""
    if other.startswith(one):
        return len(one)
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))
