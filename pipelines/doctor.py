"""`congener doctor`: check the packages, the device and the model for a run."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from pipelines.runs.cache import CACHE_REMEDY, get_cache_folder
from pipelines.version import PACKAGES, VERSION, find_package_versions
from schemas.notices import format_count

NEEDED = tuple(name for name in PACKAGES if not name.startswith("faiss-"))
"""Packages that every run needs. FAISS comes in two packages, so it is checked separately."""
GIB = 2**30


class Check(NamedTuple):
    """The result of one check.

    `good` is False if something that every run needs is missing, and None if something optional is
    missing.
    """

    name: str
    good: bool | None
    found: str


def examine() -> list[Check]:
    """Check everything that a run needs, without downloads."""
    return [
        _check_python(),
        *_check_packages(),
        _check_faiss(),
        _check_device(),
        _check_encoder(),
        _check_extra("gcp", "google-cloud-storage"),
        _check_extra("aws", "boto3"),
        _check_cache(),
    ]


def _check_python() -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    python = f"{platform.python_version()} on {platform.machine()}, {cores} cores"
    return Check("python", True, f"{python}; congener {VERSION}")


def _check_packages() -> list[Check]:
    installed = find_package_versions()
    return [Check(name, name in installed, installed.get(name, "missing")) for name in NEEDED]


def _check_faiss() -> Check:
    try:
        import faiss
    except ImportError:
        remedy = "pip install 'congener[cpu]', or 'congener[gpu]' on a CUDA machine"
        return Check("faiss", False, f"missing: {remedy}")
    if hasattr(faiss, "StandardGpuResources"):
        build = "GPU build: searches on the GPU if models run there"
    else:
        build = "CPU build: searches on the CPU"
    return Check("faiss", True, f"{faiss.__version__}, {build}")


def _check_device() -> Check:
    import torch

    if not torch.cuda.is_available():
        threads = torch.get_num_threads()
        remark = "torch finds no GPU, so --device cuda is an error"
        return Check("device", True, f"cpu, fp32, {format_count(threads, 'thread')} ({remark})")
    memory = torch.cuda.get_device_properties(0).total_memory / GIB
    precision = "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    name = torch.cuda.get_device_name(0)
    return Check("device", True, f"cuda: {name}, {memory:.0f} GiB, {precision}")


def _check_encoder() -> Check:
    from classifiers.models.checkpoints import PINNED, find_model
    from schemas.encoders import DEFAULT_ENCODER
    from schemas.errors import ModelError

    try:
        with _stay_offline():
            files = find_model(DEFAULT_ENCODER)
    except ModelError:
        commit = PINNED[DEFAULT_ENCODER][0][:12]
        absent = f"{DEFAULT_ENCODER} at {commit} isn't on this disk; the first run fetches it"
        return Check("encoder", None, absent)
    return Check("encoder", True, f"{files.name}, weights {files.weights_sha256[:12]} as pinned")


@contextmanager
def _stay_offline() -> Iterator[None]:
    """Prevent downloads by the hub's client inside the block."""
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = before


def _check_extra(name: str, package: str) -> Check:
    try:
        return Check(f"extra {name}", True, f"{package} {metadata.version(package)}")
    except metadata.PackageNotFoundError:
        remedy = f"pip install 'congener[{name}]' to use its object store"
        return Check(f"extra {name}", None, f"not installed: {remedy}")


def _check_cache() -> Check:
    folder = get_cache_folder()
    if folder is None:
        return Check("cache", None, f"none, since this user has no home folder: {CACHE_REMEDY}")
    parent = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not os.access(parent, os.W_OK | os.X_OK):
        return Check("cache", None, f"{folder} isn't writable: {CACHE_REMEDY}")
    banks = len(list(Path(folder, "banks").glob("*"))) if folder.exists() else 0
    free = shutil.disk_usage(parent).free / GIB
    return Check("cache", True, f"{folder}, {format_count(banks, 'bank')}, {free:.0f} GiB free")
