"""What must be equal on a GPU and on a CPU, and what must happen when a GPU's memory is full."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import transformers

from benchmarks.measure import Report, judge
from classifiers.signals.exemplar_tables import Exemplars, ExemplarTable

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2}
"""For each precision, the largest allowed difference of a component from the CPU's fp32 vector.

Vectors have unit length, so a typical component is about 0.05.
"""

WINDOWS_OF_TOKENS = 20_000
LEFT_FREE = 192 << 20
"""How many bytes of a card are left free for a batch that needs more."""

Row = tuple[str, str, str]


class ArrayIndex:
    """An index of vectors as far as a table of exemplars needs one, where FAISS may be missing."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors, self.ntotal = vectors, len(vectors)

    def reconstruct_n(self, first: int, count: int) -> np.ndarray:
        """Return `count` vectors."""
        return self.vectors[first : first + count]

    def search(self, asked: np.ndarray, count: int) -> tuple[np.ndarray, None]:
        """Return the highest similarities of each vector."""
        return -np.sort(-(asked @ self.vectors.T), axis=1)[:, :count], None


def report_checks(report: Report, shape: transformers.BertConfig, device: torch.device) -> None:
    """Compare vectors and similarities with those of the CPU, and fill the device's memory."""
    rows = [*check_vectors(shape, device), *check_table(device)]
    if device.type == "cuda":
        rows += check_full_card(shape, device)
    report.say(
        f"## Checks of {device.type}\n\nAgainst the CPU in fp32, with {shape.num_hidden_layers} "
        f"layers of {shape.hidden_size}."
    )
    report.add_table(["check", "value", "verdict"], rows)


def check_vectors(shape: transformers.BertConfig, device: torch.device) -> Iterator[Row]:
    """Yield the largest difference of vectors, and their smallest cosine."""
    from benchmarks.gpu import make_encoder, make_windows

    windows = make_windows(min(WINDOWS_OF_TOKENS, 2_000 if device.type == "cpu" else 1 << 30))
    expected = make_encoder(shape, torch.device("cpu"), torch.float32).encode(windows)
    for dtype, packs in [*((dtype, False) for dtype in TOLERANCE), (torch.bfloat16, True)]:
        found = make_encoder(shape, device, dtype, packs).encode(windows)
        difference = float(np.abs(found - expected).max())
        cosine = float((found * expected).sum(1).min())
        name = f"vectors, {str(dtype).removeprefix('torch.')}{', packed' if packs else ''}"
        value = f"largest difference {difference:.1e}, smallest cosine {cosine:.6f}"
        yield name, value, judge(difference, TOLERANCE[dtype], at_least=False)


def check_table(device: torch.device) -> Iterator[Row]:
    """Yield the largest difference of contrasts, with few exemplars and with many."""
    generator = np.random.default_rng(0)

    def draw(count: int) -> np.ndarray:
        drawn = generator.standard_normal((count, 96), np.float32)
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    for count in (200, 5_000) if device.type == "cpu" else (2_000, 100_000):
        shared = draw(count)
        traits = [
            Exemplars(ArrayIndex(draw(40)), ArrayIndex(np.concatenate([shared, draw(9)])), 5)
            for _ in range(3)
        ]
        vectors = draw(300)
        expected = ExemplarTable(traits).contrast(vectors)
        found = ExemplarTable(traits).contrast_in_torch(vectors, device.type)
        difference = float(np.abs(found - expected).max())
        yield (
            f"contrasts among {count:,} exemplars",
            f"largest difference {difference:.1e}",
            judge(difference, 1e-5, at_least=False),
        )


def check_full_card(shape: transformers.BertConfig, device: torch.device) -> Iterator[Row]:
    """Yield what happens when another job has filled a card's memory."""
    from benchmarks.gpu import make_encoder, make_windows

    windows = make_windows(400_000)
    encoder = make_encoder(shape, device, torch.bfloat16, packs=True)
    expected = encoder.encode(windows)
    with fill_card(device):
        found = encoder.encode(windows)
    cuts = encoder.counts.budget_cuts
    difference = float(np.abs(found - expected).max())
    yield "smaller batches on a full card", f"{cuts} cuts", judge(cuts, 1)
    yield (
        "their vectors",
        f"largest difference {difference:.1e}",
        judge(difference, TOLERANCE[torch.bfloat16], at_least=False),
    )
    with fill_card(device, left=0):
        yield "no memory at all", describe_failure(lambda: encoder.encode(windows[:1])), "-"


def describe_failure(work: Callable[[], object]) -> str:
    """Return the error with which work fails, as a user reads it."""
    from schemas.errors import describe_machine_fault

    try:
        work()
    except Exception as error:  # noqa: BLE001 - the check is what a user reads
        fault = describe_machine_fault(error)
        return f"exit code {fault.exit_code}: {fault.problem[:80]}" if fault else repr(error)[:80]
    return "it fits all the same"


@contextmanager
def fill_card(device: torch.device, left: int = LEFT_FREE) -> Iterator[None]:
    """Hold all of a card's free memory but `left` bytes inside the block."""
    gc.collect()
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    held = [torch.empty(max(0, free - left - (64 << 20)), dtype=torch.uint8, device=device)]
    try:
        yield
    finally:
        held.clear()
        torch.cuda.empty_cache()
