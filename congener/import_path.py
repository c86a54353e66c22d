"""Python's import path without the current folder.

This module and `__main__` import only modules that Python has loaded before. `python -m congener`
puts the current folder first on the import path, so a file `typing.py` beside a data set would be
run in place of Python's own module.
"""

import os
import sys

INSTALL_FOLDER = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
"""The folder that congener is installed in."""


def leave_out_current_folder() -> None:
    """Remove the current folder from the import path, unless congener is installed there.

    Raises: FileNotFoundError: the current folder no longer exists.
    """
    current = os.path.realpath(os.getcwd())
    if current != INSTALL_FOLDER:
        sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry or ".") != current]
