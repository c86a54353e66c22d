"""Measure what a second TaskManager brings where the cores aren't the bound, and what engines cost beside the local runner."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import ROOT, Report, arguments, data, teacher_files, verdict
from pipelines.config import Engine
from pipelines.engines.launch import engine_pipeline
from schemas.corpora import CorpusConfig
from transforms.files.sources import ShardLimits, plan_shards, survey
from transforms.identify import IdentifiedShard, IdentifyRecords
from transforms.read import ReadShards
from transforms.records.formats import settle_layout

ROWS = 100
SCRIPT = str(ROOT / "deploy" / "flink" / "local.sh")


class WaitAsAScorer(beam.DoFn):
    """Wait for each shard as if a model elsewhere scored it; note when that was over."""

    def __init__(self, seconds: float, folder: str) -> None:
        self._seconds, self._folder = seconds, folder

    def process(self, shard: IdentifiedShard) -> None:
        """Wait, then leave a file."""
        time.sleep(self._seconds)
        Path(self._folder, "notes", shard.shard.plan.name).write_text(
            str(os.getpid()), encoding="utf-8"
        )


def wait_on_flink(managers: int, shards: int, seconds: float, folder: str) -> None:
    """Read and identify real shards on a cluster that is up, and wait for each."""
    limits = ShardLimits(rows=ROWS)
    corpus = survey([f"{folder}/corpus.parquet"], limits)
    tasks = plan_shards(corpus.sources, limits)
    assert len(tasks) == shards  # a shard a row group, so that each can be given to either
    with engine_pipeline(Engine(runner="flink", workers=managers)) as pipeline:
        rows = (
            pipeline
            | ReadShards(tasks, corpus.schema)
            | IdentifyRecords(settle_layout(corpus.schema, CorpusConfig()))
        )
        rows | beam.ParDo(WaitAsAScorer(seconds, folder))


def write_corpus(folder: str, shards: int) -> None:
    """Write real rows, a row group a shard, and make room for the notes."""
    table = pa.concat_tables([pq.read_table(path) for path in teacher_files()]).slice(
        0, shards * ROWS
    )
    pq.write_table(table, f"{folder}/corpus.parquet", row_group_size=ROWS)
    Path(folder, "notes").mkdir()


def script(*command: str) -> str:
    """Call local.sh."""
    done = subprocess.run(
        [SCRIPT, *command],
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


def flink_seconds() -> float:
    """Return how long Flink says that its latest job ran."""
    code = "import urllib.request as r; print(r.urlopen('http://localhost:8081/jobs/overview').read().decode())"
    jobs = json.loads(script("run", sys.executable, "-c", code))["jobs"]
    return max(jobs, key=lambda job: job["start-time"])["duration"] / 1000


def waiting(managers: int, shards: int, seconds: float) -> tuple[float, float, int]:
    """Return the job's seconds, those from the first shard to the last, and how many processes took part."""
    script("up", "--task-managers", str(managers))
    try:
        with tempfile.TemporaryDirectory() as folder:
            write_corpus(folder, shards)
            script(
                "run",
                sys.executable,
                "-m",
                "benchmarks.engines",
                "--waiting",
                str(managers),
                "--shards",
                str(shards),
                "--seconds",
                str(seconds),
                "--folder",
                folder,
            )
            notes = list(Path(folder, "notes").iterdir())
            ends = sorted(path.stat().st_mtime for path in notes)
            assert len(ends) == shards
            return (
                flink_seconds(),
                ends[-1] - ends[0] + seconds,
                len({path.read_text() for path in notes}),
            )
    finally:
        script("down")


def whole(options: list[str], inside: bool = False) -> tuple[float, float]:
    """Filter all real rows without a model; return the command's seconds, and those of its pipeline."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-c",
            "from pipelines.cli.main import main; main()",
            "filter",
            "--input",
            str(data("teachers")),
            "--output",
            f"{folder}/run",
        ]
        command += ["--signals", "lexicon", "--signals", "repetition", *options]
        began = time.perf_counter()
        subprocess.run(
            [SCRIPT, "run", *command] if inside else command, check=True, capture_output=True
        )
        seconds = time.perf_counter() - began
        return seconds, json.loads(Path(folder, "run", "manifest.json").read_bytes())[
            "circumstances"
        ]["seconds"]


def main() -> None:
    options = arguments(__doc__ or "", shards=60, seconds=4.0, waiting=0, folder="")
    if options.waiting:
        wait_on_flink(options.waiting, options.shards, options.seconds, options.folder)
        return
    report = Report(
        "engines", "Engines: what a second TaskManager brings, and what an engine costs"
    )
    report.say(
        f"{options.shards} shards of 100 real rows, read and identified, then {options.seconds:g} s of waiting for each as for a model elsewhere. "
        "The job's time holds starting the Python workers, which a second TaskManager doesn't shorten."
    )
    times = {managers: waiting(managers, options.shards, options.seconds) for managers in (1, 2)}
    report.table(
        [
            "TaskManagers, one slot each",
            "job, seconds",
            "first shard to last, seconds",
            "processes",
        ],
        [
            (str(managers), job, shards, processes)
            for managers, (job, shards, processes) in times.items()
        ],
    )
    ratios = [times[1][place] / times[2][place] for place in (0, 1)]
    report.table(
        ["two TaskManagers against one", "times as fast", "verdict"],
        [
            ("whole job", ratios[0], verdict(ratios[0], 1.8)),
            ("first shard to last", ratios[1], "for comparison"),
        ],
    )
    report.say(
        "All rows of teachers/, without a model (`--signals lexicon --signals repetition`), the command's whole time and its pipeline's."
    )
    rows = [
        ("local, in one process", *whole([])),
        ("local, two processes", *whole(["--workers", "2"])),
    ]
    script("up")
    try:
        rows += [
            (
                f"Flink 1.20, two TaskManagers, run {place}",
                *whole(["--runner", "flink"], inside=True),
            )
            for place in (1, 2)
        ]
    finally:
        script("down")
    report.table(
        ["engine", "seconds, whole", "seconds, pipeline", "times the local whole"],
        [(*row, row[1] / rows[0][1]) for row in rows],
    )
    report.finish()


if __name__ == "__main__":
    main()
