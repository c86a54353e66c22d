"""Add a quarter of other models' rows to a corpus of real rows, and verify the new run.

The corpus is the answers of most models, and the donors are the other models' answers. Every trait
of the library that needs no model holds back the rows on which it fires.
"""

from __future__ import annotations

import resource
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import polars as pl

from benchmarks.measure import Report, judge, list_teacher_files, parse_arguments
from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.mix import MixConfig, run_mix
from pipelines.verify import verify_run
from schemas.manifests import Manifest

SIGNALS = ("lexicon", "wording", "repetition")
"""The signals that need no model."""

SHARE = 0.25
DONORS = 17
"""How many of the 50 models are donors: 33 models have 26,565 rows, a third of which is 8,855."""

SECONDS = 120
"""The most that a mix may take, apart from the filtering of donors."""


def main() -> None:
    options = parse_arguments(
        __doc__ or "", folder=str(Path(tempfile.gettempdir(), "congener-mix-benchmark"))
    )
    folder = Path(options.folder)
    files = list_teacher_files()
    corpus = filter_corpus(folder, files[: len(files) - DONORS])
    shutil.rmtree(folder / "mixed", ignore_errors=True)
    began = time.perf_counter()
    config = MixConfig(
        run=str(folder / "run"),
        donors=tuple(f"{path.stem.lower()}={path}" for path in files[-DONORS:]),
        share=SHARE,
        filter=FilterConfig(output=str(folder / "mixed")),
    )
    manifest = run_mix(config)
    whole = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    findings = verify_run(str(folder / "mixed"))
    describe(manifest, corpus, whole, memory, len(findings), count_lost(folder))


def filter_corpus(folder: Path, files: list[Path]) -> Manifest:
    """Filter the corpus's files with the library's traits."""
    shutil.rmtree(folder / "run", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(map(str, files))
    return run_filter(FilterConfig(input=paths, output=str(folder / "run"), signals=SIGNALS))


def count_lost(folder: Path) -> int:
    """Count the records of the run that the new run doesn't have as they were."""
    old, new = (
        pl.read_parquet(
            folder / name / "ledger" / "*.parquet",
            columns=["source", "row", "content_digest", "decision"],
        )
        for name in ("run", "mixed")
    )
    keys = ["source", "row", "content_digest", "decision"]
    return old.height - old.join(new, on=keys, how="inner").height


def describe(
    manifest: Manifest, corpus: Manifest, whole: float, memory: int, findings: int, lost: int
) -> None:
    """Write the table of results."""
    assert manifest.mix is not None
    counts, own = manifest.mix.counts, manifest.circumstances["seconds"]
    donors = manifest.mix.donors
    report = Report("mix", "Mixing clean rows into real rows")
    report.say(
        f"{corpus.conservation.rows_in:,} rows of {len(corpus.inputs)} models, and "
        f"{sum(item.rows for item in donors):,} rows of {len(donors)} other models as donors, of "
        f"which {sum(item.usable for item in donors):,} carry no trait. The share is {SHARE:.0%}. "
        f"The mix took {own:,.1f} s, and {whole:,.0f} s with the filtering of the donors "
        f"({manifest.circumstances['machine']}, shared). The largest memory was {memory:,} MiB."
    )
    shares = [lot.added / (lot.rows + lot.added) for lot in counts.lots]
    report.add_table(
        ["measure", "value", "verdict"],
        [
            ("seconds of the mix itself", own, judge(own, SECONDS, at_least=False)),
            ("clean rows", counts.rows, "-"),
            ("added rows", counts.added, judge(counts.added, counts.wanted)),
            ("lots", len(counts.lots), "-"),
            ("smallest share in a lot", f"{min(shares):.2%}", "-"),
            ("largest share in a lot", f"{max(shares):.2%}", "-"),
            ("rows of the run lost or altered", lost, judge(lost, 0, at_least=False)),
            ("findings of verify", findings, judge(findings, 0, at_least=False)),
        ],
    )
    most = Counter(counts.by_donor).most_common()
    report.add_table(["donor", "added rows"], most)
    report.finish()


if __name__ == "__main__":
    main()
