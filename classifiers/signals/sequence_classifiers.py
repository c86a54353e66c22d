"""Sequence classifiers: Hugging Face models that score a text by the probability of one label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import transformers

from classifiers.models.checkpoints import ModelFiles, find_model, require_unchanged
from classifiers.models.encoders import TOKEN_BUDGET, compute_values
from classifiers.models.interface import Device, Precision, Progress
from classifiers.models.loading import choose_device, choose_dtype, load_model, load_tokenizer
from classifiers.models.windows import BatchCounts, Window, Windows, cut_windows
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

    def cut_windows(self, texts: Sequence[str] | pa.LargeStringArray) -> Windows:
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
    label = find_label(model.config, options.label, files.name)
    tokenizer = load_tokenizer(files)
    require_unchanged(files)
    return SequenceClassifier(files, tokenizer, model, label, chosen, TOKEN_BUDGET[chosen.type])


def find_label(config: Any, label: str, model: str) -> int:
    """Return the index of a label among a model's outputs.

    Raises: ModelError: there is no such label, or `label2id` and `id2label` contradict each other.
    """
    indexes = dict(config.label2id or {})
    names = {str(index): name for index, name in dict(config.id2label or {}).items()}
    if label not in indexes:
        raise ModelError(
            f"has no label {label!r}",
            where=model,
            remedy=f"name one of its labels: {', '.join(map(str, indexes))}",
        )
    index = indexes[label]
    # a table that config.json lacks has names of the form LABEL_0
    if names.get(str(index)) not in (label, f"LABEL_{index}"):
        raise ModelError(
            f"contradicts itself about the label {label!r}: in its config.json, label2id gives it "
            f"the index {index!r}, but id2label names {names.get(str(index))!r} there",
            where=model,
            remedy="correct config.json, so that the scores aren't those of another label",
        )
    return int(index)
