"""`congener demo`: filter the sample corpora, and compare the runs with the truth."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from schemas.events import Listener, ignore
from schemas.manifests import Manifest
from schemas.runs import shard_path

SAMPLE = Path(__file__).parent / "sample"
CORPORA = ("chat", "sharegpt")
"""The two corpora: OpenAI messages from two teachers, ShareGPT conversations from a third."""

ANY_TRAIT = "any trait"


@dataclass(frozen=True)
class Outcome:
    """How the rows on which a trait fired compare with the truth."""

    name: str
    true: int
    found: int
    right: int

    @property
    def precision(self) -> float | None:
        """Return the share of found rows that have the trait, or None if no row was found."""
        return self.right / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        """Return the share of rows with the trait that were found, or None if no row has it."""
        return self.right / self.true if self.true else None


def run_demo(
    output: str, config: FilterConfig, restart: bool = True, listener: Listener = ignore
) -> tuple[list[Manifest], list[Outcome]]:
    """Filter both sample corpora below `output`, and compare the runs with the truth."""
    manifests = []
    for name in CORPORA:
        update = {"input": (str(SAMPLE / name),), "output": f"{output}/{name}"}
        manifest = run_filter(
            config.model_copy(update=update),
            restart=restart,
            command=("congener", "demo"),
            listener=listener,
        )
        manifests.append(manifest)
    return manifests, compare_with_truth(output, [item.trait for item in manifests[0].thresholds])


def compare_with_truth(output: str, traits: list[str]) -> list[Outcome]:
    """Compare the runs with the truth, for each trait, and for rows with any trait."""
    true, found, right = Counter[str](), Counter[str](), Counter[str]()
    for real, fired in _read_pairs(output):
        true.update(_with_any(real))
        found.update(_with_any(fired))
        right.update([*(real & fired), *([ANY_TRAIT] if real and fired else [])])
    return [Outcome(name, true[name], found[name], right[name]) for name in (*traits, ANY_TRAIT)]


def _with_any(traits: set[str]) -> list[str]:
    return [*traits, *([ANY_TRAIT] if traits else [])]


def _read_pairs(output: str) -> Iterator[tuple[set[str], set[str]]]:
    """Yield, for each sample row, its true traits and the traits that fired on it."""
    for name in CORPORA:
        pattern = f"{output}/{name}/{shard_path('ledger', '*')}"
        ledger = pl.read_parquet(pattern).select("source", "row", "reasons")
        fired = {
            (source, row): {reason["trait"] for reason in reasons}
            for source, row, reasons in ledger.iter_rows()
        }
        for corpus in sorted((SAMPLE / name).glob("*.jsonl")):
            truth = (SAMPLE / "truth" / corpus.name).read_text(encoding="utf-8").splitlines()
            for row, line in enumerate(truth):
                yield set(json.loads(line)["traits"]), fired[corpus.name, row]
