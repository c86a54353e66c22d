"""The doctor: installed and missing parts."""

import os
import sys
import types

import pytest
import torch

from classifiers.models import checkpoints
from pipelines import doctor
from schemas.errors import ModelError


def test_this_environment_is_healthy():
    """This environment has everything for a run."""
    checks = {check.name: check for check in doctor.examine()}
    assert [name for name, check in checks.items() if check.good is False] == []
    assert checks["device"].found.startswith(("cpu", "cuda"))
    assert "as pinned" in checks["encoder"].found
    assert set(doctor.NEEDED) < set(checks)


def test_a_missing_package_is_a_fault(monkeypatch):
    """A missing package is reported."""
    monkeypatch.setattr(doctor, "find_package_versions", lambda: {"numpy": "2.1"})
    checks = {check.name: check for check in doctor._check_packages()}
    assert checks["numpy"] == doctor.Check("numpy", True, "2.1")
    assert checks["torch"] == doctor.Check("torch", False, "missing")


def test_a_missing_faiss_names_both_packages(monkeypatch):
    """The remedy for a missing FAISS names both extras."""
    monkeypatch.setitem(sys.modules, "faiss", None)
    check = doctor._check_faiss()
    assert check.good is False
    assert "congener[cpu]" in check.found
    assert "congener[gpu]" in check.found


def test_a_missing_extra_is_no_fault():
    """A missing store's extra isn't a fault."""
    check = doctor._check_extra("gcp", "no-such-package")
    assert check.good is None
    assert "congener[gcp]" in check.found


def test_an_encoder_that_must_be_fetched_is_no_fault(monkeypatch):
    """A missing encoder isn't a fault, since the first run fetches it."""

    def refuse(*_):
        raise ModelError("not here")

    monkeypatch.setattr(checkpoints, "find_model", refuse)
    check = doctor._check_encoder()
    assert check.good is None
    assert "fetches it" in check.found


@pytest.mark.parametrize("before", [None, "0", "1"])
def test_offline_mode_ends_with_the_check(monkeypatch, before):
    """The hub client is offline only during the check."""
    monkeypatch.setenv("HF_HUB_OFFLINE", before or "")
    if before is None:
        monkeypatch.delenv("HF_HUB_OFFLINE")
    with doctor._stay_offline():
        assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert os.environ.get("HF_HUB_OFFLINE") == before


def test_the_cache_is_counted(monkeypatch, tmp_path):
    """The cache's banks are counted, and a missing folder isn't a fault."""
    monkeypatch.setenv("CONGENER_CACHE", str(tmp_path / "cache"))
    assert "0 banks" in doctor._check_cache().found
    (tmp_path / "cache" / "banks" / "a").mkdir(parents=True)
    check = doctor._check_cache()
    assert check.good is True
    assert "1 bank," in check.found


def test_a_cache_that_cannot_be_written_is_named(monkeypatch, tmp_path):
    """An unwritable cache isn't a fault, and the advice names CONGENER_CACHE."""
    monkeypatch.setenv("CONGENER_CACHE", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda *_: False)
    check = doctor._check_cache()
    assert check.good is None
    assert "set CONGENER_CACHE" in check.found


def test_a_user_without_a_home_is_advised(monkeypatch):
    """Without a home folder, the advice names CONGENER_CACHE."""
    monkeypatch.setattr(doctor, "get_cache_folder", lambda: None)
    check = doctor._check_cache()
    assert check.good is None
    assert "set CONGENER_CACHE" in check.found


class Cuda:
    """A substitute for `torch.cuda` on a machine with a GPU."""

    def __init__(self, bf16: bool) -> None:
        self.bf16 = bf16

    def is_available(self):
        """Return True."""
        return True

    def get_device_properties(self, _):
        """Return a GPU's properties with 80 GiB."""
        return type("Properties", (), {"total_memory": 80 * 2**30})

    def get_device_name(self, _):
        """Return a name."""
        return "Model X"

    def is_bf16_supported(self):
        """Return True."""
        return self.bf16


@pytest.mark.parametrize(("bf16", "precision"), [(True, "bf16"), (False, "fp32")])
def test_a_gpu_is_named_with_its_memory_and_precision(monkeypatch, bf16, precision):
    """A GPU's name, memory and precision are reported."""
    monkeypatch.setattr(torch, "cuda", Cuda(bf16))
    assert doctor._check_device().found == f"cuda: Model X, 80 GiB, {precision}"


def test_without_a_gpu_the_cpu_is_reported(monkeypatch):
    """Without a GPU, the report gives the CPU's threads and warns of cuda."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = doctor._check_device().found
    assert found.startswith(f"cpu, fp32, {torch.get_num_threads()} thread")
    assert "--device cuda is an error" in found


@pytest.mark.parametrize("gpu", [True, False])
def test_the_build_of_faiss_is_reported(monkeypatch, gpu):
    """FAISS's build for CPUs or GPUs is reported."""
    build = types.SimpleNamespace(__version__="1.11")
    if gpu:
        build.StandardGpuResources = None
    monkeypatch.setitem(sys.modules, "faiss", build)
    assert doctor._check_faiss().found.startswith(f"1.11, {'GPU' if gpu else 'CPU'} build")
