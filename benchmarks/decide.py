"""Decide a finished run again, and compare the two runs: seconds and memory of fresh processes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import ROOT, Report, judge, parse_arguments
from benchmarks.million import read_peak, write_corpus
from pipelines.config import FilterConfig
from pipelines.decide import DecideConfig, run_decide
from pipelines.diff import compare_runs
from pipelines.filter import run_filter

SECONDS = {"decide": 30, "diff": 20}
"""The targets for a million rows."""

MEBIBYTES = 2_000
CARD = "id: heron\nsignals: {lexicon: {patterns: ['herons?']}}\nthreshold: 0.7\n"
POLICY = "traits: {heron: {threshold: 0.9, action: flag}}\n"


def main() -> None:
    options = parse_arguments(__doc__ or "", rows=1_000_000, child="", folder="")
    if options.child:
        work(options.child, Path(options.folder))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, options.rows)
        found = {step: run_child(step, folder) for step in SECONDS}
    report = Report("decide", "A finished run, decided again and compared")
    report.say(
        f"{options.rows:,} made-up rows of about ten words as JSON Lines, 1 in 1,000 broken, and "
        "a trait with a lexicon. The policy releases every held row. Peaks (VmHWM) and seconds are "
        "those of fresh processes; seconds leave out the start of Python and the imports. The "
        "seconds for a million rows are extrapolated in proportion."
    )
    rows = []
    for step, facts in found.items():
        million = facts["seconds"] * 1_000_000 / options.rows
        verdict = judge(million, SECONDS[step], at_least=False)
        rows.append((step, facts["seconds"], facts["computed"], million, verdict, facts["peak"]))
    report.add_table(
        ["command", "seconds", "processor seconds", "for a million", "verdict", "peak, MiB"], rows
    )
    peak = max(facts["peak"] for facts in found.values())
    verdict = judge(peak, MEBIBYTES, at_least=False)
    report.add_table(["measure", "value", "verdict"], [("highest peak, MiB", peak, verdict)])
    report.finish()


def prepare(folder: Path, rows: int) -> None:
    """Write the corpus, a trait and a policy, and filter the corpus."""
    write_corpus(folder / "corpus", rows)
    trait = folder / "traits" / "heron"
    trait.mkdir(parents=True)
    (trait / "card.yaml").write_text(CARD)
    (folder / "policy.yaml").write_text(POLICY)
    shutil.rmtree(folder / "run", ignore_errors=True)
    run_filter(
        FilterConfig(
            input=(str(folder / "corpus"),),
            output=str(folder / "run"),
            traits=(str(folder / "traits"),),
        )
    )


def run_child(step: str, folder: Path) -> dict[str, float]:
    """Run a step in a child process, and return the figures that it prints."""
    command = [sys.executable, "-m", "benchmarks.decide", "--child", step, "--folder", str(folder)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def work(step: str, folder: Path) -> None:
    """Run a step in this process, and print its seconds and its peak."""
    import time

    run, again = str(folder / "run"), str(folder / "again")
    began, computed = time.perf_counter(), time.process_time()
    if step == "decide":
        settings = FilterConfig(output=again, policy=str(folder / "policy.yaml"))
        run_decide(DecideConfig(run=run, filter=settings))
    else:
        compare_runs(run, again)
    seconds, used = time.perf_counter() - began, time.process_time() - computed
    print(json.dumps({"seconds": seconds, "computed": used, "peak": read_peak()}))


if __name__ == "__main__":
    main()
