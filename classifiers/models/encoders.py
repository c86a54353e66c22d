"""The transformer encoder: one pass over windows gives the vectors that search and heads share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

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
from classifiers.models.windows import BatchCounts, Window, cut_windows, padded, plan_batches
from schemas.encoders import DEFAULT_ENCODER, WINDOW_OVERLAP, WINDOW_TOKENS
from schemas.errors import ModelError, RowError, out_of_memory

FEWEST_WINDOW_TOKENS = 8
"""Special tokens take a few of them, and the tokenizer can't make windows that share all the rest."""

LAYER_DEPTHS = (1.0, 2 / 3, 1 / 2)
"""Layers whose pooled states are averaged into the vector, as shares of the encoder's depth. The middle layers of an encoder
trained for topical similarity still hold manner and stance: on 34 persona traits (32 + 32 exemplars) logistic regression
gained 0.013 in AUROC over the last layer alone, and the same settings hold on the 34 others (benchmarks/personas.py)."""

TOKEN_BUDGET = {"cpu": 2_048, "cuda": 131_072}
"""Padded tokens a batch: on a CPU small batches stay in cache (a core does 18 % more tokens/s at 2 k than at 4 k, 3 % less than
at 1 k, which leaves Python twice as much to do), a GPU wants large ones."""


class Progress(Protocol):
    """Is told how work on windows goes on."""

    def expect(self, windows: int) -> None:
        """Take note of windows to come."""

    def batch(self, tokens: int, windows: int) -> None:
        """Take note of a batch that is done."""

    def cut(self, budget: int) -> None:
        """Take note that memory ran out, and of the padded tokens a batch that there are from here on."""


@dataclass(frozen=True)
class EncoderConfig:
    """Which encoder, and how it is run. Precision, device and budget change speed and last digits, not meaning."""

    model: str = DEFAULT_ENCODER
    revision: str | None = None
    window_tokens: int = WINDOW_TOKENS
    window_overlap: int = WINDOW_OVERLAP
    layer_depths: tuple[float, ...] = LAYER_DEPTHS
    device: Device = "auto"
    precision: Precision = "auto"
    token_budget: int | None = None


@dataclass
class Encoder:
    """A loaded encoder. Vectors are float32, unit length."""

    config: EncoderConfig
    files: ModelFiles
    tokenizer: Any
    model: torch.nn.Module
    device: torch.device
    dtype: torch.dtype
    pooling: Literal["mean", "cls"]
    max_tokens: int
    token_budget: int
    counts: BatchCounts = field(default_factory=BatchCounts)

    @property
    def dimension(self) -> int:
        """Return the length of a vector."""
        return int(self.model.config.hidden_size)  # type: ignore[union-attr, arg-type]

    @property
    def identity(self) -> dict[str, Any]:
        """Return what a bank must agree on: model, revision, weights, pooling and windows."""
        return {
            "model": self.files.name,
            "revision": self.files.revision,
            "weights_sha256": self.files.weights_sha256,
            "pooling": self.pooling,
            "layers": list(self.layers),
            "window_tokens": self.config.window_tokens,
            "window_overlap": self.config.window_overlap,
        }

    @property
    def layers(self) -> tuple[int, ...]:
        """Return the layers whose states make the vector, the last first."""
        depth = int(self.model.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]
        return tuple(
            dict.fromkeys(max(1, round(share * depth)) for share in self.config.layer_depths)
        )

    def windows(self, texts: Sequence[str]) -> list[Window]:
        """Cut texts into overlapping windows."""
        return cut_windows(
            self.tokenizer, texts, self.config.window_tokens, self.config.window_overlap
        )

    def whole(self, texts: Sequence[str]) -> list[Window]:
        """Take each text as one window, cut off at the model's limit; for exemplars, which are short."""
        windows = cut_windows(self.tokenizer, texts, self.max_tokens, 0)
        firsts = {window.text: window for window in reversed(windows)}
        return [firsts[place] for place in range(len(texts))]

    def encode(self, windows: Sequence[Window], progress: Progress | None = None) -> np.ndarray:
        """Return the vectors of windows, float32 [windows, dimension].

        Out of memory, the token budget is halved for good and the batch tried again; `counts.budget_cuts` says so.

        Raises: RowError: A vector holds NaN or infinity.
        """
        vectors = np.empty((len(windows), self.dimension), np.float32)
        run_batches(
            self,
            [window.ids for window in windows],
            vectors.__setitem__,
            progress,
            batches_at_once(self.device),
        )
        require_finite(vectors, self.files.name)
        return vectors

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return pooled unit vectors for one padded batch."""
        output = self.model(
            input_ids=tokens, attention_mask=mask, output_hidden_states=len(self.layers) > 1
        )
        states = (
            [output.last_hidden_state]
            if len(self.layers) == 1
            else [output.hidden_states[layer] for layer in self.layers]
        )
        units = [
            torch.nn.functional.normalize(self._pooled(state, mask), dim=1) for state in states
        ]
        return (
            units[0]
            if len(units) == 1
            else torch.nn.functional.normalize(torch.stack(units).sum(0), dim=1)
        )

    def _pooled(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self.pooling == "cls":
            return hidden[:, 0].float()
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weights).sum(1, dtype=torch.float32) / mask.sum(1, keepdim=True).clamp(
            min=1
        )


def run_batches(
    runner: Any,
    ids: Sequence[list[int]],
    keep: Callable[[np.ndarray, np.ndarray], None],
    progress: Progress | None,
    at_once: int = 1,
) -> None:
    """Run `runner.forward` over windows in length-sorted batches within `runner.token_budget`, handing each result to `keep`.

    With `at_once` above 1 that many batches run side by side, on one core each.
    """
    pending = _planned(ids, np.arange(len(ids)), runner.token_budget)
    running: dict[Future[np.ndarray], np.ndarray] = {}
    if progress:
        progress.expect(len(ids))
    with _one_core_each(at_once) as pool:
        while pending or running:
            while pending and len(running) < at_once:
                places = pending.pop()
                running[pool.submit(_run, runner, [ids[place] for place in places])] = places
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                places = running.pop(future)
                try:
                    keep(places, future.result())
                except (RuntimeError, MemoryError) as error:
                    if len(places) == 1 or not out_of_memory(error):
                        raise
                    torch.cuda.empty_cache()
                    runner.token_budget = (
                        len(places) * len(ids[places[0]]) // 2
                    )  # half of what didn't fit; the first is the longest
                    runner.counts.budget_cuts += 1
                    if progress:
                        progress.cut(runner.token_budget)
                    pending = _planned(
                        ids, np.concatenate([places, *reversed(pending)]), runner.token_budget
                    )
                    continue
                used = sum(len(ids[place]) for place in places)
                runner.counts.add(used, len(places) * len(ids[places[0]]), len(places))
                if progress:
                    progress.batch(used, len(places))


def require_finite(values: np.ndarray, where: str) -> None:
    """Refuse what a model computed if it isn't all numbers.

    Raises: RowError: It isn't.
    """
    if not np.isfinite(values).all():
        raise RowError("gives NaN or infinity", where=where)


def _planned(ids: Sequence[list[int]], places: np.ndarray, budget: int) -> list[np.ndarray]:
    """Return batches of these places, the longest windows at the end: from there they are taken."""
    return [places[part] for part in plan_batches([len(ids[place]) for place in places], budget)][
        ::-1
    ]


def _run(runner: Any, batch: Sequence[list[int]]) -> np.ndarray:
    with torch.inference_mode():
        values: np.ndarray = (
            runner.forward(*padded(batch, pad_id(runner.model), runner.device))
            .float()
            .cpu()
            .numpy()
        )
        return values


def batches_at_once(device: torch.device) -> int:
    """Return how many batches to run side by side: one for each of torch's threads on a CPU, one on a GPU.

    Cores that share a batch wait for each other after every operation, and all for one that another program takes; with a
    batch to each, an encoder is 2.2 times as fast on two busy cores.
    """
    return torch.get_num_threads() if device.type == "cpu" else 1


@contextmanager
def _one_core_each(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of threads that compute on one core each; a single one keeps torch's own number.

    `set_num_threads` also sets what later threads begin with, which is put back.
    """
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(
            threads, initializer=torch.set_num_threads, initargs=(1 if threads > 1 else before,)
        ) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


def pad_id(model: torch.nn.Module) -> int:
    """Return the id that pads; which one doesn't matter under the mask, only that the model has it."""
    return getattr(model.config, "pad_token_id", None) or 0  # type: ignore[union-attr]


def load_encoder(config: EncoderConfig) -> Encoder:
    """Load the encoder that a configuration names.

    Raises: ModelError: It can't be had, loaded or run on the device, or its windows don't fit it.
    """
    device = choose_device(config.device)
    dtype = choose_dtype(config.precision, device)
    files = find_model(config.model, config.revision)
    model = load_model(transformers.AutoModel, files, device, dtype)
    limit = _limit(files, model)
    check_windows(config.window_tokens, config.window_overlap, limit, files)
    budget = config.token_budget or TOKEN_BUDGET[device.type]
    return Encoder(
        config, files, load_tokenizer(files), model, device, dtype, _pooling(files), limit, budget
    )


def check_windows(size: int, overlap: int, limit: int, files: ModelFiles) -> None:
    """Refuse windows that are longer than the model reads, hold hardly any text, or overlap so much that they don't advance."""
    if size > limit:
        raise ModelError(
            f"reads {limit} tokens at most, windows have {size}",
            where=files.name,
            remedy="set window_tokens lower",
        )
    if size < FEWEST_WINDOW_TOKENS or not 0 <= overlap <= size // 2:
        raise ModelError(
            f"windows of {size} tokens can't overlap by {overlap}",
            where=files.name,
            remedy=f"take at least {FEWEST_WINDOW_TOKENS} tokens and overlap by at most half of them",
        )


def _limit(files: ModelFiles, model: torch.nn.Module) -> int:
    """Return how many tokens the model should read: sentence-transformers' setting, else its positions."""
    settings = files.folder / "sentence_bert_config.json"
    stated = json.loads(settings.read_text()).get("max_seq_length") if settings.is_file() else None
    positions = getattr(model.config, "max_position_embeddings", None) or 512  # type: ignore[union-attr]
    return int(min(stated or positions, positions))


def _pooling(files: ModelFiles) -> Literal["mean", "cls"]:
    settings = files.folder / "1_Pooling" / "config.json"
    return (
        "cls"
        if settings.is_file() and json.loads(settings.read_text()).get("pooling_mode_cls_token")
        else "mean"
    )
