"""Print commands' results as text or JSON, with control characters escaped."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any, Protocol

from rich.console import RenderableType
from rich.text import Text

from pipelines.display.terminal import open_console, print_text


class Result(Protocol):
    """A command's result, for printing as text or as JSON."""

    def render(self) -> Iterable[RenderableType]:
        """Return the lines and tables to print on a terminal."""

    def to_json(self) -> Any:
        """Return the result for JSON."""


def print_result(result: Result, as_json: bool) -> None:
    """Print a result on stdout, as JSON or as text."""
    if as_json:
        print_json(result.to_json())
        return
    for part in result.render():
        say(part)


def say(part: RenderableType = "") -> None:
    """Print a text or a table on stdout.

    Strings aren't parsed as markup, and control characters are escaped.
    """
    if isinstance(part, str | Text):
        print_text(open_console(), part)
    else:
        open_console().print(part)


def style(text: str, name: str) -> Text:
    """Return a text in a style, such as `red`."""
    return Text(text, style=name)


def print_json(value: Any) -> None:
    """Print ASCII JSON on stdout, with all other characters escaped."""
    sys.stdout.write(json.dumps(value, indent=1, default=str) + "\n")


def print_error(message: str, *, red: bool = True) -> None:
    """Print a message on stderr, without markup and with control characters escaped."""
    text = Text(f"congener: {message}", style="red" if red else "")
    print_text(open_console(stderr=True), text)
