"""Swap held answers of all real rows for those of other models, and verify the new run.

Every trait of the library holds rows for a swap. The corpus is all 50 models' answers, and so are
the donors: a row can only get another model's answer, since its own is the same.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import polars as pl

from benchmarks.measure import Report, find_data, judge, parse_arguments
from classifiers.library import find_cards
from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.swap import SwapConfig, run_swap
from pipelines.verify import verify_run
from schemas.manifests import Manifest
from schemas.runs import MANIFEST

SIGNALS = ("lexicon", "wording", "repetition")
"""The signals that need no model."""

SECONDS = 120
"""The most that a swap may take, apart from the filtering of donors."""


def main() -> None:
    options = parse_arguments(
        __doc__ or "", folder=str(Path(tempfile.gettempdir(), "congener-swap-benchmark"))
    )
    folder = Path(options.folder)
    corpus = filter_corpus(folder)
    shutil.rmtree(folder / "swapped", ignore_errors=True)
    config = SwapConfig(
        run=str(folder / "run"),
        donors=(f"models={find_data('teachers')}",),
        filter=FilterConfig(output=str(folder / "swapped")),
    )
    began = time.perf_counter()
    manifest = run_swap(config)
    whole = time.perf_counter() - began
    assert manifest.swap is not None
    own = manifest.circumstances["seconds"]
    counts = manifest.swap.counts
    report = Report("swap", "Swapping held answers of real rows")
    report.say(
        f"{corpus.conservation.rows_in:,} rows of 50 models, the library's traits with the action "
        f"swap, signals {', '.join(SIGNALS)}. The swap took {own:,.0f} s, and {whole:,.0f} s with "
        f"the filtering of the donors ({manifest.circumstances['machine']}, shared)."
    )
    report.add_table(["outcome", "rows"], counts.outcomes.items())
    report.add_table(
        ["trait", "rows held", "replaced"],
        [
            (trait, sum(found.values()), found.get("replaced", 0))
            for trait, found in counts.by_trait.items()
        ],
    )
    edited = edit_sentences(folder)
    findings = verify_run(str(folder / "swapped")) + verify_run(edited.output)
    lost = count_lost(folder)
    report.add_table(
        ["measure", "value", "verdict"],
        [
            ("seconds of the swap itself", own, judge(own, SECONDS, at_least=False)),
            ("seconds with --spans", edited.seconds, edited.verdict),
            ("rows with a donor's sentences", edited.replaced, "none expected"),
            ("rows with masked sentences", edited.masked, "none expected"),
            ("findings of verify", len(findings), judge(len(findings), 0, at_least=False)),
            ("held rows without an outcome", lost, judge(lost, 0, at_least=False)),
            ("rows with their own model's answer", count_own(folder), "none expected"),
        ],
    )
    report.finish()


class EditedRun(NamedTuple):
    """A swap of single sentences: its run, its own seconds, and its rows by outcome."""

    output: str
    seconds: float
    replaced: int
    masked: int

    @property
    def verdict(self) -> str:
        """Return whether the swap is as fast as it should be."""
        return judge(self.seconds, SECONDS, at_least=False)


def edit_sentences(folder: Path) -> EditedRun:
    """Swap only the carrying sentences, and filter the donors again for it."""
    output = folder / "edited"
    shutil.rmtree(output, ignore_errors=True)
    config = SwapConfig(
        run=str(folder / "run"),
        donors=(f"models={find_data('teachers')}",),
        spans=True,
        filter=FilterConfig(output=str(output)),
    )
    manifest = run_swap(config)
    assert manifest.swap is not None
    counts = manifest.swap.counts
    return EditedRun(str(output), manifest.circumstances["seconds"], counts.replaced, counts.masked)


def filter_corpus(folder: Path) -> Manifest:
    """Filter all models' answers, holding every row on which a trait fires for a swap."""
    shutil.rmtree(folder / "run", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    policy = folder / "policy.yaml"
    cards = [card.card for card in find_cards()]
    actions = {
        card.id: {"action": "swap"}
        for card in cards
        if any(getattr(card.signals, name) is not None for name in SIGNALS)
    }
    policy.write_text(json.dumps({"traits": actions}), encoding="utf-8")
    return run_filter(
        FilterConfig(
            input=(str(find_data("teachers")),),
            output=str(folder / "run"),
            policy=str(policy),
            signals=SIGNALS,
        )
    )


def read_ledger(run: Path) -> pl.DataFrame:
    """Read a run's ledger."""
    return pl.read_parquet(run / "ledger" / "*.parquet")


def count_lost(folder: Path) -> int:
    """Count the rows that waited for a swap and have no outcome."""
    assert (folder / "run" / MANIFEST).exists()
    before = Counter(read_ledger(folder / "run")["decision"].to_list())["quarantine"]
    return before - int(read_ledger(folder / "swapped")["swap"].is_not_null().sum())


def count_own(folder: Path) -> int:
    """Count the replaced rows whose new answer is from the file of the row itself."""
    replaced = read_ledger(folder / "swapped").filter(pl.col("swap") == "replaced")
    return replaced.filter(pl.col("source") == pl.col("donor_source")).height


if __name__ == "__main__":
    main()
