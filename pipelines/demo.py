"""`congener demo`: the whole job on the sample corpus that ships, measured against its truth."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from schemas.manifests import Manifest

SAMPLE = Path(__file__).parent / "sample"
CORPORA = ("chat", "sharegpt")
"""The two halves of the sample: OpenAI-style messages of two teachers, and ShareGPT conversations of a third."""


@dataclass(frozen=True)
class Outcome:
    """How a trait, or all of them together, fared against the truth, in rows."""

    name: str
    true: int
    found: int
    right: int

    @property
    def precision(self) -> float | None:
        """Return the share of what was found that is right; None when nothing was found."""
        return self.right / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        """Return the share of what is true that was found."""
        return self.right / self.true if self.true else None


def run_demo(
    output: str, config: FilterConfig, restart: bool = True
) -> tuple[list[Manifest], list[Outcome]]:
    """Filter both sample corpora below `output`, and compare with the truth beside them."""
    manifests = []
    for name in CORPORA:
        update = {"input": (str(SAMPLE / name),), "output": f"{output}/{name}"}
        manifests.append(
            run_filter(
                config.model_copy(update=update), restart=restart, command=("congener", "demo")
            )
        )
    return manifests, outcomes(output, [item.trait for item in manifests[0].thresholds])


def outcomes(output: str, traits: list[str]) -> list[Outcome]:
    """Compare the runs with the truth: a line a trait, and one for rows with any trait at all."""
    true, found, right = Counter[str](), Counter[str](), Counter[str]()
    for real, fired in _pairs(output):
        true.update([*real, *(["any trait"] if real else [])])
        found.update([*fired, *(["any trait"] if fired else [])])
        right.update([*(real & fired), *(["any trait"] if real and fired else [])])
    return [Outcome(name, true[name], found[name], right[name]) for name in (*traits, "any trait")]


def _pairs(output: str) -> Iterator[tuple[set[str], set[str]]]:
    """Yield each sample row's true traits and those that fired."""
    for name in CORPORA:
        ledger = pl.read_parquet(f"{output}/{name}/ledger/*.parquet").select(
            "source", "row", "reasons"
        )
        fired = {
            (source, row): {reason["trait"] for reason in reasons}
            for source, row, reasons in ledger.iter_rows()
        }
        for corpus in sorted((SAMPLE / name).glob("*.jsonl")):
            truth = (SAMPLE / "truth" / corpus.name).read_text(encoding="utf-8").splitlines()
            for row, line in enumerate(truth):
                yield set(json.loads(line)["traits"]), fired[corpus.name, row]
