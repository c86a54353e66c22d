"""Load checkpoints into torch from safetensors weights, without remote code.

Importing this module loads torch and transformers, which takes seconds.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers

from classifiers.models.checkpoints import ModelFiles
from classifiers.models.interface import Device, Precision
from classifiers.models.tokens import TextTokenizer
from schemas.errors import (
    CARD_MEMORY_REMEDY,
    CARD_REMEDY,
    MachineError,
    ModelError,
    is_card_fault,
    is_out_of_memory,
)


def choose_device(wanted: Device) -> torch.device:
    """Return the device to compute on. `auto` prefers CUDA.

    Raises: ModelError: the user asked for CUDA, but torch finds no GPU.
    """
    if wanted == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if wanted == "cuda":
        raise ModelError(
            "--device is cuda, but torch finds no GPU",
            remedy="check nvidia-smi and that torch is a CUDA build (congener doctor), "
            "or use --device cpu",
        )
    return torch.device("cpu")


def choose_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the type to compute in.

    `auto` is bf16 on a GPU that supports it, and otherwise fp32.
    """
    if precision == "auto":
        precision = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def _refuse(files: ModelFiles, problem: str, error: Exception) -> Exception:
    """Return a ModelError for a failed load, or the error itself if memory ran out."""
    if is_out_of_memory(error):
        return error
    reason = str(error) or type(error).__name__
    return ModelError(f"{problem}: {reason}", where=str(files.folder))


def load_model(
    kind: Any, files: ModelFiles, device: torch.device, dtype: torch.dtype
) -> torch.nn.Module:
    """Load a checkpoint for inference with `kind`, a transformers Auto class.

    Raises: ModelError: transformers can't load the checkpoint, or the checkpoint lacks needed
    weights. MachineError: a card has no room for it, is in use by another job, or is lost.
    """
    transformers.utils.logging.disable_progress_bar()
    try:
        model, notes = kind.from_pretrained(
            files.folder,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            dtype=dtype,
            output_loading_info=True,
        )
    except Exception as error:  # a damaged configuration may fail anywhere in transformers
        raise _refuse(files, "can't be loaded", error) from error
    # An encoder may lack weights for its pooler, since vectors come from the hidden states.
    if missing := [
        key
        for key in notes["missing_keys"]
        if "pooler" not in key or kind is not transformers.AutoModel
    ]:
        raise ModelError(
            f"weights are missing for {', '.join(sorted(missing)[:3])}",
            where=str(files.folder),
            remedy=f"name a complete checkpoint that {kind.__name__} can load",
        )
    try:
        loaded: torch.nn.Module = model.to(device).eval().requires_grad_(False)
    except RuntimeError as error:
        if device.type == "cpu" or not (is_out_of_memory(error) or is_card_fault(error)):
            raise
        raise _describe_card(files, device, error) from error
    return loaded


def _describe_card(files: ModelFiles, device: torch.device, error: Exception) -> MachineError:
    """Return the error for a card that a model can't be moved to: a full, a busy or a lost one."""
    where = str(files.folder)
    if is_out_of_memory(error):
        problem = f"the memory of {device} has no room for {files.name}"
        return MachineError(problem, where=where, remedy=CARD_MEMORY_REMEDY)
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return MachineError(f"{device} can't be used: {reason}", where=where, remedy=CARD_REMEDY)


def load_tokenizer(files: ModelFiles) -> TextTokenizer:
    """Load a checkpoint's fast tokenizer.

    Raises: ModelError: the tokenizer can't be loaded or isn't a fast one.
    """
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            files.folder, use_fast=True, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:  # a damaged configuration may fail anywhere in transformers
        raise _refuse(files, "tokenizer can't be loaded", error) from error
    if not tokenizer.is_fast:
        raise ModelError(
            "has no fast tokenizer",
            where=str(files.folder),
            remedy="add a tokenizer.json; windows need the offsets of a fast tokenizer",
        )
    return TextTokenizer(tokenizer.backend_tokenizer)
