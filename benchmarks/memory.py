"""Measure the filter's peak memory on corpora of two sizes, each in a fresh process: it should not grow with the corpus."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import BertConfig, BertModel

from benchmarks.measure import ROOT, Report, arguments, stopwatch, teacher_files, verdict
from classifiers.models.checkpoints import DEFAULT_ENCODER, find_model
from pipelines.config import EncoderSettings, FilterConfig, Hardware
from pipelines.filter import run_filter

FILE_ROWS = 5_000
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json")


def main() -> None:
    options = arguments(__doc__ or "", small=20_000, large=200_000, child="")
    if options.child:
        filter_here(Path(options.child))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_encoder(folder / "encoder")
        measured(folder, 1_000)  # fits what the cache has not, which takes memory of its own
        peaks = {rows: measured(folder, rows) for rows in (options.small, options.large)}
    report = Report("memory", "Peak memory of the filter by size of the corpus")
    report.say(
        "Library traits, all signals, with a tiny random BERT in the encoder's place; real rows repeated under other ids. "
        "Peak resident memory (VmHWM) of a fresh process, fitting excluded."
    )
    report.table(
        ["rows", "peak, MiB", "whole process, seconds"],
        [(rows, int(peak), seconds) for rows, (peak, seconds) in peaks.items()],
    )
    growth = peaks[options.large][0] / peaks[options.small][0]
    report.table(
        ["measure", "value", "verdict"],
        [
            (
                f"peak at {options.large:,} over peak at {options.small:,}",
                growth,
                verdict(growth, 1.15, at_least=False),
            )
        ],
    )
    report.finish()


def write_encoder(folder: Path) -> None:
    """Save a BERT of one narrow layer with random weights, with the default encoder's tokenizer."""
    torch.manual_seed(0)
    shape = BertConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=256,
    )
    BertModel(shape, add_pooling_layer=False).save_pretrained(folder)
    for name in TOKENIZER:
        source = find_model(DEFAULT_ENCODER).folder / name
        if source.is_file():
            shutil.copy(source, folder / name)


def measured(folder: Path, rows: int) -> tuple[float, float]:
    """Filter a corpus of `rows` rows in a process of its own; return its peak memory in MiB and its seconds."""
    write_corpus(folder / "corpus", rows)
    command = [sys.executable, "-m", "benchmarks.memory", "--child", str(folder)]
    answers: list[str] = []
    seconds = stopwatch(
        lambda: answers.append(
            subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
        )
    )
    peak = float(answers[0].split()[-1])
    print(f"  {rows:,} rows: {peak:.0f} MiB, {seconds:.0f} s", file=sys.stderr, flush=True)
    return peak, seconds


def write_corpus(folder: Path, rows: int) -> None:
    """Write real rows over and over, with ids of their own, in files of `FILE_ROWS` rows."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    table = pa.concat_tables([pq.read_table(file) for file in teacher_files()]).combine_chunks()
    for first in range(0, rows, FILE_ROWS):
        numbers = range(first, min(first + FILE_ROWS, rows))
        part = table.take([number % table.num_rows for number in numbers])
        ids = pa.array([f"{number:09d}" for number in numbers])
        pq.write_table(
            part.set_column(part.schema.get_field_index("id"), "id", ids),
            folder / f"{first:09d}.parquet",
        )


def filter_here(folder: Path) -> None:
    """Filter in this process and print its peak memory, in MiB.

    Read from /proc: getrusage's maximum also holds what the parent had when it started this process.
    """
    shutil.rmtree(folder / "run", ignore_errors=True)
    settings = EncoderSettings(model=str(folder / "encoder"))
    run_filter(
        FilterConfig(
            input=(str(folder / "corpus"),),
            output=str(folder / "run"),
            encoder=settings,
            hardware=Hardware(device="cpu"),
        )
    )
    line = next(
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    print(int(line.split()[1]) / 1024)


if __name__ == "__main__":
    main()
