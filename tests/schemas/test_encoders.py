"""The encoder's defaults."""

from __future__ import annotations

import subprocess
import sys

import pytest

from schemas.encoders import DEFAULT_ENCODER, WINDOW_OVERLAP, WINDOW_TOKENS


def test_the_defaults_fit_together():
    """The overlap is smaller than the window, and the encoder is a hub repository."""
    assert 0 <= WINDOW_OVERLAP <= WINDOW_TOKENS // 2
    assert DEFAULT_ENCODER.count("/") == 1


@pytest.mark.parametrize("module", ["schemas.encoders", "schemas.policies", "schemas.cards"])
def test_reading_the_defaults_loads_no_model_library(root, module):
    """Reading the defaults loads no model library."""
    libraries = "{'torch', 'transformers', 'faiss'}"
    code = f"import sys, {module}; print(sorted({libraries} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
