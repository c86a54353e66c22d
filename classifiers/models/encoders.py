"""The transformer encoder, whose vectors exemplar search and heads share."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
import transformers

from classifiers.models.cards import Cards, Replica, list_cards, take_turn
from classifiers.models.checkpoints import ModelFiles, find_model, require_unchanged
from classifiers.models.interface import EncoderConfig, Progress, require_finite
from classifiers.models.inventory import find_pooling, read_description
from classifiers.models.loading import choose_device, choose_dtype, load_model, load_tokenizer
from classifiers.models.packing import (
    Packed,
    can_pack,
    is_packing,
    move_tensor,
    pack_batch,
    pool_first,
    pool_mean,
    run_packed,
    use_packed_attention,
)
from classifiers.models.windows import (
    BatchCounts,
    TokenRuns,
    Window,
    Windows,
    collect_runs,
    collect_windows,
    cut_windows,
    pad_batch,
    plan_batches,
    plan_packed_batches,
)
from schemas.errors import ModelError, is_out_of_memory, walk_causes

FEWEST_WINDOW_TOKENS = 8
"""The smallest window, in tokens.

A window needs room for special tokens, and for text outside the overlap.
"""

TOKEN_BUDGET = {"cpu": 2_048, "cuda": 131_072}
"""The largest number of padded tokens in a batch.

On a CPU, small batches stay in the cache: 2 k gives a core 18 % more tokens/s than 4 k. A budget of
1 k gives another 3 %, but Python has twice as much to do. A GPU needs large batches.
"""


@dataclass
class Encoder:
    """A loaded encoder. Its vectors are float32 and have unit length."""

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
    cards: Cards | None = None
    """The copies of the model if there are several cards."""

    @property
    def dimension(self) -> int:
        """Return the number of dimensions of a vector."""
        return int(self.model.config.hidden_size)  # type: ignore[union-attr, arg-type]

    @property
    def identity(self) -> dict[str, Any]:
        """Return the settings that vectors depend on. A bank works only with equal settings."""
        return {
            **self.files.identity,
            "pooling": self.pooling,
            "layers": list(self.layers),
            "window_tokens": self.config.window_tokens,
            "window_overlap": self.config.window_overlap,
        }

    @property
    def layers(self) -> tuple[int, ...]:
        """Return the numbers of a vector's layers, in the order of `layer_depths`.

        A layer that several depths round to is listed once.
        """
        depth = int(self.model.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]
        return tuple(
            dict.fromkeys(max(1, round(share * depth)) for share in self.config.layer_depths)
        )

    def cut_windows(self, texts: Sequence[str] | pa.LargeStringArray) -> Windows:
        """Cut texts into overlapping windows, at least one per text, in text order."""
        return cut_windows(
            self.tokenizer, texts, self.config.window_tokens, self.config.window_overlap
        )

    def take_whole(self, texts: Sequence[str]) -> list[Window]:
        """Return one window per text, truncated to the model's limit, as for positives."""
        windows = cut_windows(self.tokenizer, texts, self.max_tokens, 0)
        firsts = np.searchsorted(windows.texts, np.arange(len(texts)))
        return [windows[index] for index in firsts.tolist()]

    def remembers(self, windows: Sequence[Window]) -> bool:  # noqa: ARG002
        """Return whether the vectors of these windows are known without computing them."""
        return False

    def encode(self, windows: Sequence[Window], progress: Progress | None = None) -> np.ndarray:
        """Return the windows' vectors, float32 [windows, dimension].

        If memory runs out, the token budget shrinks for good, `counts.budget_cuts` grows by one,
        and the batch is retried in parts.

        Raises: RowError: a vector contains NaN or infinity.
        """
        vectors = np.empty((len(windows), self.dimension), np.float32)
        return compute_values(self, windows, vectors, progress)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return one padded batch's unit vectors, as [windows, dimension]."""
        output = self.model(
            input_ids=tokens, attention_mask=mask, output_hidden_states=len(self.layers) > 1
        )
        return self._average_layers(output, lambda state: self._pool(state, mask))

    @property
    def packs(self) -> bool:
        """Return whether the model reads packed batches instead of padded ones."""
        return is_packing(self.model)

    def forward_packed(self, packed: Packed) -> torch.Tensor:
        """Return one packed batch's unit vectors, as [windows, dimension]."""
        output = run_packed(self.model, packed, all_layers=len(self.layers) > 1)
        pool = pool_first if self.pooling == "cls" else pool_mean
        return self._average_layers(output, lambda state: pool(state, packed.bounds))

    def _average_layers(
        self, output: Any, pool: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        states = (
            [output.last_hidden_state]
            if len(self.layers) == 1
            else [output.hidden_states[layer] for layer in self.layers]
        )
        units = [torch.nn.functional.normalize(pool(state), dim=1) for state in states]
        return (
            units[0]
            if len(units) == 1
            else torch.nn.functional.normalize(torch.stack(units).sum(0), dim=1)
        )

    def _pool(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self.pooling == "cls":
            return hidden[:, 0].float()
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weights).sum(1, dtype=torch.float32) / mask.sum(1, keepdim=True).clamp(
            min=1
        )


def compute_values(
    model: Any, windows: Sequence[Window], values: np.ndarray, progress: Progress | None
) -> np.ndarray:
    """Fill an array [windows, …] with a model's outputs, and return the array.

    Raises: RowError: a value is NaN or infinity.
    """
    ids = collect_windows(windows).runs
    with take_turn(model) as runner:
        at_once = count_parallel_batches(runner.device)
        run_batches(runner, ids, values.__setitem__, progress, at_once)
    require_finite(values, model.files.name)
    return values


def run_batches(
    runner: Any,
    ids: Sequence[Sequence[int]] | TokenRuns,
    keep: Callable[[np.ndarray, np.ndarray], None],
    progress: Progress | None,
    at_once: int = 1,
) -> None:
    """Run `runner.forward` on windows, given as token ids, and pass each batch's result to `keep`.

    `keep` receives the indexes and the values of windows. Windows are sorted by length, and batches
    hold at most `runner.token_budget` tokens, with padding if the runner pads. `at_once` batches
    run at the same time; if there are several, each runs on one core. Results of a card are
    collected at the end, so that the card doesn't wait for the host after each batch.

    Raises: RuntimeError, MemoryError: the work failed, or a single window doesn't fit in memory.
    """
    runs = collect_runs(ids)
    lengths = runs.lengths
    pending = _plan(lengths, np.arange(len(lengths)), runner)
    running: dict[Future[torch.Tensor], np.ndarray] = {}
    on_card: list[tuple[np.ndarray, torch.Tensor]] = []
    if progress:
        progress.expect(len(lengths), len(runs.ids))
    with _open_pool(at_once) as pool:
        while pending or running:
            while pending and len(running) < at_once:
                batch = pending.pop()
                running[pool.submit(_run_batch, runner, runs.take(batch))] = batch
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                batch = running.pop(future)
                try:
                    values = future.result()
                except (RuntimeError, MemoryError) as error:
                    if len(batch) == 1 or not is_out_of_memory(error):
                        raise
                    _release_tensors(error)
                    _cut_budget(runner, _measure(lengths[batch], runner) // 2, progress)
                    left = np.concatenate([batch, *reversed(pending)])
                    pending = _plan(lengths, left, runner)
                else:
                    _count_batch(runner, lengths[batch], progress)
                    if values.device.type == "cpu":
                        keep(batch, values.numpy())
                    else:
                        on_card.append((batch, values))
    if on_card:
        batches, results = zip(*on_card, strict=True)
        keep(np.concatenate(batches), torch.cat(results).cpu().numpy())


def _release_tensors(error: BaseException) -> None:
    """Free what a failed pass computed, which the error's traceback would keep for the retry."""
    for item in walk_causes(error):
        traceback.clear_frames(item.__traceback__)


def _cut_budget(runner: Any, budget: int, progress: Progress | None) -> None:
    torch.cuda.empty_cache()
    runner.token_budget = budget
    runner.counts.budget_cuts += 1
    if progress:
        progress.cut(budget)


def _count_batch(runner: Any, lengths: np.ndarray, progress: Progress | None) -> None:
    tokens, windows = int(lengths.sum()), len(lengths)
    runner.counts.add(tokens, _measure(lengths, runner), windows)
    if progress:
        progress.batch(tokens, windows)


def _measure(lengths: np.ndarray, runner: Any) -> int:
    """Return how many tokens a batch of windows of these lengths has, with any padding."""
    return int(lengths.sum() if _packs(runner) else len(lengths) * lengths.max())


def _packs(runner: Any) -> bool:
    return bool(getattr(runner, "packs", False))  # sequence classifiers always pad


def _plan(lengths: np.ndarray, indexes: np.ndarray, runner: Any) -> list[np.ndarray]:
    """Return batches of these windows, shortest first, so that `pop` takes the longest."""
    plan = plan_packed_batches if _packs(runner) else plan_batches
    return [indexes[batch] for batch in reversed(plan(lengths[indexes], runner.token_budget))]


def _run_batch(runner: Any, batch: TokenRuns) -> torch.Tensor:
    """Return a batch's values as float32 on the runner's device, without waiting for a card."""
    with torch.inference_mode():
        if _packs(runner):
            packed = pack_batch(batch, runner.model).move(runner.device)
            found: torch.Tensor = runner.forward_packed(packed)
        else:
            padded = pad_batch(batch, find_pad_id(runner.model))
            tokens, mask = (move_tensor(torch.from_numpy(item), runner.device) for item in padded)
            found = runner.forward(tokens, mask)
        return found.float()


def count_parallel_batches(device: torch.device) -> int:
    """Return how many batches run at once: one per torch thread, or one on a GPU.

    Cores that share a batch wait for each other after every operation. On two cores that other
    programs also use, an encoder is 2.2 times as fast with one batch per core.
    """
    return torch.get_num_threads() if device.type == "cpu" else 1


@contextmanager
def _open_pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool whose threads use one core each. A single thread uses all of torch's cores.

    `set_num_threads` also affects later threads, so the old number is restored afterwards.
    """
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(
            threads, initializer=torch.set_num_threads, initargs=(1 if threads > 1 else before,)
        ) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


def find_pad_id(model: torch.nn.Module) -> int:
    """Return the token id for padding.

    The mask hides padding, so any id in the vocabulary works.
    """
    return getattr(model.config, "pad_token_id", None) or 0


def load_encoder(config: EncoderConfig) -> Encoder:
    """Load a configuration's encoder.

    Raises: ModelError: the model can't be found, loaded or run on the device, its files change
    while it is loaded, or the configured windows don't suit the model.
    """
    device = choose_device(config.device)
    dtype = choose_dtype(config.precision, device)
    files = find_model(config.model, config.revision)
    cards = [load_replica(files, card, dtype) for card in list_cards(device)]
    model = cards[0].model
    limit = _find_limit(files, model)
    check_windows(config.window_tokens, config.window_overlap, limit, files)
    encoder = Encoder(
        config,
        files,
        load_tokenizer(files),
        model,
        device,
        dtype,
        _find_pooling(files),
        limit,
        config.token_budget or TOKEN_BUDGET[device.type],
        cards=Cards(cards) if len(cards) > 1 else None,
    )
    require_unchanged(files)
    return encoder


def load_replica(files: ModelFiles, device: torch.device, dtype: torch.dtype) -> Replica:
    """Load a model on a device, with attention for packed batches where it allows them.

    Raises: ModelError: it can't be loaded. MachineError: the card has no memory for it.
    """
    model = load_model(transformers.AutoModel, files, device, dtype)
    if can_pack(model, device, dtype):
        use_packed_attention(model)
    return Replica(model, device)


def check_windows(size: int, overlap: int, limit: int, files: ModelFiles) -> None:
    """Check that windows of this size and overlap suit a model with this limit.

    Raises: ModelError: the windows are longer than the limit, hold hardly any text, or overlap so
    much that they hardly advance.
    """
    if size > limit:
        raise ModelError(
            f"reads at most {limit} tokens, but windows have {size}",
            where=files.name,
            remedy=f"set window_tokens to {limit} or less",
        )
    if size < FEWEST_WINDOW_TOKENS or not 0 <= overlap <= size // 2:
        raise ModelError(
            f"windows of {size} tokens can't overlap by {overlap}",
            where=files.name,
            remedy=f"set window_tokens to {FEWEST_WINDOW_TOKENS} or more, "
            "and window_overlap to at most half of window_tokens",
        )


def _find_limit(files: ModelFiles, model: torch.nn.Module) -> int:
    """Return how many tokens the model can read.

    This is the smaller of the sentence-transformers limit and the model's number of positions.
    """
    stated = read_description(files.folder, "sentence_bert_config.json").get("max_seq_length")
    config: Any = model.config
    positions = getattr(config, "max_position_embeddings", None) or 512
    return int(min(stated if isinstance(stated, int) and stated > 0 else positions, positions))


def _find_pooling(files: ModelFiles) -> Literal["mean", "cls"]:
    """Return the pooling from sentence-transformers settings, in either format."""
    name = find_pooling(files.folder)
    settings = read_description(files.folder, name) if name else {}
    first = settings.get("pooling_mode_cls_token") or settings.get("pooling_mode") == "cls"
    return "cls" if first else "mean"
