"""Hugging Face causal models as students: loading, the end of an answer, and answering."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers

from classifiers.models.chat_tokenizers import digest_tokenizer, load_chat_tokenizer
from classifiers.models.checkpoints import ModelFiles, find_model, require_unchanged
from classifiers.models.interface import Device, Precision
from classifiers.models.loading import choose_device, choose_dtype, load_model
from classifiers.students.answers import Decoding
from schemas.errors import ModelError

BATCH = 32
"""How many prompts of the same length are answered at a time."""

CUBLAS = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
"""Without this variable, cuBLAS refuses to compute repeatably."""


@dataclass(frozen=True)
class CausalFiles:
    """A checkpoint with its tokenizer, before its weights are loaded."""

    files: ModelFiles
    tokenizer: Any

    @property
    def identity(self) -> dict[str, Any]:
        """Return what identifies the weights, the tokenizer and the chat template."""
        return {**self.files.identity, **digest_tokenizer(self.tokenizer)}


def find_causal(name: str, revision: str | None) -> CausalFiles:
    """Find a causal model and load its tokenizer. A name on the hub needs a pinned revision.

    Raises: ModelError: the model can't be found, isn't pinned, or has no safetensors weights, no
    fast tokenizer or no chat template.
    """
    files = find_model(name, revision)
    tokenizer = load_chat_tokenizer(str(files.folder))
    if not tokenizer.chat_template:
        raise ModelError(
            "has no chat template, so nobody knows how to ask it",
            where=name,
            remedy="name a chat model, or save a template with the tokenizer",
        )
    return CausalFiles(files, tokenizer)


def settle_device(wanted: Device) -> torch.device:
    """Return the device to train on. `auto` prefers CUDA.

    Raises: ModelError: CUDA is wanted, but torch finds no GPU.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            "is cuda, but torch finds no GPU",
            where="lora.device",
            remedy="check nvidia-smi and that torch is a CUDA build (congener doctor), or train "
            "with device: cpu",
        )
    return choose_device(wanted)


def load_causal(found: CausalFiles, device: torch.device, precision: Precision) -> Any:
    """Load a causal model's weights, frozen, on a device.

    Attention is computed step by step, since faster forms of it may vary on a GPU.

    Raises: ModelError: the weights can't be loaded, or were changed since they were found.
    """
    if device.type == "cuda":
        os.environ.setdefault(*CUBLAS)
    kind = transformers.AutoModelForCausalLM
    model: Any = load_model(kind, found.files, device, choose_dtype(precision, device))
    require_unchanged(found.files)
    model.set_attn_implementation("eager")
    return model


def find_context(model: Any, wanted: int) -> int:
    """Return the largest number of tokens that a student reads.

    Raises: ModelError: the model reads fewer.
    """
    most = getattr(model.config.get_text_config(), "max_position_embeddings", None) or wanted
    if wanted > most:
        raise ModelError(
            f"the model reads at most {most:,} tokens, fewer than {wanted:,}",
            where="lora.context",
            remedy=f"lower it to {most:,}",
        )
    return wanted


def list_ends(model: Any, tokenizer: Any, last: int) -> frozenset[int]:
    """Return the tokens that end an answer.

    `last` is the last token of an answer in the chat template. It counts if it is a special one.
    """
    named = model.generation_config.eos_token_id
    own = named if isinstance(named, list) else [named]
    ends = {*own, tokenizer.eos_token_id}
    ends |= {last} & set(tokenizer.all_special_ids)
    return frozenset(end for end in ends if end is not None)


def answer_tokens(
    model: Any,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    ends: frozenset[int],
    seed: int,
) -> list[list[int]]:
    """Return the tokens of an answer to each prompt's tokens, without the token that ends it.

    Prompts of the same length are answered together, so none is padded. Neither the checkpoint's
    sampling settings nor the global random state have an effect.
    """
    by_length = defaultdict[int, list[int]](list)
    for index, ids in enumerate(prompts):
        by_length[len(ids)].append(index)
    answers: list[list[int]] = [[] for _ in prompts]
    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        for _, group in sorted(by_length.items()):
            for first in range(0, len(group), BATCH):
                part = group[first : first + BATCH]
                asked = torch.tensor([list(prompts[index]) for index in part])
                found = _continue(model, asked, decoding, ends, generator)
                for index, ids in zip(part, found, strict=True):
                    answers[index] = ids
    return answers


def _continue(
    model: Any,
    ids: torch.Tensor,
    decoding: Decoding,
    ends: frozenset[int],
    generator: torch.Generator,
) -> list[list[int]]:
    """Return the tokens of an answer to each prompt [prompts, length]."""
    cache, drawn, stop = None, list[torch.Tensor](), torch.tensor(sorted(ends), dtype=torch.int64)
    ended = torch.zeros(len(ids), dtype=torch.bool)
    seen = torch.ones_like(ids)
    for _ in range(decoding.tokens):
        out = model(
            ids.to(model.device),
            attention_mask=seen.to(model.device),
            past_key_values=cache,
            use_cache=True,
        )
        cache = out.past_key_values
        ids = _draw(out.logits[:, -1].float().cpu(), decoding.temperature, generator)
        seen = torch.cat((seen, torch.ones_like(ids)), 1)
        drawn.append(ids[:, 0])
        ended |= torch.isin(ids[:, 0], stop)
        if bool(ended.all()):
            break
    return [_cut(row, ends) for row in torch.stack(drawn, 1).tolist()]


def _draw(logits: torch.Tensor, temperature: float, generator: torch.Generator) -> torch.Tensor:
    """Draw a token for each row of logits, int64 [rows, 1]. Without heat, take the likeliest."""
    if temperature == 0:
        return logits.argmax(1, keepdim=True)
    shares = torch.softmax(logits / temperature, 1)
    return torch.multinomial(shares, 1, generator=generator)


def _cut(ids: list[int], ends: frozenset[int]) -> list[int]:
    """Return the tokens before the first end."""
    first = next((index for index, token in enumerate(ids) if token in ends), len(ids))
    return ids[:first]
