"""Output: no text of a corpus, a file or an error is markup or moves a terminal's cursor."""

import json
from typing import NamedTuple

import pytest
from rich.table import Table

from pipelines.cli.output import print_error, print_json, print_result, say, style


class Pair(NamedTuple):
    """A result for the tests."""

    left: str
    right: str

    def render(self):
        """Return a line for each side."""
        yield self.left
        yield style(self.right, "green")

    def to_json(self):
        """Return the sides by name."""
        return self._asdict()


HOSTILE = "[bold red]x[/] \x1b[2J é"
SHOWN = "[bold red]x[/] <U+001B>[2J é"


def test_a_result_is_text_or_json(capsys):
    """Both forms come from one result."""
    pair = Pair("a", "b")
    print_result(pair, as_json=False)
    assert capsys.readouterr().out == "a\nb\n"
    print_result(pair, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"left": "a", "right": "b"}


def test_text_is_shown_and_not_obeyed(capsys):
    """Markup stays text, and control characters are written out."""
    say(HOSTILE)
    say(style(HOSTILE, "red"))
    assert capsys.readouterr().out == f"{SHOWN}\n{SHOWN}\n"


def test_json_is_ascii(capsys):
    """JSON escapes everything that a terminal could obey, and other number types become text."""
    print_json({"text": HOSTILE, "path": pytest})
    out = capsys.readouterr().out
    assert out.isascii()
    assert "\x1b" not in out
    assert json.loads(out)["text"] == HOSTILE


def test_long_lines_are_not_folded(capsys, monkeypatch):
    """A path or a command must stay on one line to be copied; tables fit the terminal."""
    monkeypatch.setenv("COLUMNS", "40")
    say("x" * 200)
    assert capsys.readouterr().out == "x" * 200 + "\n"
    table = Table("a", "b")
    table.add_row("x" * 30, "y" * 30)
    say(table)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 40


def test_an_error_is_printed_on_stderr(capsys):
    """Errors begin with the program's name, and stdout stays empty."""
    print_error(HOSTILE)
    print_error("done", red=False)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"congener: {SHOWN}\ncongener: done\n"


def test_an_empty_line_and_a_table_can_be_printed(capsys):
    """Without an argument `say` prints an empty line; brackets in a table stay as they are."""
    say()
    table = Table(box=None, show_header=False)
    table.add_row("[x]")
    say(table)
    assert capsys.readouterr().out.splitlines()[0] == ""
