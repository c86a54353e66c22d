"""Measure the encoder, the search, the whole filter and other loops on a GPU, in one command.

The encoder's speed is given as a share of a bf16 matrix product's speed. The script needs torch and
transformers, but no network, no checkpoint and no data: weights are random, and texts are made of
the library's. The parts that need more say so where it is missing. The table is written after each
part, so that a machine that is taken back loses nothing. `--small 1 --device cpu` runs tiny shapes
to check the script.
"""

from __future__ import annotations

import copy
import importlib.util
import itertools
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import transformers

from benchmarks.gpu_checks import report_checks
from benchmarks.gpu_model import build_shape, draw_lengths, write_checkpoint
from benchmarks.gpu_peers import report_peers
from benchmarks.gpu_search import make_case, report_search
from benchmarks.measure import Report, Timed, fail, interleave, judge, parse_arguments
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
from schemas.encoders import WINDOW_OVERLAP, WINDOW_TOKENS

if TYPE_CHECKING:
    from benchmarks.gpu_filter import FilterCase

ALONE = ", forward passes alone"
FILTER_NEEDS = ("apache_beam", "pyarrow", "pydantic", "re2", "orjson", "zstandard", "faiss")
"""What the whole filter imports besides torch and transformers."""

LEAST_SHARE, MOST_WASTE = 0.40, 0.02
JUDGED = "110M"
"""The encoder whose share of the peak has a target."""


class Files(NamedTuple):
    """A checkpoint and a file of rows, or empty names for made ones."""

    model: str
    corpus: str


class Scale(NamedTuple):
    """What to measure: full sizes for a GPU, or tiny sizes that only check the script."""

    encoders: Mapping[str, transformers.BertConfig]
    tokens: int
    matrix: int
    exemplars: tuple[int, ...]
    queries: int
    texts: int
    rows: int
    processes: int
    """How many processes of the filter share the device."""
    traits: tuple[str, ...] = ()
    """The traits of the filter, or none for the library."""


FULL = Scale(
    {
        "22M (6 × 384)": build_shape(6, 384),
        "110M (12 × 768)": build_shape(12, 768),
        "335M (24 × 1024)": build_shape(24, 1_024),
    },
    tokens=2_000_000,
    matrix=8_192,
    exemplars=(2_300, 65_536, 1_000_000),
    queries=16_384,
    texts=20_000,
    rows=20_000,
    processes=8,
)
SMALL = Scale(
    {"tiny (2 × 64)": build_shape(2, 64), "110M, but small (2 × 128)": build_shape(2, 128)},
    tokens=2_000,
    matrix=128,
    exemplars=(500,),
    queries=64,
    texts=12,
    rows=40,
    processes=2,
    traits=("date-confusion",),
)


def main() -> int:
    options = parse_arguments(
        __doc__ or "",
        device="cuda",
        small=0,
        repetitions=5,
        minutes=8.0,
        model="",
        corpus="",
        parts="",
    )
    if options.device not in ("cuda", "cpu"):
        return fail(f"--device is cuda or cpu, not {options.device}")
    if options.device == "cuda" and not torch.cuda.is_available():
        return fail(
            "this benchmark needs a CUDA GPU, and torch finds none; --device cpu --small 1 runs "
            "tiny shapes to check the script"
        )
    scale = SMALL if options.small or options.device == "cpu" else FULL
    device = torch.device(options.device)
    chosen = [name for name in options.parts.split(",") if name]
    report = Report("_".join(["gpu", *chosen]), "Encoder, search and filter on a GPU")
    if scale is SMALL:
        report.say(
            "Tiny shapes that check the script. The figures say nothing about a GPU and aren't "
            "written."
        )
    files = Files(options.model, options.corpus)
    parts = list_parts(report, scale, device, options.repetitions, files)
    failed = run_parts(
        report,
        {name: parts[name] for name in chosen or parts},
        options.minutes * 60,
        write=scale is FULL,
    )
    report.finish(write=scale is FULL)
    return int(failed)


def list_parts(
    report: Report, scale: Scale, device: torch.device, repetitions: int, files: Files
) -> dict[str, Callable[[], None]]:
    """Return the parts of the benchmark in the order of their importance."""
    return {
        "encoders": lambda: measure_encoders(report, scale, device, repetitions),
        "checks": lambda: report_checks(report, next(iter(scale.encoders.values())), device),
        "filter": lambda: measure_filter(report, scale, device, min(3, repetitions), files),
        "decisions": lambda: measure_decisions(report, scale, device, files),
        "peers": lambda: measure_peers(report, scale, device, min(3, repetitions), files),
        "search": lambda: report_search(
            report, scale.exemplars, scale.queries, device, min(3, repetitions)
        ),
    }


def run_parts(
    report: Report, parts: Mapping[str, Callable[[], None]], seconds: float, write: bool
) -> bool:
    """Run parts until the time is up, and return whether one failed.

    A part that fails is reported, and the parts after it still run: the machine is borrowed.
    """
    began, failed = time.monotonic(), False
    for name, part in parts.items():
        if time.monotonic() - began > seconds:
            report.say(f"The part {name!r} wasn't measured: the time was up.")
            continue
        try:
            part()
        except Exception:  # noqa: BLE001 - reported in full, and in the exit code
            failed = True
            report.say(f"The part {name!r} failed:\n\n```\n{traceback.format_exc()}```")
        print(f"{name}: done after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        if write:
            report.finish()
    return failed


def measure_encoders(report: Report, scale: Scale, device: torch.device, repetitions: int) -> None:
    encoders = {
        f"{name}, {'packed' if packs else 'padded'}": make_encoder(
            shape, device, torch.bfloat16, packs
        )
        for name, shape in scale.encoders.items()
        for packs in (False, True)
    }
    report_encoders(report, encoders, scale, repetitions)


def measure_filter(
    report: Report, scale: Scale, device: torch.device, repetitions: int, files: Files
) -> None:
    if missing := find_missing():
        report.say(f"The whole filter wasn't measured: {missing} isn't installed.")
        return
    from benchmarks.gpu_filter import report_filter

    report_filter(report, make_filter_case(scale, device, files), repetitions, scale.processes)


def measure_decisions(report: Report, scale: Scale, device: torch.device, files: Files) -> None:
    if missing := find_missing():
        report.say(f"Decisions weren't compared: {missing} isn't installed.")
        return
    from benchmarks.gpu_filter import report_decisions

    report_decisions(report, make_filter_case(scale, device, files))


def find_missing() -> str:
    """Return which of the packages that the filter needs are missing."""
    return ", ".join(name for name in FILTER_NEEDS if importlib.util.find_spec(name) is None)


def make_filter_case(scale: Scale, device: torch.device, files: Files) -> FilterCase:
    from benchmarks.gpu_filter import FilterCase

    return FilterCase(
        Path(files.model) if files.model else None,
        choose_judged(scale),
        Path(files.corpus) if files.corpus else None,
        scale.rows,
        scale.traits,
        device,
    )


def measure_peers(
    report: Report, scale: Scale, device: torch.device, repetitions: int, files: Files
) -> None:
    with TemporaryDirectory() as folder:
        if not files.model:
            write_checkpoint(Path(folder), choose_judged(scale))
        report_peers(report, Path(files.model or folder), scale.texts, device, repetitions)


def choose_judged(scale: Scale) -> transformers.BertConfig:
    """Return the shape whose speed has a target."""
    return next(shape for name, shape in scale.encoders.items() if name.startswith(JUDGED))


def make_encoder(
    shape: transformers.BertConfig, device: torch.device, dtype: torch.dtype, packs: bool = False
) -> Encoder:
    """Return an encoder with random weights that depend only on its shape.

    On a CPU, a packed batch is computed with a mask in place of a card's kernel. The shape is
    copied, because packing changes a model's configuration.
    """
    torch.manual_seed(0)
    model = (
        transformers.BertModel(copy.deepcopy(shape), add_pooling_layer=False)
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
    lengths = draw_lengths(np.random.default_rng(1))
    windows: list[Window] = []
    held = 0
    for text in itertools.count():
        if held >= tokens:
            break
        left = next(lengths)
        while True:
            size = min(left, WINDOW_TOKENS)
            windows.append(Window(text, generator.integers(1_000, 30_000, size).tolist(), 0, 0))
            held += size
            if left <= WINDOW_TOKENS:
                break
            left -= WINDOW_TOKENS - WINDOW_OVERLAP
    return windows


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
        f"{sum(lengths):,} tokens, {np.mean(lengths):.0f} a window; at most "
        f"{first.token_budget:,} tokens a batch, with any padding."
    )
    rows = list(build_encoder_rows(encoders, times, lengths, peak))
    report.add_table(
        [
            *("encoder", "seconds, median", "tokens a second", "TFLOP/s", "share of peak"),
            "padding",
        ],
        [(*row[:4], f"{row[4]:.1%}", f"{row[5]:.1%}") for row in rows],
    )
    packed = next(row for row in rows if row[0].startswith(JUDGED) and row[0].endswith("packed"))
    report.add_table(
        ["measure of the packed encoder of 110M", "value", "verdict"],
        [
            ("share of the measured peak", packed[4], judge(packed[4], LEAST_SHARE)),
            ("padding", packed[5], judge(packed[5], MOST_WASTE, at_least=False)),
        ],
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
) -> Iterator[tuple[str, float, int, str, float, float]]:
    """Yield each case's name, seconds, tokens a second, TFLOP/s, share of peak and padding."""
    for name, timed in times.items():
        encoder = encoders[name.removesuffix(ALONE)]
        rate = count_operations(encoder, lengths) / timed.median
        yield (
            name,
            timed.median,
            int(sum(lengths) / timed.median),
            f"{rate / 1e12:.3g}",
            rate / peak,
            encoder.counts.padding_waste,
        )


if __name__ == "__main__":
    sys.exit(main())
