"""Measure the encoder and the exemplar search on a GPU.

The encoder's speed is given as a share of a bf16 matrix product's speed. The script needs torch and
transformers, but neither Beam nor model files. FAISS is optional. `--device cpu` runs tiny shapes
to check the script.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import transformers

from benchmarks.measure import Report, Timed, fail, interleave, judge, parse_arguments, time_call
from classifiers.models.checkpoints import ModelFiles
from classifiers.models.encoders import TOKEN_BUDGET, Encoder
from classifiers.models.interface import EncoderConfig
from classifiers.models.packing import Packed, pack_batch, use_packed_attention
from classifiers.models.windows import (
    Window,
    Windows,
    collect_windows,
    pad_batch,
    plan_batches,
    plan_packed_batches,
)
from classifiers.signals.exemplars import SCRATCH_BYTES
from schemas.encoders import WINDOW_OVERLAP, WINDOW_TOKENS

TEXT_TOKENS = (5.36, 1.18)
"""The mean and standard deviation of log(n) for answers of n tokens.

They come from the 40,223 answers in ../shared/data/teachers.
"""
LONGEST_TEXT = 2_000
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2}
"""For each precision, the largest allowed difference of a component from the CPU's fp32 vector.

Vectors have unit length, so a typical component is about 0.05.
"""
TOP = 5
TORCH, FAISS = "torch matmul and topk", "FAISS IndexFlatIP"
ALONE = ", forward passes alone"
Search = Callable[[], np.ndarray]


class Scale(NamedTuple):
    """What to measure: full sizes for a GPU, or tiny sizes that only check the script."""

    encoders: Mapping[str, transformers.BertConfig]
    tokens: int
    matrix: int
    exemplars: tuple[int, ...]
    queries: int


def build_shape(layers: int, width: int) -> transformers.BertConfig:
    return transformers.BertConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // (64 if width > 384 else 32),
        intermediate_size=4 * width,
    )


SCALES = {
    "cuda": Scale(
        {
            "22M (6 × 384)": build_shape(6, 384),
            "110M (12 × 768)": build_shape(12, 768),
            "335M (24 × 1024)": build_shape(24, 1_024),
        },
        4_000_000,
        8_192,
        (10_000, 1_000_000),
        16_384,
    ),
    "cpu": Scale(
        {"tiny (2 × 64)": build_shape(2, 64), "small (3 × 128)": build_shape(3, 128)},
        20_000,
        512,
        (1_000, 10_000),
        256,
    ),
}


def main() -> int:
    options = parse_arguments(__doc__ or "", device="cuda", repetitions=5, tokens=0)
    if options.device not in SCALES:
        return fail(f"--device is cuda or cpu, not {options.device}")
    if options.device == "cuda" and not torch.cuda.is_available():
        return fail(
            "this benchmark needs a CUDA GPU, and torch finds none; --device cpu runs tiny shapes "
            "to check the script"
        )
    scale = SCALES[options.device]
    device = torch.device(options.device)
    report = Report("gpu", "Encoder and search on a GPU")
    if device.type == "cpu":
        report.say(
            "Run with --device cpu: tiny shapes that check the script. The figures say nothing "
            "about a GPU and aren't written."
        )
    encoders = {
        f"{name}, {'packed' if packs else 'padded'}": make_encoder(
            shape, device, torch.bfloat16, packs
        )
        for name, shape in scale.encoders.items()
        for packs in (False, True)
    }
    report_encoders(
        report, encoders, scale._replace(tokens=options.tokens or scale.tokens), options.repetitions
    )
    report_vectors(report, scale, device)
    report_search(report, scale, device, options.repetitions)
    report.finish(write=device.type == "cuda")
    return 0


def make_encoder(
    shape: transformers.BertConfig, device: torch.device, dtype: torch.dtype, packs: bool = False
) -> Encoder:
    """Return an encoder with random weights that depend only on its shape.

    On a CPU, a packed batch is computed with a mask in place of a card's kernel.
    """
    torch.manual_seed(0)
    model = (
        transformers.BertModel(shape, add_pooling_layer=False)
        .to(device, dtype)
        .eval()
        .requires_grad_(False)
    )
    if packs:
        use_packed_attention(model)
    files = ModelFiles("random", "none", "none", Path())
    return Encoder(
        EncoderConfig(), files, None, model, device, dtype, "mean", 512, TOKEN_BUDGET[device.type]
    )


def make_windows(tokens: int) -> list[Window]:
    """Return windows of random token ids, with about `tokens` tokens in total.

    Their lengths are distributed like the filter's windows of real answers.
    """
    generator = np.random.default_rng(0)
    windows: list[Window] = []
    held = text = 0
    while held < tokens:
        left = int(min(max(generator.lognormal(*TEXT_TOKENS), 3), LONGEST_TEXT))
        while True:
            size = min(left, WINDOW_TOKENS)
            windows.append(Window(text, generator.integers(1_000, 30_000, size).tolist(), 0, 0))
            held += size
            if left <= WINDOW_TOKENS:
                break
            left -= WINDOW_TOKENS - WINDOW_OVERLAP
        text += 1
    return windows


def make_case(device: torch.device, work: Callable[[], object]) -> Callable[[], float]:
    """Return a case that runs `work`, waits for the device, and returns the elapsed seconds."""

    def case() -> float:
        def whole() -> None:
            work()
            if device.type == "cuda":
                torch.cuda.synchronize()

        return time_call(whole)

    return case


def count_operations(encoder: Encoder, lengths: Sequence[int] | np.ndarray) -> float:
    """Count the floating-point operations of a forward pass, leaving out padding.

    Each token takes two operations per weight outside the embeddings, and attention adds two matrix
    products.
    """
    config, lengths_ = encoder.model.config, np.asarray(lengths, float)
    weights = sum(item.numel() for item in encoder.model.encoder.parameters())
    return float(
        2 * weights * lengths_.sum()
        + 4 * config.num_hidden_layers * config.hidden_size * (lengths_**2).sum()
    )


def report_encoders(
    report: Report, encoders: Mapping[str, Encoder], scale: Scale, repetitions: int
) -> None:
    """Time `encode`, and its forward passes alone, against a large matrix product.

    For the forward passes alone, the batches are already on the device.
    """
    windows = collect_windows(make_windows(scale.tokens))
    lengths = windows.runs.lengths
    first = next(iter(encoders.values()))
    device = first.device
    left, right = (
        torch.randn(scale.matrix, scale.matrix, device=device, dtype=torch.bfloat16)
        for _ in range(2)
    )
    products = 20
    cases = {"matmul": make_case(device, lambda: [left @ right for _ in range(products)])}
    for name, encoder in encoders.items():
        batches = make_batches(encoder, windows)
        cases[name] = make_case(device, lambda encoder=encoder: encoder.encode(windows))
        cases[f"{name}{ALONE}"] = make_case(
            device, lambda encoder=encoder, batches=batches: run_forward(encoder, batches)
        )
    for case in cases.values():
        case()
    for encoder in encoders.values():
        encoder.counts = type(encoder.counts)()
    times = interleave(cases, repetitions)
    peak = 2 * scale.matrix**3 * products / times.pop("matmul").median
    report.say(
        f"## Encoder, bf16\n\nMeasured peak: {peak / 1e12:.3g} TFLOP/s, the product of "
        f"{scale.matrix:,} × {scale.matrix:,} bf16 matrices. {len(windows):,} windows, "
        f"{sum(lengths):,} tokens, {np.mean(lengths):.0f} a window; padding "
        f"{first.counts.padding_waste:.1%}; {first.token_budget:,} padded tokens a batch."
    )
    report.add_table(
        ["encoder", "seconds, median", "tokens a second", "TFLOP/s", "share of peak"],
        list(build_encoder_rows(encoders, times, lengths, peak)),
    )


def make_batches(encoder: Encoder, windows: Windows) -> list[tuple[torch.Tensor, ...] | Packed]:
    """Return an encoder's batches of windows, which are on its device already."""
    plan = plan_packed_batches if encoder.packs else plan_batches
    runs = [
        windows.runs.take(indices) for indices in plan(windows.runs.lengths, encoder.token_budget)
    ]
    if encoder.packs:
        return [pack_batch(batch, encoder.model).move(encoder.device) for batch in runs]
    return [
        tuple(torch.from_numpy(part).to(encoder.device) for part in pad_batch(batch, 0))
        for batch in runs
    ]


def run_forward(encoder: Encoder, batches: Sequence[tuple[torch.Tensor, ...] | Packed]) -> None:
    with torch.inference_mode():
        for batch in batches:
            if isinstance(batch, Packed):
                encoder.forward_packed(batch)
            else:
                encoder.forward(*batch)


def build_encoder_rows(
    encoders: Mapping[str, Encoder],
    times: Mapping[str, Timed],
    lengths: Sequence[int] | np.ndarray,
    peak: float,
) -> Iterator[tuple[object, ...]]:
    for name, timed in times.items():
        encoder = encoders[name.removesuffix(ALONE)]
        rate = count_operations(encoder, lengths) / timed.median
        yield (
            name,
            timed.median,
            int(sum(lengths) / timed.median),
            f"{rate / 1e12:.3g}",
            f"{rate / peak:.1%}",
        )


def report_vectors(report: Report, scale: Scale, device: torch.device) -> None:
    """Compare the device's vectors with the CPU's fp32 vectors, for the smallest encoder."""
    name, shape = next(iter(scale.encoders.items()))
    windows = make_windows(min(scale.tokens, 20_000))
    expected = make_encoder(shape, torch.device("cpu"), torch.float32).encode(windows)
    rows = []
    cases = [(dtype, False) for dtype in TOLERANCE] + [(torch.bfloat16, True)]
    for dtype, packs in cases:
        limit = TOLERANCE[dtype]
        found = make_encoder(shape, device, dtype, packs).encode(windows)
        difference = float(np.abs(found - expected).max())
        cosine = float((found * expected).sum(1).min())
        rows.append(
            (
                f"{str(dtype).removeprefix('torch.')}{', packed' if packs else ''}",
                f"{difference:.1e}",
                f"{cosine:.6f}",
                judge(difference, limit, at_least=False),
            )
        )
    report.say(
        f"## Vectors of {device.type} against the CPU's in fp32\n\n"
        f"{name}, {len(windows):,} windows."
    )
    report.add_table(["precision", "largest difference", "smallest cosine", "verdict"], rows)


def report_search(report: Report, scale: Scale, device: torch.device, repetitions: int) -> None:
    """Time exact inner-product search with torch and, if it is installed, with FAISS."""
    report.say(
        f"## Exact search for the {TOP} nearest by inner product, fp32, "
        f"{scale.queries:,} queries of dimension 384"
    )
    rows = []
    for count in scale.exemplars:
        generator = torch.Generator().manual_seed(count)
        exemplars, queries = (
            torch.nn.functional.normalize(torch.randn(size, 384, generator=generator), dim=1)
            for size in (count, scale.queries)
        )
        searches = {
            name: work
            for name, work in (
                prepare_torch(device, exemplars, queries),
                prepare_faiss(device, exemplars, queries),
            )
            if work
        }
        found = {name: work() for name, work in searches.items()}
        times = interleave(
            {name: make_case(device, work) for name, work in searches.items()}, repetitions
        )
        for name, timed in times.items():
            agreement = float((found[name] == found[TORCH]).mean())
            rows.append(
                (
                    name,
                    f"{count:,}",
                    timed.median,
                    int(scale.queries / timed.median),
                    f"{agreement:.4%}",
                )
            )
    report.add_table(
        ["search", "exemplars", "seconds, median", "queries a second", "indices equal to torch's"],
        rows,
    )
    if len(rows) == len(scale.exemplars):
        report.say(f"FAISS was not measured: no FAISS for {device.type} is installed.")


def prepare_torch(
    device: torch.device, exemplars: torch.Tensor, queries: torch.Tensor
) -> tuple[str, Search]:
    here, asked = exemplars.to(device), queries.to(device)
    return TORCH, lambda: search(here, asked)


def search(exemplars: torch.Tensor, queries: torch.Tensor) -> np.ndarray:
    """Return the indices of the nearest exemplars.

    The queries are sliced so that similarities take at most one GiB.
    """
    step = max(1, (1 << 28) // len(exemplars))
    return (
        torch.cat([(part @ exemplars.T).topk(TOP, dim=1).indices for part in queries.split(step)])
        .cpu()
        .numpy()
    )


def prepare_faiss(
    device: torch.device, exemplars: torch.Tensor, queries: torch.Tensor
) -> tuple[str, Search | None]:
    """Return FAISS's label and a search function, or None if FAISS can't be used."""
    if importlib.util.find_spec("faiss") is None:
        return FAISS, None
    import faiss

    index, asked = faiss.IndexFlatIP(exemplars.shape[1]), queries.numpy()
    index.add(exemplars.numpy())
    if device.type == "cpu":
        return FAISS, lambda: index.search(asked, TOP)[1]
    if not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
        return FAISS, None
    resources = faiss.StandardGpuResources()
    resources.setTempMemory(SCRATCH_BYTES)
    # The lambda keeps the resources alive, because the index itself wouldn't.
    pair = (faiss.index_cpu_to_gpu(resources, 0, index), resources)
    return FAISS, lambda: pair[0].search(asked, TOP)[1]


if __name__ == "__main__":
    sys.exit(main())
