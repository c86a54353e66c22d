"""Tables, text and streams on a terminal."""

import errno
import io
import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipelines.display.terminal import (
    DurableStream,
    build_table,
    escape_controls,
    never_fail,
    outlive_reader,
    spell_signs,
)


def print_table(table, width: int) -> list[str]:
    """Return the lines of a table on a terminal of this width."""
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue().splitlines()


def test_first_columns_are_never_wrapped():
    """Names stay whole on a narrow terminal; numbers are aligned to the right."""
    table = build_table("id", "what", "count>")
    table.add_row("a-rather-long-identifier", "words " * 20, "7")
    lines = print_table(table, 60)
    assert "a-rather-long-identifier" in "".join(lines)
    assert any(line.rstrip().endswith("7") for line in lines)


def test_other_columns_wrap_without_losing_text():
    """A long word in another column continues on the next line."""
    table = build_table("id", "word")
    table.add_row("x", "0123456789" * 8)
    shown = "".join(line.strip() for line in print_table(table, 40))
    assert "0123456789" * 8 in shown.replace(" ", "")


def test_a_table_has_a_title():
    """The title is above the columns."""
    lines = print_table(build_table("id", title="run 7"), 40)
    assert lines[0].strip() == "run 7"


@given(st.text())
def test_escaped_text_contains_no_controls(text):
    """Of the characters that a terminal obeys, only line breaks and tabs are left."""
    shown = escape_controls(text)
    assert {char for char in shown if unicodedata.category(char) in ("Cc", "Cf", "Cs")} <= set(
        "\n\t"
    )
    assert (shown == text) == (shown.count("<U+") == text.count("<U+"))


def test_controls_are_written_as_codes():
    """An escape sequence and a bidirectional mark become visible; other text is unchanged."""
    assert escape_controls("a\x1b[31mé\u202e\n\t[b]") == "a<U+001B>[31mé<U+202E>\n\t[b]"


def test_a_stream_outlives_its_reader():
    """After the pipe is closed, writing and flushing raise nothing and have no effect."""
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
    """A full disk behind `> file` isn't mistaken for a closed pipe."""
    with pytest.raises(OSError, match="No space left"):
        DurableStream(FullDisk()).flush()


def test_a_stream_that_was_closed_from_the_start_stays_none():
    """Python has None for such a stream, to which print and rich write nothing."""
    assert outlive_reader(None) is None
    assert isinstance(outlive_reader(io.StringIO()), DurableStream)


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", "score >= 0.5 <<h?ron>>... ?"), ("latin-1", "score >= 0.5 «héron»... ?")],
)
def test_signs_that_an_encoding_lacks_are_replaced(encoding, shown):
    """Known symbols are spelt in ASCII, others become question marks, and the rest is unchanged."""
    raw = io.BytesIO()
    stream = never_fail(io.TextIOWrapper(raw, encoding=encoding))
    stream.write("score ≥ 0.5 «héron»… ✓")
    stream.flush()
    assert raw.getvalue().decode(encoding) == shown


def test_streams_without_an_encoding_stay():
    """A closed stream and one in memory have nothing to replace."""
    assert never_fail(None) is None
    assert never_fail(memory := io.StringIO()) is memory


def test_only_encoding_is_repaired():
    """Bytes that can't be decoded are still an error."""
    with pytest.raises(UnicodeDecodeError):
        spell_signs(UnicodeDecodeError("ascii", b"\xff", 0, 1, "not ASCII"))
