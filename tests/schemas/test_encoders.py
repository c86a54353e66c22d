"""The encoder's defaults: usable together, and free of any model library."""

from __future__ import annotations

import subprocess
import sys

from schemas.encoders import DEFAULT_ENCODER, WINDOW_OVERLAP, WINDOW_TOKENS


def test_the_defaults_fit_together():
    """Windows advance, and the encoder is named as a hub names it."""
    assert 0 <= WINDOW_OVERLAP <= WINDOW_TOKENS // 2
    assert DEFAULT_ENCODER.count("/") == 1


def test_reading_the_defaults_loads_no_model_library(root):
    """A configuration can be read, and `--help` shown, without waiting for torch."""
    code = "import sys, schemas.encoders, schemas.policies; print({'torch', 'transformers', 'faiss'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
