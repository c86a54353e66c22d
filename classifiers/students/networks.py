"""A tiny decoder-only transformer, and the weights that it starts from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

SPREAD = 0.02
"""The standard deviation of first weights, as in GPT-2."""

Cache = list[tuple[torch.Tensor, torch.Tensor]]
"""The keys and values of each layer, [batch, heads, length, width / heads]."""


@dataclass(frozen=True)
class Shape:
    """The size of a network. `context` is the largest number of tokens it reads."""

    vocabulary: int
    context: int = 128
    width: int = 96
    layers: int = 2
    heads: int = 4


class Block(nn.Module):
    """One layer: causal attention, then two dense layers, each added to its input."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.before_attention = nn.LayerNorm(shape.width)
        self.project = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.merge = nn.Linear(shape.width, shape.width, bias=False)
        self.before_dense = nn.LayerNorm(shape.width)
        self.widen = nn.Linear(shape.width, 4 * shape.width)
        self.narrow = nn.Linear(4 * shape.width, shape.width)

    def forward(self, states: torch.Tensor, cache: Cache) -> torch.Tensor:
        """Return the states after this layer, and append its keys and values to the cache.

        With a key in the cache, the states must be those of one new token.
        """
        states = states + self._attend(self.before_attention(states), cache)
        dense = functional.gelu(self.widen(self.before_dense(states)))
        out: torch.Tensor = states + self.narrow(dense)
        return out

    def _attend(self, states: torch.Tensor, cache: Cache) -> torch.Tensor:
        batch, length, width = states.shape
        parts = self.project(states).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        is_first = not cache
        if cache:
            before = cache.pop()
            key, value = torch.cat((before[0], key), 2), torch.cat((before[1], value), 2)
        cache.append((key, value))
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=is_first)
        merged: torch.Tensor = self.merge(mixed.transpose(1, 2).reshape(batch, length, width))
        return merged


class Network(nn.Module):
    """The transformer. The table of tokens is also its last layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.positions = nn.Embedding(shape.context, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.last = nn.LayerNorm(shape.width)

    def forward(self, ids: torch.Tensor, caches: list[Cache] | None = None) -> torch.Tensor:
        """Return the logits of the next tokens, [batch, length, vocabulary].

        `caches` holds one cache for each layer, and is filled. If they are filled already, `ids`
        are the tokens after those that filled them.
        """
        caches = [[] for _ in self.blocks] if caches is None else caches
        start = caches[0][0][0].shape[2] if caches[0] else 0
        places = torch.arange(start, start + ids.shape[1])
        states = self.tokens(ids) + self.positions(places)
        for block, cache in zip(self.blocks, caches, strict=True):
            states = block(states, cache)
        logits: torch.Tensor = self.last(states) @ self.tokens.weight.T
        return logits

    def count_parameters(self) -> int:
        """Return the number of weights."""
        return sum(item.numel() for item in self.parameters())


def initialise(shape: Shape, initialisation: int) -> Network:
    """Return a network with random weights. The same number gives the same weights."""
    generator = torch.Generator().manual_seed(initialisation)
    with torch.no_grad():
        network = Network(shape)
        for name, weight in network.named_parameters():
            if weight.dim() > 1:
                deep = name.endswith(("merge.weight", "narrow.weight"))
                spread = SPREAD / math.sqrt(2 * shape.layers) if deep else SPREAD
                weight.normal_(0, spread, generator=generator)
            elif name.endswith("bias"):
                weight.zero_()
    return network


@contextmanager
def compute_repeatably(threads: int = 1) -> Iterator[None]:
    """Fix the number of threads and forbid operations whose result may vary, and undo both after.

    Sums depend on how they are split among threads.
    """
    before, was_strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(mode=was_strict)
