"""Measure the signals that need no model: each one alone, and the whole filter with all of them."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import (
    Report,
    compute_ratio,
    interleave,
    judge,
    list_teacher_files,
    parse_arguments,
    read_answers,
)
from classifiers.banks import Bank
from classifiers.signals.lexicons import Lexicon, score_lexicons
from classifiers.signals.repeated_words import find_repetitive, score_loops
from classifiers.signals.repetition import find_loop
from classifiers.signals.sentences import find_sentences
from classifiers.signals.wording import score_sentences
from pipelines.banks import load_bank
from pipelines.runs.manifest_file import load_manifest
from schemas.cards import RepetitionOptions

LOOPS = RepetitionOptions()
ROWS_PER_SHARD = 5000
SIGNALS = ("wording", "lexicon", "repetition")
FIRST_RUN = 220
"""How many rows a first, quick run filters."""


class Cost(NamedTuple):
    """What a command took: seconds, seconds of processor time, and its pipeline's seconds."""

    wall: float
    computed: float
    pipeline: float


def main() -> None:
    options = parse_arguments(__doc__ or "", rows=5_000, repetitions=3)
    files = list_teacher_files()
    rows = sum(pq.read_metadata(file).num_rows for file in files)
    answers = read_answers(options.rows)
    shards = [
        pa.array(answers[first : first + ROWS_PER_SHARD], pa.large_string())
        for first in range(0, len(answers), ROWS_PER_SHARD)
    ]
    require_same_loops(shards)
    costs: dict[str, list[Cost]] = {}
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            f"first {FIRST_RUN} rows": (str(files[0]), "--limit", str(FIRST_RUN)),
            "all rows, one process": (str(files[0].parent),),
            "all rows, two processes": (str(files[0].parent), "--workers", "2"),
        }
        for arguments in commands.values():  # fits what isn't cached yet, and loads the files
            time_command(f"{folder}/run", *arguments)
        cases = list_cases(load_bank(f"{folder}/run/bank"))
        times = interleave(
            {name: (lambda work=work: time_case(work, shards)) for name, work in cases.items()},
            options.repetitions,
        )
        for _ in range(options.repetitions):
            for name, arguments in commands.items():
                costs.setdefault(name, []).append(time_command(f"{folder}/run", *arguments))
    report = Report("signals_on_host", "The signals that need no model")
    report.say(
        f"{options.rows:,} answers of teachers/; stages in one process, each on shards of "
        f"{ROWS_PER_SHARD:,} rows, in seconds of processor time."
    )
    report.add_table(
        ["stage", "seconds, median", "rows a second"],
        [(name, timed.median, int(options.rows / timed.median)) for name, timed in times.items()],
    )
    report.say(
        f"`congener filter` with these signals on teachers/ ({rows:,} rows), as a command in a new "
        "process. The seconds are medians; seconds of processor time depend less on what else the "
        "machine does."
    )
    report.add_table(
        ["command", "seconds", "of processor time", "of its pipeline", "rows a second there"],
        [describe_costs(name, found, rows) for name, found in costs.items()],
    )
    ratio, span = compute_ratio(times["loops, text by text"].seconds, times["loops"].seconds)
    report.add_table(
        ["measure", "value", "span over rounds", "verdict"],
        [("loops: text by text / as a column, in time", ratio, span, judge(ratio, 3))],
    )
    report.finish()


def time_command(run: str, *arguments: str) -> Cost:
    """Filter into an empty run with these arguments in a new process."""
    signals = [option for signal in SIGNALS for option in ("--signals", signal)]
    command = [sys.executable, "-m", "congener", "filter", "--output", run, "--restart", "--quiet"]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [*command, *signals, "--input", *arguments], check=True, stderr=subprocess.DEVNULL
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    computed = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, computed, float(load_manifest(run).circumstances["seconds"]))


def describe_costs(name: str, costs: list[Cost], rows: int) -> tuple[str, float, float, float, int]:
    """Return a row of the table of commands."""
    wall, computed, pipeline = (statistics.median(column) for column in zip(*costs, strict=True))
    filtered = FIRST_RUN if name.startswith("first") else rows
    return name, wall, computed, pipeline, int(filtered / pipeline)


def list_cases(bank: Bank) -> dict[str, object]:
    """Return what each stage does with one shard."""
    lexicons = [
        Lexicon(trait.card.signals.lexicon)
        for trait in bank.traits.values()
        if trait.card.signals.lexicon
    ]
    models = [trait.wording for trait in bank.traits.values() if trait.wording]
    return {
        "sentences and their n-grams": find_sentences,
        "wording, all traits, with sentences": lambda shard: score_sentences(models, shard),
        "lexicons, all traits": lambda shard: score_lexicons(lexicons, shard),
        "loops, text by text": lambda shard: [find_loop(text, LOOPS) for text in shard.to_pylist()],
        "loops": lambda shard: score_loops(shard, LOOPS),
        "of these, ruling texts out": find_repetitive,
    }


def time_case(work: object, shards: list[pa.Array]) -> float:
    """Return the seconds of processor time that a stage takes for all shards."""
    began = time.process_time()
    for shard in shards:
        work(shard)
    return time.process_time() - began


def require_same_loops(shards: list[pa.Array]) -> None:
    """Require the loops of whole columns to be those that a search of each text finds."""
    for shard in shards:
        scores, spans = score_loops(shard, LOOPS)
        loops = [find_loop(text, LOOPS) for text in shard.to_pylist()]
        assert scores.tolist() == np.array([loop.score for loop in loops], np.float32).tolist()
        assert spans.tolist() == [[loop.start, loop.end] for loop in loops]


if __name__ == "__main__":
    main()
