"""Notices: messages about a run for people to read, in a terminal, a log or a web page."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Notice(NamedTuple):
    """A sentence for the person who started a run, and how serious it is."""

    text: str
    severity: Literal["info", "warning"] = "info"

    def __str__(self) -> str:
        return f"warning: {self.text}" if self.severity == "warning" else self.text


def warn(text: str) -> Notice:
    """Return a warning."""
    return Notice(text, "warning")
