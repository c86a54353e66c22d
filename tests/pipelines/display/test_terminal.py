"""Tables, text and streams on a terminal."""

import errno
import io
import logging
import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, Group
from rich.padding import Padding
from rich.text import Text

from pipelines.display.terminal import (
    DurableStream,
    EscapingFormatter,
    Verbatim,
    build_table,
    escape_controls,
    never_fail,
    open_console,
    outlive_reader,
    print_text,
    spell_signs,
)

NUMBERS = ("1,002,407", "598,000", "19.90%", "4")


def print_table(table, width: int) -> list[str]:
    """Return the lines of a table on a terminal of a given width."""
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue().splitlines()


def test_first_columns_are_never_wrapped():
    """The first column never wraps, and numbers are right-aligned."""
    table = build_table("id", "what", "count>")
    table.add_row("a-rather-long-identifier", "words " * 20, "7")
    lines = print_table(table, 60)
    assert "a-rather-long-identifier" in "".join(lines)
    assert any(line.rstrip().endswith("7") for line in lines)


def test_other_columns_wrap_without_losing_text():
    """In other columns, a long word continues on the next line."""
    table = build_table("id", "word")
    table.add_row("x", "0123456789" * 8)
    shown = "".join(line.strip() for line in print_table(table, 40))
    assert "0123456789" * 8 in shown.replace(" ", "")


def test_numbers_stay_whole_beside_a_long_name():
    """With `wrap_first`, the first column wraps, and no number is broken over two lines."""
    table = build_table("lot", "rows>", "added>", "share>", "missing>", wrap_first=True)
    table.add_row("teacher claude2-alpaca-13b, prompt source selfinstruct " * 2, *NUMBERS)
    lines = print_table(table, 80)
    assert max(map(len, lines)) <= 80
    assert sum(all(number in line for number in NUMBERS) for line in lines) == 1
    unbroken = "averylongteacher" * 9
    table.add_row(unbroken, *NUMBERS)
    lines = print_table(table, 60)
    assert sum(all(number in line for number in NUMBERS) for line in lines) == 2
    shown = "".join(line.split()[0] for line in lines if "erylong" in line or "teach" in line)
    assert shown.endswith(unbroken)


def test_a_table_has_a_title():
    """The title is above the columns."""
    lines = print_table(build_table("id", title="run 7"), 40)
    assert lines[0].strip() == "run 7"


@given(st.text())
def test_escaped_text_contains_no_controls(text):
    """Escaped text has no control characters but line breaks and tabs."""
    shown = escape_controls(text)
    assert {char for char in shown if unicodedata.category(char) in ("Cc", "Cf", "Cs")} <= set(
        "\n\t"
    )
    assert (shown == text) == (shown.count("<U+") == text.count("<U+"))


def test_controls_are_written_as_codes():
    """Escape sequences and bidirectional marks become visible; other text is unchanged."""
    assert escape_controls("a\x1b[31mé\u202e\n\t[b]") == "a<U+001B>[31mé<U+202E>\n\t[b]"


def test_a_stream_outlives_its_reader():
    """After the pipe is closed, writing and flushing do nothing."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        durable = DurableStream(stream)
        assert durable.write("seen\n") == 5
        durable.flush()
        assert os.read(reading, 100) == b"seen\n"
        os.close(reading)
        for _ in range(2):
            assert durable.write("unseen\n" * 10_000) == 70_000
            durable.flush()
        assert durable.fileno() == writing


class FullDisk(io.StringIO):
    """A stream to a full disk."""

    def flush(self):
        """Fail."""
        raise OSError(errno.ENOSPC, "No space left on device")


def test_other_errors_of_a_stream_are_raised():
    """A full disk isn't mistaken for a closed pipe."""
    with pytest.raises(OSError, match="No space left"):
        DurableStream(FullDisk()).flush()


def test_a_stream_that_was_closed_from_the_start_stays_none():
    """A stream that was closed from the start stays None."""
    assert outlive_reader(None) is None
    assert isinstance(outlive_reader(io.StringIO()), DurableStream)


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", "score >= 0.5 <<h?ron>>... ?"), ("latin-1", "score >= 0.5 «héron»... ?")],
)
def test_signs_that_an_encoding_lacks_are_replaced(encoding, shown):
    """Characters that an encoding lacks become ASCII or question marks."""
    raw = io.BytesIO()
    stream = never_fail(io.TextIOWrapper(raw, encoding=encoding))
    stream.write("score ≥ 0.5 «héron»… ✓")
    stream.flush()
    assert raw.getvalue().decode(encoding) == shown


def test_streams_without_an_encoding_stay():
    """A stream that is None or in memory is unchanged."""
    assert never_fail(None) is None
    assert never_fail(memory := io.StringIO()) is memory


def test_only_encoding_is_repaired():
    """Encoding errors are repaired, and decoding errors are raised."""
    with pytest.raises(UnicodeDecodeError):
        spell_signs(UnicodeDecodeError("ascii", b"\xff", 0, 1, "not ASCII"))


HOSTILE = "\x1b]0;owned\x07\x1b[31mred\u202e\x9b2J\x7f"


@given(st.text("ab[]\x1b\x07\x08\r\x9b\u202e\u200b;0m", max_size=12))
def test_a_console_obeys_nothing_that_it_renders(text):
    """A console escapes texts, tables, titles, captions and nested parts."""
    console = open_console(file=io.StringIO(), width=200)
    table = build_table("id", title=text)
    table.add_row(text)
    table.caption = text
    for part in (text, Text(text), table, Padding(Group(text, Text(text)), 1)):
        console.print(part, markup=False)
    shown = console.file.getvalue()
    assert {char for char in shown if unicodedata.category(char) in ("Cc", "Cf")} <= set("\n")


def test_styles_are_still_written():
    """A console writes its own styles' codes, but no codes from a text."""
    console = open_console(file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(Text(HOSTILE, style="red"))
    assert console.file.getvalue().startswith("\x1b[31m<U+001B>]0;owned")


def test_log_records_are_escaped():
    """A log record's message and trace are escaped."""
    error = ValueError(HOSTILE)
    info = (ValueError, error, None)
    record = logging.makeLogRecord({"msg": HOSTILE, "exc_info": info})
    shown = EscapingFormatter("%(message)s").format(record)
    assert shown.count("<U+001B>]0;owned") == 2
    assert "\x1b" not in shown


LONG = "word " * 40


@pytest.mark.parametrize(
    ("text", "terminal", "most"),
    [(LONG, True, 30), (LONG, False, 200), (Verbatim(LONG), True, 200), (Text(LONG), True, 30)],
    ids=["terminal", "pipe", "command", "styled"],
)
def test_text_wraps_between_words_on_a_terminal_only(text, terminal, most):
    """A terminal wraps text between words, but a pipe and a command don't."""
    console = open_console(file=io.StringIO(), width=30, force_terminal=terminal)
    print_text(console, text)
    lines = console.file.getvalue().splitlines()
    assert "".join(lines).replace(" ", "") == LONG.replace(" ", "")
    assert most - 5 <= max(map(len, lines)) <= most
