"""Imports without Beam's needless warning."""

import logging
import subprocess
import sys

from congener.quiet_imports import NEEDLESS, import_quietly


def test_a_script_sees_no_warning_and_keeps_its_logging():
    """The first use of the API prints nothing, and leaves the root logger without a handler."""
    code = "import congener, logging; congener.open_run; print(logging.getLogger().handlers)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_only_the_needless_warning_is_dropped(caplog):
    """Other warnings are logged during an import, and every warning after it."""
    root = logging.getLogger()
    before = (root.handlers[:], root.filters[:])
    with import_quietly():
        root.warning(NEEDLESS)
        root.warning("a deprecation")
    root.warning(NEEDLESS)
    assert [record.getMessage() for record in caplog.records] == ["a deprecation", NEEDLESS]
    assert (root.handlers, root.filters) == before
