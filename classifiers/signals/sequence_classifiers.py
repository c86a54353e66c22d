"""Sequence classifiers: Hugging Face models that score a text by the probability of one label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import transformers

from classifiers.models.checkpoints import (
    Device,
    ModelFiles,
    Precision,
    choose_device,
    choose_dtype,
    find_model,
    load_model,
    load_tokenizer,
    require_unchanged,
)
from classifiers.models.encoders import (
    TOKEN_BUDGET,
    Progress,
    compute_values,
)
from classifiers.models.windows import BatchCounts, Window, cut_windows
from schemas.cards import ClassifierOptions
from schemas.errors import ModelError

WINDOW_TOKENS = 512
WINDOW_OVERLAP = 64


@dataclass
class SequenceClassifier:
    """A loaded checkpoint, and the index of the scored label."""

    files: ModelFiles
    tokenizer: Any
    model: torch.nn.Module
    label: int
    device: torch.device
    token_budget: int
    counts: BatchCounts = field(default_factory=BatchCounts)

    @property
    def dtype(self) -> torch.dtype:
        """Return the type that the model computes in."""
        return next(self.model.parameters()).dtype

    @property
    def _config(self) -> Any:
        return self.model.config

    def cut_windows(self, texts: Sequence[str]) -> list[Window]:
        """Cut texts into overlapping windows for this model."""
        positions = int(getattr(self._config, "max_position_embeddings", WINDOW_TOKENS))
        size = min(WINDOW_TOKENS, positions)
        return cut_windows(self.tokenizer, texts, size, min(WINDOW_OVERLAP, size // 4))

    def compute_probabilities(
        self, windows: Sequence[Window], progress: Progress | None = None
    ) -> np.ndarray:
        """Return the label's probability in each window, float32 [windows].

        Raises: RowError: a probability is NaN.
        """
        return compute_values(self, windows, np.empty(len(windows), np.float32), progress)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the label's probability for each window of a padded batch.

        Independent labels have a sigmoid, and exclusive labels a softmax.
        """
        logits = self.model(input_ids=tokens, attention_mask=mask).logits.float()
        independent = (
            logits.shape[1] == 1 or self._config.problem_type == "multi_label_classification"
        )
        values = torch.sigmoid(logits) if independent else torch.softmax(logits, dim=1)
        return values[:, self.label]


def load_sequence_classifier(
    options: ClassifierOptions, device: Device = "auto", precision: Precision = "auto"
) -> SequenceClassifier:
    """Load a card's checkpoint.

    Raises: ModelError: the checkpoint can't be found or loaded, changes while it is loaded, or has
    no such label.
    """
    chosen = choose_device(device)
    files = find_model(options.model, options.revision)
    model = load_model(
        transformers.AutoModelForSequenceClassification,
        files,
        chosen,
        choose_dtype(precision, chosen),
    )
    config: Any = model.config
    labels = {str(name): int(index) for name, index in config.label2id.items()}
    if options.label not in labels:
        raise ModelError(
            f"has no label {options.label!r}",
            where=files.name,
            remedy=f"name one of its labels: {', '.join(labels)}",
        )
    tokenizer = load_tokenizer(files)
    require_unchanged(files)
    label, budget = labels[options.label], TOKEN_BUDGET[chosen.type]
    return SequenceClassifier(files, tokenizer, model, label, chosen, budget)
