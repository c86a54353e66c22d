"""Notices: messages about a run for people to read, in a terminal, a log or a web page."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Literal, NamedTuple

NAMES_LISTED = 12
"""The largest number of names that a message lists by default."""

DONOR_PREFIX = "donor "
"""How `about` begins in a notice about a donor of a swap; the donor's name follows."""

NAME_CHARACTERS = 120
"""How many characters of a name are shown; a column's name may be as long as a row."""


class Notice(NamedTuple):
    """A sentence for the person who started a run, and how serious it is.

    A notice that quotes text isn't recorded in the manifest, which holds no text. `about` names
    another run that the notice is about, such as `donor cedar`. `remarks` are pairs of a trait and
    a phrase, which pages show beside the trait's numbers.
    """

    text: str
    severity: Literal["info", "warning"] = "info"
    is_recorded: bool = True
    about: str = ""
    remarks: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"warning: {self.text}" if self.severity == "warning" else self.text


def warn(text: str) -> Notice:
    """Return a warning."""
    return Notice(text, "warning")


def format_count(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 row` or `1,200 rows`."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def choose_form(count: int, one: str, many: str) -> str:
    """Return the form of a word that agrees with a number, such as `is` or `are`."""
    return one if count == 1 else many


def limit_notices(notices: Sequence[Notice], most: int) -> list[Notice]:
    """Return the first notices of a kind; the last one counts the rest."""
    if len(notices) <= most:
        return list(notices)
    *shown, last = notices[:most]
    more = f"{last.text}; the same is true of {len(notices) - most:,} more"
    return [*shown, last._replace(text=more)]


def list_names(names: Collection[str], most: int = NAMES_LISTED) -> str:
    """List the first few names on one line, shortened, and count the rest.

    A corpus may have a hundred thousand columns, files or teachers.
    """
    shown = ", ".join(map(shorten_name, islice(names, most)))
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown


def shorten_name(name: str, most: int = NAME_CHARACTERS) -> str:
    """Shorten a name to `most` characters."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def suggest_name(wrong: str, known: Collection[str]) -> str:
    """Return a question that suggests the most similar known name, or an empty string."""
    close = get_close_matches(wrong, known, 1)
    return f"did you mean {close[0]!r}? " if close else ""
