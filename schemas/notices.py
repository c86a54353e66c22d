"""Notices: what a run wants a person to know, as data that a terminal, a log or a page can show."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Notice(NamedTuple):
    """One sentence for the person who started a run, and how serious it is."""

    text: str
    severity: Literal["info", "warning"] = "info"

    def __str__(self) -> str:
        return f"warning: {self.text}" if self.severity == "warning" else self.text


def warn(text: str) -> Notice:
    """Return a warning."""
    return Notice(text, "warning")
