"""`congener demo`: filter the sample corpora, and compare the runs with the truth."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.runs.manifest_file import load_manifest
from schemas.errors import RunError
from schemas.events import Listener, ignore
from schemas.manifests import Manifest
from schemas.runs import MANIFEST, shard_path
from transforms.files import storage

SAMPLE = Path(__file__).parent / "sample"
CORPORA = ("chat", "sharegpt")
"""The two corpora: OpenAI messages from two teachers, ShareGPT conversations from a third."""

COMMAND = ("congener", "demo")
ANY_TRAIT = "any trait"


@dataclass(frozen=True)
class DemoOutcome:
    """How the rows on which a trait fired compare with the truth."""

    name: str
    true: int
    found: int
    right: int

    @property
    def precision(self) -> float | None:
        """Return the share of found rows that have the trait, or None without found rows."""
        return self.right / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        """Return the share of rows with the trait that were found, or None without such rows."""
        return self.right / self.true if self.true else None


@dataclass(frozen=True)
class Remark:
    """The decision on a sample row, and a comment if there is one.

    `found` are the traits that fired, and `true` the row's own traits.
    """

    corpus: str
    source: str
    row: int
    decision: str
    found: tuple[str, ...]
    true: tuple[str, ...]
    comment: str

    @property
    def is_right(self) -> bool:
        """Return whether exactly the row's own traits fired."""
        return self.found == self.true


class _SampleRow(NamedTuple):
    """A sample row, its decision, and its line of the truth."""

    corpus: str
    source: str
    row: int
    decision: str
    found: set[str]
    true: set[str]
    comment: str


def run_demo(
    output: str, config: FilterConfig, restart: bool = True, listener: Listener = ignore
) -> tuple[list[Manifest], list[DemoOutcome]]:
    """Filter both sample corpora below `output`, and compare the runs with the truth.

    Raises: RunError: a run that isn't the demo's would be replaced.
    """
    for name in CORPORA:
        _require_own_run(f"{output}/{name}")
    manifests = []
    for name in CORPORA:
        update = {"input": (str(SAMPLE / name),), "output": f"{output}/{name}"}
        manifest = run_filter(
            config.model_copy(update=update),
            restart=restart,
            command=COMMAND,
            listener=listener,
        )
        manifests.append(manifest)
    return manifests, compare_with_truth(output, [item.trait for item in manifests[0].thresholds])


def _require_own_run(run: str) -> None:
    """Refuse to replace a finished run that isn't the demo's.

    Raises: RunError: another command has made the run.
    """
    if not storage.exists(storage.join(run, MANIFEST)):
        return
    command = load_manifest(run).circumstances.get("command", ())
    if tuple(command) != COMMAND:
        raise RunError(
            "holds a run that the demo would replace, but that it hasn't made",
            where=run,
            remedy="choose another --output",
        )


def compare_with_truth(output: str, traits: list[str]) -> list[DemoOutcome]:
    """Compare the runs with the truth, for each trait and for any trait."""
    true, found, right = Counter[str](), Counter[str](), Counter[str]()
    for row in _read_rows(output):
        real, fired = row.true, row.found
        true.update(_with_any(real))
        found.update(_with_any(fired))
        right.update([*(real & fired), *([ANY_TRAIT] if real and fired else [])])
    return [
        DemoOutcome(name, true[name], found[name], right[name]) for name in (*traits, ANY_TRAIT)
    ]


def list_remarks(output: str, traits: Collection[str]) -> list[Remark]:
    """List the rows that have a comment or a wrong decision, right rows first.

    Only the truth about `traits` counts.
    """
    remarks = [
        Remark(
            *row[:4],
            tuple(sorted(row.found)),
            tuple(sorted(row.true & set(traits))),
            row.comment,
        )
        for row in _read_rows(output)
    ]
    chosen = [item for item in remarks if item.comment or not item.is_right]
    return sorted(chosen, key=lambda item: not item.is_right)  # a stable sort


def _with_any(traits: set[str]) -> list[str]:
    return [*traits, *([ANY_TRAIT] if traits else [])]


def _read_rows(output: str) -> Iterator[_SampleRow]:
    """Yield every sample row with its decision and the truth."""
    for name in CORPORA:
        pattern = f"{output}/{name}/{shard_path('ledger', '*')}"
        ledger = pl.read_parquet(pattern).select("source", "row", "decision", "reasons")
        decided = {
            (source, row): (decision, {reason["trait"] for reason in reasons})
            for source, row, decision, reasons in ledger.iter_rows()
        }
        for corpus in sorted((SAMPLE / name).glob("*.jsonl")):
            lines = (SAMPLE / "truth" / corpus.name).read_text(encoding="utf-8").splitlines()
            for row, truth in enumerate(map(json.loads, lines)):
                found = decided[corpus.name, row]
                comment = truth.get("comment", "")
                yield _SampleRow(name, corpus.name, row, *found, set(truth["traits"]), comment)
