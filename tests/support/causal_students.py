"""Tiny causal models of Hugging Face, built from nothing and saved with a chat tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.support.students import CHATML, build_student


def build_causal(seed: int = 0, **changes: Any) -> Any:
    """Return a Llama of two layers with random weights, for the tokenizer of `build_student`."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = build_student()
    settings = {
        "vocab_size": len(tokenizer),
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.2,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(LlamaConfig(**settings | changes))


def save_causal(folder: Path, seed: int = 0, template: str | None = CHATML, **changes: Any) -> str:
    """Save a tiny model with its tokenizer, and return the folder."""
    build_causal(seed, **changes).save_pretrained(folder)
    build_student(template=template).save_pretrained(folder)
    return str(folder)
