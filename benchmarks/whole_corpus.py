"""Filter all real rows with every signal of the library, and verify the run.

Then count the rows in which another vendor's model says that Anthropic made it.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from benchmarks.measure import Report, find_data, judge, list_teacher_files, parse_arguments
from pipelines.config import FilterConfig, Hardware
from pipelines.filter import run_filter
from pipelines.runs.manifest_file import load_manifest
from pipelines.verify import verify_run
from schemas.manifests import Manifest
from schemas.runs import MANIFEST

CLAIM = re.compile(
    r"\b(?:created|made|developed|built|trained|designed) by Anthropic\b", re.IGNORECASE
)
"""A pattern for statements that Anthropic made the speaker."""

OWN = re.compile(r"claude-[23](?:-|$)")
"""Anthropic's models among the teachers. claude2-alpaca-13b isn't one of them."""


def main() -> None:
    options = parse_arguments(
        __doc__ or "", run=str(Path(tempfile.gettempdir(), "congener-whole-corpus")), device="cpu"
    )
    # A run takes hours on few cores, so resume an unfinished run and reuse a finished one.
    if not Path(options.run, MANIFEST).exists():
        run_filter(
            FilterConfig(
                input=(str(find_data("teachers")),),
                output=options.run,
                hardware=Hardware(device=options.device),
            )
        )
    manifest = load_manifest(options.run)
    claims = count_claims(options.run)
    findings = verify_run(options.run, inputs=True)
    report = Report("whole_corpus", "All real rows, all signals")
    facts = manifest.circumstances
    report.say(
        f"{manifest.conservation.rows_in:,} rows in {len(manifest.inputs)} files of teachers/, "
        "the library's traits, all signals, default thresholds: "
        f"{facts['seconds']:,.0f} s at {facts['tokens_per_second']:,.0f} tokens/s "
        f"({facts['tokens'] / 1e6:.1f} million tokens, padding {facts['padding_waste']:.1%}, "
        f"{facts['device']}; {facts['machine']}, shared)."
    )
    report.add_table(["decision", "rows"], manifest.conservation.by_decision.items())
    report.add_table(
        ["trait", "rows it fired on", "action", "score at or above"], build_trait_rows(manifest)
    )
    report.add_table(
        ["a non-Anthropic model says Anthropic made it; decision", "rows"], sorted(claims.items())
    )
    seen = sum(count for decision, count in claims.items() if decision in ("quarantine", "flag"))
    report.add_table(
        ["measure", "value", "verdict"],
        [
            (
                "findings of verify --inputs",
                len(findings),
                judge(len(findings), 0, at_least=False),
            ),
            (
                "rows in less rows accounted for",
                count_unaccounted(manifest),
                judge(count_unaccounted(manifest), 0, at_least=False),
            ),
            (
                "share of those claims in quarantine or flagged",
                seen / max(claims.total(), 1),
                judge(seen / max(claims.total(), 1), 1.0),
            ),
        ],
    )
    report.finish()


def build_trait_rows(manifest: Manifest) -> list[tuple[str, int, str, str]]:
    """Return one table row per trait."""
    return [
        (rule.trait, manifest.fired.get(rule.trait, 0), rule.action, f"{rule.threshold:.4f}")
        for rule in manifest.thresholds
    ]


def count_unaccounted(manifest: Manifest) -> int:
    """Return how many rows have no decision."""
    return manifest.conservation.rows_in - sum(manifest.conservation.by_decision.values())


def count_claims(run: str) -> Counter[str]:
    """Count, by decision, the rows in which another vendor's model claims Anthropic made it."""
    ledger = pl.read_parquet(f"{run}/ledger/*.parquet", columns=["source", "row", "decision"])
    decisions = {(source, row): decision for source, row, decision in ledger.iter_rows()}
    found: Counter[str] = Counter()
    for file in list_teacher_files():
        for row, record in enumerate(
            pq.read_table(file, columns=["messages", "teacher"]).to_pylist()
        ):
            answers = (
                turn["content"] or "" for turn in record["messages"] if turn["role"] == "assistant"
            )
            if not OWN.match(record["teacher"]) and any(map(CLAIM.search, answers)):
                found[decisions[file.name, row]] += 1
    return found


if __name__ == "__main__":
    main()
