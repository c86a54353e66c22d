"""Measure the encoder loop and exact search on a GPU, against the matrix peak measured in the same run.

Needs torch and transformers alone (and FAISS, where it is installed, for its part): no Beam, no model hub, no data. The
encoders are randomly initialised, which changes no speed.

    python -m benchmarks.gpu                 on a CUDA machine; exits with 2 without one
    python -m benchmarks.gpu --device cpu    a tiny version, to check the script
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.measure import Report, fail
from classifiers.encoders import TOKEN_BUDGET, Encoder, EncoderConfig
from classifiers.models import ModelFiles
from classifiers.windows import Window

SHAPES = {
    "22 M (6 layers, 384)": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "110 M (12 layers, 768)": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2}
"""Largest difference of a unit vector's components between CPU fp32 and the device: fp32 matrix order, and bf16's 8 bits."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    device = torch.device(parser.parse_args().device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit(fail("torch finds no GPU: nothing to measure (--device cpu runs a tiny version that checks the script)"))
    small = device.type == "cpu"
    report = Report("gpu" if not small else "gpu-check", "Encoder and search on a GPU")
    peak = matrix_peak(device, 512 if small else 8192)
    report.say(f"Measured bf16 matrix peak: {peak / 1e12:.2f} TFLOP/s.")
    report.table(
        ["encoder, bf16", "tokens a second", "padding", "share of the peak"], [throughput(name, device, peak, small) for name in SHAPES]
    )
    report.table(["search, d = 384, k = 10", "exemplars", "queries a second"], searches(device, small))
    report.table(["compared with CPU fp32", "largest difference", "tolerance", "verdict"], differences(device))
    report.finish()


def clock(work: Callable[[], Any], device: torch.device, repetitions: int = 5) -> float:
    """Return the median seconds of a call, after one that doesn't count."""
    times = []
    for _ in range(repetitions + 1):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return float(np.median(times[1:]))


def matrix_peak(device: torch.device, size: int) -> float:
    """Return the FLOP/s of a large square bf16 product."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / clock(lambda: left @ right, device, 10)


def encoder(name: str, device: torch.device, dtype: torch.dtype) -> Encoder:
    """Return an encoder of a shape with seeded random weights, all layers' states left out but the last."""
    torch.manual_seed(0)
    model = transformers.BertModel(transformers.BertConfig(**SHAPES[name])).eval().requires_grad_(requires_grad=False).to(device, dtype)
    files = ModelFiles(name, "random", "random", Path())
    config = EncoderConfig(layer_depths=(1.0,))
    return Encoder(config, files, None, model, device, dtype, "mean", 512, TOKEN_BUDGET[device.type])


def windows(count: int) -> list[Window]:
    """Return windows with the lengths of real answers cut at 128 tokens: most are full, the rest anything shorter."""
    dice = np.random.default_rng(0)
    lengths = np.where(dice.random(count) < 0.7, 128, dice.integers(8, 128, count))
    return [Window(place, dice.integers(1000, 20_000, length).tolist(), 0, 0) for place, length in enumerate(lengths)]


def throughput(name: str, device: torch.device, peak: float, small: bool) -> tuple[Any, ...]:
    """Return an encoder's tokens a second, padding, and computed FLOP (2 × weights × tokens, and attention) as a share of the peak."""
    loaded = encoder(name, device, torch.bfloat16)
    work = windows(64 if small else 40_000)
    seconds = clock(lambda: loaded.encode(work), device, 1 if small else 3)
    tokens = sum(len(window.ids) for window in work)
    shape = SHAPES[name]
    weights = shape["num_hidden_layers"] * (4 * shape["hidden_size"] ** 2 + 2 * shape["hidden_size"] * shape["intermediate_size"])
    attention = sum(4 * shape["num_hidden_layers"] * shape["hidden_size"] * len(window.ids) ** 2 for window in work)
    return name, int(tokens / seconds), f"{loaded.counts.padding_waste:.1%}", f"{(2 * weights * tokens + attention) / seconds / peak:.1%}"


def searches(device: torch.device, small: bool) -> list[tuple[Any, ...]]:
    """Return the rates of exact search by torch, and by FAISS where it is installed for this device."""
    rows = []
    for exemplars in (1_000,) if small else (10_000, 100_000, 1_000_000):
        torch.manual_seed(0)
        bank = torch.nn.functional.normalize(torch.randn(exemplars, 384, device=device), dim=1)
        queries = torch.nn.functional.normalize(torch.randn(256 if small else 4_096, 384, device=device), dim=1)
        seconds = clock(lambda bank=bank, queries=queries: torch.topk(queries @ bank.T, 10), device)
        rows.append(("torch, fp32", f"{exemplars:,}", int(len(queries) / seconds)))
        rows.append(faiss_search(bank, queries, device))
    return rows


def faiss_search(bank: torch.Tensor, queries: torch.Tensor, device: torch.device) -> tuple[Any, ...]:
    """Return FAISS's rate on this device, or say why there is none."""
    try:
        from classifiers.exemplars import build_index, on_device
    except Exception as error:  # noqa: BLE001  whatever keeps FAISS from loading is the row's text
        return "FAISS", f"{len(bank):,}", f"not measured: {type(error).__name__}"
    index = build_index(bank.cpu().numpy())
    moved = on_device(index, device.type)
    if device.type == "cuda" and moved is index:
        return "FAISS", f"{len(bank):,}", "not measured: no GPU build"
    vectors = queries.cpu().numpy()
    return "FAISS", f"{len(bank):,}", int(len(queries) / clock(lambda: moved.search(vectors, 10), device))


def differences(device: torch.device) -> list[tuple[Any, ...]]:
    """Compare the device's vectors with those of the CPU in fp32, for the smaller shape."""
    name, work = next(iter(SHAPES)), windows(48)
    reference = encoder(name, torch.device("cpu"), torch.float32).encode(work)
    rows = []
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        found = float(np.abs(encoder(name, device, dtype).encode(work) - reference).max())
        rows.append(
            (f"{device.type} {precision}", f"{found:.1e}", TOLERANCE[precision], "met" if found <= TOLERANCE[precision] else "MISSED")
        )
    return rows


if __name__ == "__main__":
    main()
