"""Output: foreign text can't act as markup or control a terminal."""

import json
from typing import NamedTuple

import pytest
from rich.table import Table

from pipelines.cli.output import print_error, print_json, print_result, say, style


class Pair(NamedTuple):
    """A result for tests."""

    left: str
    right: str

    def render(self):
        """Return a line for each side."""
        yield self.left
        yield style(self.right, "green")

    def to_json(self):
        """Return a dictionary of both sides."""
        return self._asdict()


HOSTILE = "[bold red]x[/] \x1b[2J é"
SHOWN = "[bold red]x[/] <U+001B>[2J é"


def test_a_result_is_text_or_json(capsys):
    """A result can be printed as text or as JSON."""
    pair = Pair("a", "b")
    print_result(pair, as_json=False)
    assert capsys.readouterr().out == "a\nb\n"
    print_result(pair, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"left": "a", "right": "b"}


def test_text_is_shown_and_not_obeyed(capsys):
    """Markup is printed as text, and control characters as codes."""
    say(HOSTILE)
    say(style(HOSTILE, "red"))
    assert capsys.readouterr().out == f"{SHOWN}\n{SHOWN}\n"


def test_json_is_ascii(capsys):
    """JSON output is ASCII, and types that JSON lacks become text."""
    print_json({"text": HOSTILE, "path": pytest})
    out = capsys.readouterr().out
    assert out.isascii()
    assert "\x1b" not in out
    assert json.loads(out)["text"] == HOSTILE


def test_long_lines_are_not_folded(capsys, monkeypatch):
    """Paths and commands stay on one line, and tables fit the terminal."""
    monkeypatch.setenv("COLUMNS", "40")
    say("x" * 200)
    assert capsys.readouterr().out == "x" * 200 + "\n"
    table = Table("a", "b")
    table.add_row("x" * 30, "y" * 30)
    say(table)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 40


def test_an_error_is_printed_on_stderr(capsys):
    """An error goes to stderr after the program's name."""
    print_error(HOSTILE)
    print_error("done", red=False)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"congener: {SHOWN}\ncongener: done\n"


def test_an_empty_line_and_a_table_can_be_printed(capsys):
    """`say()` prints an empty line, and keeps brackets in a table."""
    say()
    table = Table(box=None, show_header=False)
    table.add_row("[x]")
    say(table)
    assert capsys.readouterr().out.splitlines()[0] == ""
