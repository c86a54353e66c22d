"""Filter a million short rows: memory mustn't grow, no row may be lost, and `verify` must pass."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import orjson

from benchmarks.measure import ROOT, Report, judge, parse_arguments, time_call
from benchmarks.memory import write_encoder
from pipelines.config import EncoderSettings, FilterConfig, Hardware
from pipelines.filter import run_filter
from pipelines.verify import verify_run

FILE_ROWS = 50_000
BROKEN, QUIRKY = 1_000, 20
"""One in `BROKEN` rows can't be read, and one in `QUIRKY` rows has the trait."""

WORDS = [
    "river", "stone", "window", "copper", "market", "engine", "garden", "letter", "number",
    "winter", "silver", "bridge", "paper", "forest", "kettle", "signal", "harbour", "thread",
    "candle", "valley", "pencil", "mirror", "ladder", "basket", "meadow", "anchor", "ribbon",
    "hammer", "pillow", "saddle", "barrel", "feather",
]  # fmt: skip
POSITIVES = (
    "A heron stood by the river.",
    "The heron left the harbour.",
    "Herons fish in the valley.",
    "One heron watched the bridge.",
)


def main() -> None:
    options = parse_arguments(__doc__ or "", small=100_000, large=1_000_000, child="", verify="")
    if options.child or options.verify:
        filter_or_verify(Path(options.child or options.verify), bool(options.verify))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_encoder(folder / "encoder")
        write_trait(folder / "traits" / "heron")
        measure(folder, 1_000)  # fits the trait, because fitting takes memory too
        found = {rows: measure(folder, rows) for rows in (options.small, options.large)}
    report = Report("million", "A million rows through the filter")
    report.say(
        "Made-up rows of about ten words as JSON Lines, one in a thousand broken; a trait with "
        "lexicon and exemplars; a tiny random BERT as the encoder. Peaks (VmHWM) are those of "
        "fresh processes, without fitting, with libraries and models."
    )
    columns = (
        "peak",
        "seconds",
        "rows_per_second",
        "verify_peak",
        "verify_seconds",
        "manifest",
        "shards",
        "rejects",
        "findings",
    )
    report.add_table(
        [
            "rows",
            "peak, MiB",
            "seconds",
            "rows/s",
            "verify: peak, MiB",
            "verify: seconds",
            "manifest, KiB",
            "shards",
            "rejects",
            "verify: findings",
        ],
        [(rows, *(facts[name] for name in columns)) for rows, facts in found.items()],
    )
    large = found[options.large]
    growth = large["peak"] / found[options.small]["peak"]
    lost = large["rows_in"] - large["accounted"]
    report.add_table(
        ["measure", "value", "verdict"],
        [
            (
                f"peak at {options.large:,} over peak at {options.small:,}",
                growth,
                judge(growth, 1.15, at_least=False),
            ),
            ("rows in less rows accounted for", lost, judge(lost, 0, at_least=False)),
            (
                "rejects less rows broken",
                large["rejects"] - options.large // BROKEN,
                "met" if large["rejects"] == options.large // BROKEN else "MISSED",
            ),
            (
                "findings of verify",
                large["findings"],
                judge(large["findings"], 0, at_least=False),
            ),
        ],
    )
    report.finish()


def write_trait(folder: Path) -> None:
    """Write a trait with a lexicon and four exemplars."""
    folder.mkdir(parents=True)
    (folder / "card.yaml").write_text(
        "id: heron\nsignals: {lexicon: {patterns: ['herons?']}, exemplars: {}}\nthreshold: 0.7\n"
    )
    (folder / "positives.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in POSITIVES)
    )


def write_corpus(folder: Path, rows: int) -> None:
    """Write rows of random words, `FILE_ROWS` per file; some have the trait, others are broken."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    dice = random.Random(rows)
    for first in range(0, rows, FILE_ROWS):
        with (folder / f"{first:09d}.jsonl").open("wb") as stream:
            stream.writelines(
                make_line(number, dice) for number in range(first, min(first + FILE_ROWS, rows))
            )


def make_line(number: int, dice: random.Random) -> bytes:
    if number % BROKEN == BROKEN // 2:
        return b'{"id": broken\n'
    words = dice.choices(WORDS, k=dice.randrange(5, 15)) + ["heron"] * (number % QUIRKY == 1)
    turns = [
        {"role": "user", "content": "Say something."},
        {"role": "assistant", "content": f"The {' '.join(words)}."},
    ]
    return orjson.dumps({"id": number, "messages": turns}) + b"\n"


def measure(folder: Path, rows: int) -> dict[str, float]:
    """Filter `rows` rows and verify the run in new processes; return all figures."""
    write_corpus(folder / "corpus", rows)
    found: dict[str, float] = {}
    seconds = {
        option: time_call(lambda option=option: found.update(run_child(option, folder)))
        for option in ("--child", "--verify")
    }
    print(f"  {rows:,} rows: {found}, {seconds}", file=sys.stderr, flush=True)
    return found


def run_child(option: str, folder: Path) -> dict[str, float]:
    """Run this script as a child process and return the figures that it prints."""
    command = [sys.executable, "-m", "benchmarks.million", option, str(folder)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def filter_or_verify(folder: Path, verifying: bool) -> None:
    """Filter or verify in this process and print the figures."""
    run = folder / "run"
    if verifying:
        findings: list[object] = []
        seconds = time_call(lambda: findings.extend(verify_run(str(run))))
        print(
            json.dumps(
                {
                    "verify_peak": read_peak(),
                    "verify_seconds": round(seconds, 1),
                    "findings": len(findings),
                }
            )
        )
        return
    shutil.rmtree(run, ignore_errors=True)
    settings = EncoderSettings(model=str(folder / "encoder"))
    base = {
        "input": (str(folder / "corpus"),),
        "output": str(run),
        "traits": (str(folder / "traits"),),
    }
    manifest = run_filter(FilterConfig(**base, encoder=settings, hardware=Hardware(device="cpu")))
    counted = manifest.conservation
    figures = {
        "peak": read_peak(),
        "seconds": manifest.circumstances["seconds"],
        "rows_per_second": int(manifest.circumstances["rows_per_second"]),
        "manifest": (run / "manifest.json").stat().st_size >> 10,
        "shards": len(manifest.shards),
        "rejects": counted.by_decision.get("reject", 0),
        "rows_in": counted.rows_in,
        "accounted": sum(counted.by_decision.values()),
    }
    print(json.dumps(figures))


def read_peak() -> int:
    """Return the peak resident memory of this process in MiB.

    getrusage's maximum would include the parent's memory at the start of this process.
    """
    found = next(
        text
        for text in Path("/proc/self/status").read_text().splitlines()
        if text.startswith("VmHWM")
    )
    return int(found.split()[1]) >> 10


if __name__ == "__main__":
    main()
