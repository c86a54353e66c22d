"""Exact search for the nearest exemplars on a GPU: torch, FAISS, and congener's table."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

import numpy as np
import torch

from benchmarks.measure import Report, interleave, time_call
from classifiers.signals.exemplars import SCRATCH_BYTES

TOP = 5
TORCH = "torch matmul and topk"
ON_CPU = "numpy and partition, one core's cache at a time, on the CPU"
FAISS = "FAISS IndexFlatIP"
DIMENSION = 384
Search = Callable[[], np.ndarray]


def make_case(device: torch.device, work: Callable[[], object]) -> Callable[[], float]:
    """Return a case that runs `work`, waits for the device, and returns the elapsed seconds."""

    def case() -> float:
        def whole() -> None:
            work()
            if device.type == "cuda":
                torch.cuda.synchronize()

        return time_call(whole)

    return case


def report_search(
    report: Report, sizes: tuple[int, ...], asked: int, device: torch.device, repetitions: int
) -> None:
    """Time exact inner-product search among as many exemplars as `sizes` says."""
    report.say(
        f"## Exact search for the {TOP} nearest by inner product, fp32, {asked:,} queries of "
        f"dimension {DIMENSION}"
    )
    rows = []
    for count in sizes:
        generator = torch.Generator().manual_seed(count)
        exemplars, queries = (
            torch.nn.functional.normalize(torch.randn(size, DIMENSION, generator=generator), dim=1)
            for size in (count, asked)
        )
        searches = dict(list_searches(device, exemplars, queries))
        found = {name: work() for name, work in searches.items()}
        times = interleave(
            {name: make_case(device, work) for name, work in searches.items()}, repetitions
        )
        for name, timed in times.items():
            agreement = float((found[name] == found[TORCH]).mean())
            rate = int(asked / timed.median)
            rows.append((name, f"{count:,}", timed.median, rate, f"{agreement:.4%}"))
    report.add_table(
        ["search", "exemplars", "seconds, median", "queries a second", "indices equal to torch's"],
        rows,
    )
    report.say(
        "FAISS on the device was measured if its wheel is one for this device. Indices differ only "
        "where similarities are equal to the last digit."
    )


def list_searches(
    device: torch.device, exemplars: torch.Tensor, queries: torch.Tensor
) -> Iterator[tuple[str, Search]]:
    """Yield the searches that are possible here."""
    here, asked = exemplars.to(device), queries.to(device)
    yield TORCH, lambda: search(here, asked)
    yield ON_CPU, lambda: search_on_cpu(exemplars.numpy(), queries.numpy())
    if importlib.util.find_spec("faiss") is None:
        return
    import faiss

    index, numbers = faiss.IndexFlatIP(exemplars.shape[1]), queries.numpy()
    index.add(exemplars.numpy())
    yield f"{FAISS}, CPU", lambda: index.search(numbers, TOP)[1]
    if device.type == "cuda" and hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus():
        resources = faiss.StandardGpuResources()
        resources.setTempMemory(SCRATCH_BYTES)
        # The lambda keeps the resources alive, because the index itself wouldn't.
        pair = (faiss.index_cpu_to_gpu(resources, 0, index), resources)
        yield f"{FAISS}, GPU", lambda: pair[0].search(numbers, TOP)[1]


def search(exemplars: torch.Tensor, queries: torch.Tensor) -> np.ndarray:
    """Return the indices of the nearest exemplars, with at most a GiB of similarities at once."""
    step = max(1, (1 << 28) // len(exemplars))
    parts = [(part @ exemplars.T).topk(TOP, dim=1).indices for part in queries.split(step)]
    return torch.cat(parts).cpu().numpy()


def search_on_cpu(exemplars: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Return the same indices, found as `ExemplarTable` does on a CPU."""
    step = max(1, (1 << 23) // len(exemplars))
    found = []
    for first in range(0, len(queries), step):
        part = queries[first : first + step] @ exemplars.T
        places = np.argpartition(-part, TOP - 1, axis=1)[:, :TOP]
        order = np.argsort(-np.take_along_axis(part, places, axis=1), axis=1, kind="stable")
        found.append(np.take_along_axis(places, order, axis=1))
    return np.concatenate(found)
