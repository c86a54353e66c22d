"""Batches without padding: all windows in one row, and attention within each window.

A card's attention kernel for runs of different lengths reads where each window begins. Elsewhere,
an attention with a mask for the same bounds computes the same, which tests compare with padding.
"""

from __future__ import annotations

import importlib.util
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers

from classifiers.models.windows import TokenRuns

PACKED = "congener_packed"
"""The name under which transformers knows the attention."""

POSITIONS_AFTER_PADDING = {"bert": False, "roberta": True, "xlm-roberta": True, "camembert": True}
"""The kinds of models that can be packed, and whether positions count from the padding's id."""

HALF = (torch.float16, torch.bfloat16)
"""The types that the kernel computes in."""


class Packed(NamedTuple):
    """Windows in one row: int64 tokens and positions [1, tokens], int32 bounds [windows + 1]."""

    tokens: torch.Tensor
    positions: torch.Tensor
    bounds: torch.Tensor
    longest: int

    def move(self, device: torch.device) -> Packed:
        """Return the same batch on a device; a copy to a card doesn't wait for its end."""
        return Packed(
            move_tensor(self.tokens, device),
            move_tensor(self.positions, device),
            move_tensor(self.bounds, device),
            self.longest,
        )


def move_tensor(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor on a device; a copy to a card is made from pinned memory, without a wait."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def can_pack(model: torch.nn.Module, device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether a model's windows can be packed on a device: on a card, in half precision."""
    kind = getattr(model.config, "model_type", None)
    known = kind in POSITIONS_AFTER_PADDING and not getattr(model.config, "is_decoder", False)
    return known and device.type == "cuda" and dtype in HALF and _has_kernel(device)


def _has_kernel(device: torch.device) -> bool:
    """Return whether torch has the kernel and the card can run it (Ampere or later)."""
    found = importlib.util.find_spec("torch.nn.attention.varlen") is not None
    return found and torch.cuda.get_device_capability(device) >= (8, 0)


def use_packed_attention(model: torch.nn.Module) -> None:
    """Make a model compute attention within the windows of packed batches.

    Padded batches can't be given to the model after that.
    """
    transformers.AttentionInterface.register(PACKED, attend_within_windows)
    transformers.AttentionMaskInterface.register(PACKED, _omit_mask)
    model.set_attn_implementation(PACKED)  # type: ignore[operator]


def is_packing(model: torch.nn.Module) -> bool:
    """Return whether a model reads packed batches (see `use_packed_attention`)."""
    return getattr(model.config, "_attn_implementation", None) == PACKED


def pack_batch(runs: TokenRuns, model: torch.nn.Module) -> Packed:
    """Return windows as one row, with each window's positions counted from its own start."""
    config: Any = model.config
    first = config.pad_token_id + 1 if POSITIONS_AFTER_PADDING[config.model_type] else 0
    lengths = runs.lengths
    positions = np.arange(len(runs.ids)) - np.repeat(runs.bounds[:-1], lengths) + first
    return Packed(
        torch.from_numpy(runs.ids.astype(np.int64))[None],
        torch.from_numpy(positions.astype(np.int64))[None],
        torch.from_numpy(runs.bounds.astype(np.int32)),
        int(lengths.max()),
    )


def run_packed(model: torch.nn.Module, packed: Packed, all_layers: bool) -> Any:
    """Return a model's output for a packed batch; hidden states are [1, tokens, dimension]."""
    return model(
        input_ids=packed.tokens,
        position_ids=packed.positions,
        attention_mask=None,
        output_hidden_states=all_layers,
        cu_seq_lens_q=packed.bounds,
        max_length_q=packed.longest,
    )


def pool_mean(hidden: torch.Tensor, bounds: torch.Tensor) -> torch.Tensor:
    """Return the mean state of each window, float32 [windows, dimension], from [1, tokens, …]."""
    lengths = bounds.long().diff()
    return torch.segment_reduce(hidden[0].float(), "mean", lengths=lengths)


def pool_first(hidden: torch.Tensor, bounds: torch.Tensor) -> torch.Tensor:
    """Return the state of each window's first token, float32 [windows, dimension]."""
    return hidden[0, bounds[:-1].long()].float()


def attend_within_windows(
    module: torch.nn.Module,  # noqa: ARG001 - transformers' signature
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # noqa: ARG001
    *,
    cu_seq_lens_q: torch.Tensor,
    max_length_q: int,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Return attention within each window, as [1, tokens, heads, size], from [1, heads, …]."""
    attend = _attend_by_kernel if query.device.type == "cuda" else _attend_by_mask
    found = attend(
        query[0].transpose(0, 1),
        key[0].transpose(0, 1),
        value[0].transpose(0, 1),
        cu_seq_lens_q,
        max_length_q,
        scaling,
    )
    return found[None], None


def _attend_by_kernel(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bounds: torch.Tensor,
    longest: int,
    scaling: float | None,
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415 - only on a card

    found = varlen_attn(query, key, value, bounds, bounds, longest, longest, scale=scaling)
    return torch.as_tensor(found)


def _attend_by_mask(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bounds: torch.Tensor,
    longest: int,  # noqa: ARG001 - only the kernel needs it
    scaling: float | None,
) -> torch.Tensor:
    owner = torch.repeat_interleave(torch.arange(len(bounds) - 1), bounds.long().diff())
    inside = owner[:, None] == owner
    found = torch.nn.functional.scaled_dot_product_attention(
        query.transpose(0, 1),
        key.transpose(0, 1),
        value.transpose(0, 1),
        attn_mask=inside,
        scale=scaling,
    )
    return found.transpose(0, 1)


def _omit_mask(*_: Any, **__: Any) -> None:
    """Return no mask, because bounds take its place."""
