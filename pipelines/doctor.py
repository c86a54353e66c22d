"""`congener doctor`: what is installed, which device there is, and what a run here would use."""

from __future__ import annotations

import os
import platform
import shutil
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from pipelines.runs.cache import cache_folder
from pipelines.version import VERSION, package_versions


class Check(NamedTuple):
    """One thing looked at: whether it is as a run needs it (None: optional, and absent), and what was found."""

    name: str
    good: bool | None
    found: str


def examine() -> list[Check]:
    """Look at everything a run depends on; nothing is downloaded."""
    return [
        _python(),
        *_packages(),
        _faiss(),
        _device(),
        _encoder(),
        _extra("gcp", "google-cloud-storage"),
        _extra("aws", "boto3"),
        _cache(),
    ]


def _python() -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Check(
        "python",
        True,
        f"{platform.python_version()} on {platform.machine()}, {cores} cores; congener {VERSION}",
    )


def _packages() -> list[Check]:
    needed = {
        "apache-beam",
        "numpy",
        "pyarrow",
        "torch",
        "transformers",
        "tokenizers",
        "safetensors",
        "google-re2",
        "orjson",
    }
    found = package_versions()
    return [Check(name, name in found, found.get(name, "missing")) for name in sorted(needed)]


def _faiss() -> Check:
    try:
        import faiss
    except ImportError:
        return Check(
            "faiss",
            False,
            "missing: pip install 'congener[cpu]', or 'congener[gpu]' on a CUDA machine",
        )
    gpu = hasattr(faiss, "StandardGpuResources")
    return Check(
        "faiss",
        True,
        f"{faiss.__version__}, {'GPU' if gpu else 'CPU'} build: searches run on the {'GPU when --device is one' if gpu else 'CPU'}",
    )


def _device() -> Check:
    import torch

    if torch.cuda.is_available():
        name = torch.cuda.get_device_name(0)
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return Check(
            "device",
            True,
            f"cuda: {name}, {memory:.0f} GiB, {'bf16' if torch.cuda.is_bf16_supported() else 'fp32'}",
        )
    return Check(
        "device",
        True,
        f"cpu, fp32, {torch.get_num_threads()} threads (torch sees no GPU; --device cuda would refuse)",
    )


def _encoder() -> Check:
    from classifiers.models.checkpoints import PINNED, find_model
    from schemas.encoders import DEFAULT_ENCODER
    from schemas.errors import ModelError

    offline, os.environ["HF_HUB_OFFLINE"] = os.environ.get("HF_HUB_OFFLINE"), "1"
    try:
        files = find_model(DEFAULT_ENCODER)
    except ModelError:
        return Check(
            "encoder",
            None,
            f"{DEFAULT_ENCODER} at {PINNED[DEFAULT_ENCODER][0][:12]} isn't on this disk; the first run fetches it",
        )
    finally:
        os.environ.pop("HF_HUB_OFFLINE") if offline is None else os.environ.update(
            HF_HUB_OFFLINE=offline
        )
    return Check("encoder", True, f"{files.name}, weights {files.weights_sha256[:12]} as pinned")


def _extra(name: str, package: str) -> Check:
    try:
        return Check(f"extra {name}", True, f"{package} {metadata.version(package)}")
    except metadata.PackageNotFoundError:
        return Check(
            f"extra {name}",
            None,
            f"not installed: pip install 'congener[{name}]' for its object store",
        )


def _cache() -> Check:
    folder = cache_folder()
    parent = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(parent, os.W_OK):
        return Check("cache", False, f"{folder} can't be written; set CONGENER_CACHE")
    banks = len(list(Path(folder, "banks").glob("*"))) if folder.exists() else 0
    return Check(
        "cache",
        True,
        f"{folder}, {banks} banks, {shutil.disk_usage(parent).free / 2**30:.0f} GiB free",
    )
