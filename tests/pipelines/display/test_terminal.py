"""Tables on a terminal."""

import errno
import io
import os

import pytest
from rich.console import Console

from pipelines.display.terminal import Lasting, lasting, tabulated


def test_first_columns_are_never_folded():
    """Names stay whole on a narrow terminal, whatever is cut elsewhere; numbers are aligned to the right."""
    table = tabulated("id", "what", "count>")
    table.add_row("a-rather-long-identifier", "words " * 20, "7")
    console = Console(file=io.StringIO(), width=60)
    console.print(table)
    shown = console.file.getvalue()
    assert "a-rather-long-identifier" in shown
    assert any(line.rstrip().endswith("7") for line in shown.splitlines())


def test_a_stream_outlives_its_reader():
    """Once nobody reads the pipe, writing and flushing raise nothing, and go nowhere."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        lasting = Lasting(stream)
        assert lasting.write("seen\n") == 5
        lasting.flush()
        assert os.read(reading, 100) == b"seen\n"
        os.close(reading)
        for _ in range(2):
            assert lasting.write("unseen\n" * 10_000) == 70_000
            lasting.flush()
        assert lasting.fileno() == writing


class Full(io.StringIO):
    """A stream to a full disk."""

    def flush(self):
        """Fail."""
        raise OSError(errno.ENOSPC, "No space left on device")


def test_other_faults_of_a_stream_are_raised():
    """A full disk behind `> file` isn't taken for a reader that went away."""
    with pytest.raises(OSError, match="No space left"):
        Lasting(Full()).flush()


def test_a_stream_that_was_closed_from_the_start_stays_so():
    """Python has None for it, and print and rich write nothing to that."""
    assert lasting(None) is None
    assert isinstance(lasting(io.StringIO()), Lasting)
