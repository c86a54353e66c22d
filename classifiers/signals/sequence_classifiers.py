"""Hugging Face sequence-classification checkpoints as a signal: the probability of one label, by name."""

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
)
from classifiers.models.encoders import (
    TOKEN_BUDGET,
    Progress,
    batches_at_once,
    require_finite,
    run_batches,
)
from classifiers.models.windows import BatchCounts, Window, cut_windows
from schemas.cards import ClassifierOptions
from schemas.errors import ModelError

WINDOW_TOKENS = 512
WINDOW_OVERLAP = 64


@dataclass
class SequenceClassifier:
    """A loaded checkpoint and the label that counts."""

    files: ModelFiles
    tokenizer: Any
    model: torch.nn.Module
    label: int
    device: torch.device
    token_budget: int
    counts: BatchCounts = field(default_factory=BatchCounts)

    @property
    def dtype(self) -> torch.dtype:
        """Return the type that it computes in."""
        return next(self.model.parameters()).dtype

    @property
    def _config(self) -> Any:
        return self.model.config

    def windows(self, texts: Sequence[str]) -> list[Window]:
        """Cut texts into this model's own windows."""
        size = min(
            WINDOW_TOKENS, int(getattr(self._config, "max_position_embeddings", WINDOW_TOKENS))
        )  # type: ignore[union-attr]
        return cut_windows(self.tokenizer, texts, size, min(WINDOW_OVERLAP, size // 4))

    def probabilities(
        self, windows: Sequence[Window], progress: Progress | None = None
    ) -> np.ndarray:
        """Return the label's probability for each window, float32.

        Raises: RowError: One is NaN.
        """
        scores = np.empty(len(windows), np.float32)
        run_batches(
            self,
            [window.ids for window in windows],
            scores.__setitem__,
            progress,
            batches_at_once(self.device),
        )
        require_finite(scores, self.files.name)
        return scores

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the label's probability for one padded batch; independent labels use a sigmoid, exclusive ones a softmax."""
        logits = self.model(input_ids=tokens, attention_mask=mask).logits.float()
        independent = (
            logits.shape[1] == 1 or self._config.problem_type == "multi_label_classification"
        )
        return (torch.sigmoid(logits) if independent else torch.softmax(logits, dim=1))[
            :, self.label
        ]


def load_sequence_classifier(
    options: ClassifierOptions, device: Device = "auto", precision: Precision = "auto"
) -> SequenceClassifier:
    """Load the checkpoint that a card names.

    Raises: ModelError: It can't be had or loaded, or has no such label.
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
    labels = {str(name): int(place) for name, place in config.label2id.items()}
    if options.label not in labels:
        raise ModelError(
            f"has no label {options.label!r}",
            where=files.name,
            remedy=f"labels are {', '.join(labels)}",
        )
    return SequenceClassifier(
        files,
        load_tokenizer(files),
        model,
        labels[options.label],
        chosen,
        TOKEN_BUDGET[chosen.type],
    )
