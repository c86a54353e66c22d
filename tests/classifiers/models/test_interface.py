"""The settings of models, and the check of what they answer, which need no torch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from classifiers.models.interface import LAYER_DEPTHS, EncoderConfig, FixedTotal, require_finite
from schemas.encoders import DEFAULT_ENCODER, WINDOW_OVERLAP, WINDOW_TOKENS
from schemas.errors import RowError


def test_the_settings_are_those_of_the_default_encoder():
    """Without settings, the default encoder runs with its windows and layers."""
    config = EncoderConfig()
    assert (config.model, config.revision) == (DEFAULT_ENCODER, None)
    assert (config.window_tokens, config.window_overlap) == (WINDOW_TOKENS, WINDOW_OVERLAP)
    assert config.layer_depths == LAYER_DEPTHS
    assert (config.device, config.precision, config.token_budget) == ("auto", "auto", None)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(value):
    """One NaN or infinity among a model's values is an error that names the model."""
    require_finite(np.zeros((2, 3), np.float32), "a model")
    with pytest.raises(RowError, match=r"^a model: gives NaN or infinity"):
        require_finite(np.array([[0, 1], [value, 0]], np.float32), "a model")


class Recorder:
    """A listener that keeps every call."""

    def __init__(self):
        self.calls = []

    def expect(self, windows, tokens):
        """Keep a total."""
        self.calls.append(("expect", windows, tokens))

    def batch(self, tokens, windows):
        """Keep a batch."""
        self.calls.append(("batch", tokens, windows))

    def cut(self, budget):
        """Keep a smaller budget."""
        self.calls.append(("cut", budget))


def test_a_fixed_total_passes_on_everything_but_totals():
    """Batches and budgets reach the listener, totals don't, and no listener is needed."""
    heard = Recorder()
    for listener in (FixedTotal(heard), FixedTotal(None)):
        listener.expect(3, 90)
        listener.batch(30, 1)
        listener.cut(512)
    assert heard.calls == [("batch", 30, 1), ("cut", 512)]


def test_what_needs_no_model_loads_without_torch():
    """Fitting, scoring and banks are loaded without torch, transformers, FAISS and scipy."""
    code = (
        "import sys, classifiers.fitting, classifiers.scoring, classifiers.banks\n"
        "print({'torch', 'transformers', 'faiss', 'scipy', 'huggingface_hub'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
