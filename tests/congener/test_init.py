"""The public names: all exist, and none is loaded before its use."""

import subprocess
import sys

import pytest

import congener
from congener import api


def test_every_public_name_is_there():
    """Every name in `__all__` is the API module's own object."""
    assert {name: getattr(congener, name) for name in congener.__all__} == {
        name: getattr(api, name) for name in api.__all__
    }
    assert dir(congener) == sorted(congener.__all__)


def test_an_unknown_name_is_an_attribute_error():
    """A misspelt name is an AttributeError."""
    with pytest.raises(AttributeError, match="'congener' has no attribute 'scores'"):
        _ = congener.scores


def test_importing_loads_no_heavy_library():
    """`import congener` loads neither torch nor Beam nor any other congener package."""
    code = (
        "import sys, congener\n"
        "heavy = {'torch', 'apache_beam', 'transformers', 'pipelines', 'schemas'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
