"""An adapter (LoRA) in a causal model: its weights, what it changes, and taking it out again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from classifiers.students.checks import require_bound_adapter, require_effect
from schemas.errors import ModelError

NAME = "student"

TRANSPOSED = "Conv1D"
"""The dense layers of GPT-2 and its relatives, whose weights are stored the other way round."""

EXTRA = "pip install 'congener[students]'"


@dataclass(frozen=True)
class AdapterShape:
    """The size of an adapter, and the names of the layers that it changes.

    Without names, it changes all dense layers except the last, which gives the logits.
    """

    rank: int = 16
    alpha: int = 32
    targets: tuple[str, ...] = ()


class AdaptedNetwork(nn.Module):
    """A causal model with an adapter, called like a tiny student's network."""

    def __init__(self, model: Any, tuner: Any, layers: Sequence[str]) -> None:
        super().__init__()
        self.model, self.tuner, self.layers = model, tuner, tuple(layers)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the logits of the next tokens in single precision, [batch, length, vocabulary].

        Padding must be at the ends, where no earlier token sees it.
        """
        ids = ids.to(self.model.device)
        seen = torch.ones_like(ids)
        logits: torch.Tensor = self.model(ids, attention_mask=seen, use_cache=False).logits
        return logits.float()

    def collect_weights(self) -> dict[str, torch.Tensor]:
        """Return the adapter's own weights, on the CPU."""
        return {
            name.removesuffix(f".{NAME}.weight"): weight.detach().cpu().contiguous()
            for name, weight in self.model.named_parameters()
            if name.endswith(f".{NAME}.weight")
        }

    def encode_weights(self) -> bytes:
        """Return the adapter's weights as the bytes of a safetensors file."""
        data: bytes = save(dict(sorted(self.collect_weights().items())))
        return data

    @contextmanager
    def switch_off(self) -> Iterator[None]:
        """Compute without the adapter for a while."""
        self.tuner.disable_adapter_layers()
        try:
            yield
        finally:
            self.tuner.enable_adapter_layers()


@contextmanager
def attach_adapter(model: Any, shape: AdapterShape, seed: int) -> Iterator[AdaptedNetwork]:
    """Attach a new adapter to a frozen model, and take it out at the end.

    The seed decides its first weights. The model is the same before and after.

    Raises: ModelError: peft isn't installed, or the model has no layer with one of the names.
    """
    peft = load_peft()
    layers = find_layers(model, shape.targets)
    settings = peft.LoraConfig(
        r=shape.rank,
        lora_alpha=shape.alpha,
        target_modules=layers,
        fan_in_fan_out=any(
            type(model.get_submodule(name)).__name__ == TRANSPOSED for name in layers
        ),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tuner = peft.LoraModel(model, settings, NAME)
    try:
        yield AdaptedNetwork(model, tuner, layers)
    finally:
        tuner.unload()


def load_peft() -> Any:
    """Import peft, which is an extra.

    Raises: ModelError: it isn't installed.
    """
    try:
        import peft  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise ModelError(
            f"students with an adapter need peft: {error}", where="lora", remedy=EXTRA
        ) from error
    return peft


def find_layers(model: Any, targets: Sequence[str]) -> list[str]:
    """Return the full names of the layers that an adapter changes.

    Raises: ModelError: the model has no layer with one of the names.
    """
    last = model.get_output_embeddings()
    dense = {
        name: layer
        for name, layer in model.named_modules()
        if type(layer).__name__ in ("Linear", TRANSPOSED) and layer is not last
    }
    ends = {name: name.rpartition(".")[2] for name in dense}
    known = sorted(set(ends.values()))
    for target in targets:
        if target not in known:
            raise ModelError(
                f"the model has no layer {target!r}",
                where="lora.targets",
                remedy=f"its dense layers are {', '.join(known) or 'none'}",
            )
    return [name for name, end in ends.items() if not targets or end in targets]


def require_working_adapter(network: AdaptedNetwork, ids: torch.Tensor, where: str) -> None:
    """Stop if any of the adapter's weights is missing or zero, or if it changes no logit.

    `ids` [rows, length] are tokens to compare on.

    Raises: TrialError: the adapter isn't in the model, or wasn't trained.
    """
    expected = [f"{layer}.lora_{part}" for layer in network.layers for part in "AB"]
    require_bound_adapter(network.collect_weights(), expected, where)
    with torch.inference_mode():
        changed = network(ids)
        with network.switch_off():
            plain = network(ids)
    require_effect([plain], [changed], where)
