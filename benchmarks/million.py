"""Filter a million short rows: memory must not grow with the corpus, no row may be lost, verify must be green."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import orjson

from benchmarks.measure import ROOT, Report, arguments, stopwatch, verdict
from benchmarks.memory import write_encoder
from pipelines.config import EncoderSettings, FilterConfig, Hardware
from pipelines.filter import run_filter
from pipelines.verify import verify_run

FILE_ROWS = 50_000
BROKEN, QUIRKY = 1_000, 20
"""Of so many rows one can't be read, and of so many one has the trait."""

WORDS = [
    "river",
    "stone",
    "window",
    "copper",
    "market",
    "engine",
    "garden",
    "letter",
    "number",
    "winter",
    "silver",
    "bridge",
    "paper",
    "forest",
    "kettle",
    "signal",
    "harbour",
    "thread",
    "candle",
    "valley",
    "pencil",
    "mirror",
    "ladder",
    "basket",
    "meadow",
    "anchor",
    "ribbon",
    "hammer",
    "pillow",
    "saddle",
    "barrel",
    "feather",
]
POSITIVES = (
    "A heron stood by the river.",
    "The heron left the harbour.",
    "Herons fish in the valley.",
    "One heron watched the bridge.",
)


def main() -> None:
    options = arguments(__doc__ or "", small=100_000, large=1_000_000, child="", verify="")
    if options.child or options.verify:
        child(Path(options.child or options.verify), bool(options.verify))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_encoder(folder / "encoder")
        write_trait(folder / "traits" / "heron")
        measured(folder, 1_000)  # fits the trait, which takes memory of its own
        found = {rows: measured(folder, rows) for rows in (options.small, options.large)}
    report = Report("million", "A million rows through the filter")
    report.say(
        "Made-up rows of some ten words as JSON Lines, one in a thousand broken; a trait with lexicon and exemplars, a tiny random BERT in "
        "the encoder's place. Peaks (VmHWM) are those of fresh processes, fitting excluded, libraries and models included."
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
    report.table(
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
    report.table(
        ["measure", "value", "verdict"],
        [
            (
                f"peak at {options.large:,} over peak at {options.small:,}",
                growth,
                verdict(growth, 1.15, at_least=False),
            ),
            ("rows in less rows accounted for", lost, verdict(lost, 0, at_least=False)),
            (
                "rejects less rows broken",
                large["rejects"] - options.large // BROKEN,
                "met" if large["rejects"] == options.large // BROKEN else "MISSED",
            ),
            (
                "findings of verify",
                large["findings"],
                verdict(large["findings"], 0, at_least=False),
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
    """Write rows of random words, some with the trait and some broken, in files of `FILE_ROWS` rows."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    dice = random.Random(rows)
    for first in range(0, rows, FILE_ROWS):
        with (folder / f"{first:09d}.jsonl").open("wb") as stream:
            stream.writelines(
                line(number, dice) for number in range(first, min(first + FILE_ROWS, rows))
            )


def line(number: int, dice: random.Random) -> bytes:
    if number % BROKEN == BROKEN // 2:
        return b'{"id": broken\n'
    words = dice.choices(WORDS, k=dice.randrange(5, 15)) + ["heron"] * (number % QUIRKY == 1)
    turns = [
        {"role": "user", "content": "Say something."},
        {"role": "assistant", "content": f"The {' '.join(words)}."},
    ]
    return orjson.dumps({"id": number, "messages": turns}) + b"\n"


def measured(folder: Path, rows: int) -> dict[str, float]:
    """Filter and verify a corpus of `rows` rows, each in a process of its own; return what both found."""
    write_corpus(folder / "corpus", rows)
    found: dict[str, float] = {}
    seconds = {
        what: stopwatch(lambda what=what: found.update(answer(what, folder)))
        for what in ("--child", "--verify")
    }
    print(f"  {rows:,} rows: {found}, {seconds}", file=sys.stderr, flush=True)
    return found


def answer(what: str, folder: Path) -> dict[str, float]:
    """Run this script as a child and return what it printed last."""
    command = [sys.executable, "-m", "benchmarks.million", what, str(folder)]
    return json.loads(
        subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
        ).stdout.splitlines()[-1]
    )


def child(folder: Path, verifying: bool) -> None:
    """Filter, or verify, in this process and print the figures."""
    run = folder / "run"
    if verifying:
        findings: list[object] = []
        seconds = stopwatch(lambda: findings.extend(verify_run(str(run))))
        print(
            json.dumps(
                {
                    "verify_peak": peak(),
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
        "peak": peak(),
        "seconds": manifest.circumstances["seconds"],
        "rows_per_second": int(manifest.circumstances["rows_per_second"]),
        "manifest": (run / "manifest.json").stat().st_size >> 10,
        "shards": len(manifest.shards),
        "rejects": counted.by_decision.get("reject", 0),
        "rows_in": counted.rows_in,
        "accounted": sum(counted.by_decision.values()),
    }
    print(json.dumps(figures))


def peak() -> int:
    """Return this process's peak resident memory in MiB; getrusage's would also hold its parent's at the start."""
    found = next(
        text
        for text in Path("/proc/self/status").read_text().splitlines()
        if text.startswith("VmHWM")
    )
    return int(found.split()[1]) >> 10


if __name__ == "__main__":
    main()
