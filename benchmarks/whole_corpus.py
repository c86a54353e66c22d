"""Filter all real rows with every signal of the library, verify the run, and follow the rows in which another vendor's model claims Anthropic."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from benchmarks.measure import Report, arguments, data, teacher_files, verdict
from pipelines.config import FilterConfig, Hardware
from pipelines.filter import run_filter
from pipelines.runs.finished import MANIFEST, load_run
from pipelines.verify import verify_run
from schemas.manifests import Manifest

CLAIM = re.compile(
    r"\b(?:created|made|developed|built|trained|designed) by Anthropic\b", re.IGNORECASE
)
"""Says that Anthropic made the speaker; kept apart from the library's patterns, which it checks."""

OWN = re.compile(r"claude-[23](?:-|$)")
"""Teachers that Anthropic made; claude2-alpaca-13b is a student of one."""


def main() -> None:
    options = arguments(
        __doc__ or "", run=str(Path(tempfile.gettempdir(), "congener-whole-corpus")), device="cpu"
    )
    if not Path(
        options.run, MANIFEST
    ).exists():  # hours on few cores: a run that was cut off goes on, a finished one is looked at
        run_filter(
            FilterConfig(
                input=(str(data("teachers")),),
                output=options.run,
                hardware=Hardware(device=options.device),
            )
        )
    manifest = load_run(options.run)
    claims = claimed(options.run)
    findings = verify_run(options.run, inputs=True)
    report = Report("whole_corpus", "All real rows, all signals")
    facts = manifest.circumstances
    report.say(
        f"{manifest.conservation.rows_in:,} rows in {len(manifest.inputs)} files of teachers/, the library's traits, all signals, default thresholds: "
        f"{facts['seconds']:,.0f} s at {facts['tokens_per_second']:,.0f} tokens/s ({facts['tokens'] / 1e6:.1f} million tokens, padding {facts['padding_waste']:.1%}, {facts['device']}; {facts['machine']}, shared)."
    )
    report.table(["decision", "rows"], manifest.conservation.by_decision.items())
    report.table(["trait", "rows it fired on", "action", "score at or above"], fired(manifest))
    report.table(
        ["a non-Anthropic model says Anthropic made it; decision", "rows"], sorted(claims.items())
    )
    seen = sum(count for decision, count in claims.items() if decision in ("quarantine", "flag"))
    report.table(
        ["measure", "value", "verdict"],
        [
            (
                "findings of verify --inputs",
                len(findings),
                verdict(len(findings), 0, at_least=False),
            ),
            (
                "rows in less rows accounted for",
                unaccounted(manifest),
                verdict(unaccounted(manifest), 0, at_least=False),
            ),
            (
                "share of those claims in quarantine or flagged",
                seen / max(claims.total(), 1),
                verdict(seen / max(claims.total(), 1), 1.0),
            ),
        ],
    )
    report.finish()


def fired(manifest: Manifest) -> list[tuple[str, int, str, str]]:
    """Return a line for every trait."""
    return [
        (rule.trait, manifest.fired.get(rule.trait, 0), rule.action, f"{rule.threshold:.4f}")
        for rule in manifest.thresholds
    ]


def unaccounted(manifest: Manifest) -> int:
    """Return the rows read less those that the ledger decides."""
    return manifest.conservation.rows_in - sum(manifest.conservation.by_decision.values())


def claimed(run: str) -> Counter[str]:
    """Count, by decision, the rows in which a model that isn't Anthropic's says that Anthropic made it."""
    ledger = pl.read_parquet(f"{run}/ledger/*.parquet", columns=["source", "row", "decision"])
    decisions = {(source, row): decision for source, row, decision in ledger.iter_rows()}
    found: Counter[str] = Counter()
    for file in teacher_files():
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
