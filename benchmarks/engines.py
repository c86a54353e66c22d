"""Measure the speed-up from a second TaskManager, and Flink's overhead over the local runner.

The speed-up is measured on shards that only wait, because waiting isn't limited by CPU cores.
"""

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

from benchmarks.measure import ROOT, Report, find_data, judge, list_teacher_files, parse_arguments
from pipelines.engines.interface import Engine
from pipelines.engines.launch import open_pipeline
from schemas.corpora import CorpusConfig
from transforms.files.planning import plan_shards
from transforms.files.sources import ShardLimits, survey
from transforms.identify import IdentifiedShard, IdentifyRecords
from transforms.read import ReadShards
from transforms.records.formats import settle_layout

ROWS = 100
SCRIPT = str(ROOT / "deploy" / "flink" / "local.sh")


class WaitAsAScorer(beam.DoFn):
    """Waits for each shard in place of a scorer, and notes the process id."""

    def __init__(self, seconds: float, folder: str) -> None:
        self._seconds, self._folder = seconds, folder

    def process(self, shard: IdentifiedShard) -> None:
        """Wait as long as a remote model would, then write the note."""
        time.sleep(self._seconds)
        Path(self._folder, "notes", shard.plan.name).write_text(str(os.getpid()), encoding="utf-8")


def wait_on_flink(managers: int, shards: int, seconds: float, folder: str) -> None:
    """Read and identify real shards on the running cluster, and wait once per shard."""
    limits = ShardLimits(rows=ROWS)
    corpus = survey([f"{folder}/corpus.parquet"], limits)
    layout = settle_layout(corpus.schema, CorpusConfig())
    tasks = plan_shards(corpus.sources, limits)
    assert len(tasks) == shards  # one shard per row group, so that either TaskManager can take it
    with open_pipeline(Engine(runner="flink", workers=managers)) as pipeline:
        rows = pipeline | ReadShards(tasks, corpus.select_schema(layout)) | IdentifyRecords(layout)
        rows | beam.ParDo(WaitAsAScorer(seconds, folder))


def write_corpus(folder: str, shards: int) -> None:
    """Write real rows, with one row group per shard, and create the folder for the notes."""
    table = pa.concat_tables([pq.read_table(path) for path in list_teacher_files()]).slice(
        0, shards * ROWS
    )
    pq.write_table(table, f"{folder}/corpus.parquet", row_group_size=ROWS)
    Path(folder, "notes").mkdir()


def call_script(*command: str) -> str:
    """Call local.sh and return its output."""
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


def read_flink_seconds() -> float:
    """Return the duration of Flink's latest job in seconds."""
    url = "http://localhost:8081/jobs/overview"
    code = f"import urllib.request as r; print(r.urlopen('{url}').read().decode())"
    jobs = json.loads(call_script("run", sys.executable, "-c", code))["jobs"]
    return max(jobs, key=lambda job: job["start-time"])["duration"] / 1000


def measure_waiting(managers: int, shards: int, seconds: float) -> tuple[float, float, int]:
    """Return the job's duration, the time from first shard to last, and the number of processes."""
    call_script("up", "--task-managers", str(managers))
    try:
        with tempfile.TemporaryDirectory() as folder:
            write_corpus(folder, shards)
            call_script(
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
                read_flink_seconds(),
                ends[-1] - ends[0] + seconds,
                len({path.read_text() for path in notes}),
            )
    finally:
        call_script("down")


def measure_command(options: list[str], inside: bool = False) -> tuple[float, float]:
    """Filter all real rows without a model; return the command's and the pipeline's seconds."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-c",
            "from pipelines.cli.main import main; main()",
            "filter",
            "--input",
            str(find_data("teachers")),
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
    options = parse_arguments(__doc__ or "", shards=60, seconds=4.0, waiting=0, folder="")
    if options.waiting:
        wait_on_flink(options.waiting, options.shards, options.seconds, options.folder)
        return
    report = Report(
        "engines", "Engines: what a second TaskManager brings, and what an engine costs"
    )
    report.say(
        f"{options.shards} shards of 100 real rows are read and identified; then each waits "
        f"{options.seconds:g} s, as it would for a remote model. The job's time includes the start "
        "of the Python workers, which a second TaskManager doesn't shorten."
    )
    times = {
        managers: measure_waiting(managers, options.shards, options.seconds) for managers in (1, 2)
    }
    report.add_table(
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
    ratios = [times[1][measure] / times[2][measure] for measure in (0, 1)]
    report.add_table(
        ["two TaskManagers against one", "times as fast", "verdict"],
        [
            ("whole job", ratios[0], judge(ratios[0], 1.8)),
            ("first shard to last", ratios[1], "for comparison"),
        ],
    )
    report.say(
        "All rows of teachers/ without a model (`--signals lexicon --signals repetition`): the "
        "time of the whole command and of its pipeline."
    )
    rows = [
        ("local, in one process", *measure_command([])),
        ("local, two processes", *measure_command(["--workers", "2"])),
    ]
    call_script("up")
    try:
        rows += [
            (
                f"Flink 1.20, two TaskManagers, run {number}",
                *measure_command(["--runner", "flink"], inside=True),
            )
            for number in (1, 2)
        ]
    finally:
        call_script("down")
    report.add_table(
        ["engine", "seconds, whole", "seconds, pipeline", "times the local whole"],
        [(*row, row[1] / rows[0][1]) for row in rows],
    )
    report.finish()


if __name__ == "__main__":
    main()
