"""Measure the filter's peak memory on corpora of two sizes."""

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

from benchmarks.measure import ROOT, Report, judge, list_teacher_files, parse_arguments, time_call
from classifiers.models.checkpoints import DEFAULT_ENCODER, find_model
from pipelines.config import EncoderSettings, FilterConfig, Hardware
from pipelines.filter import run_filter

FILE_ROWS = 5_000
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json")


def main() -> None:
    options = parse_arguments(__doc__ or "", small=20_000, large=200_000, child="")
    if options.child:
        filter_here(Path(options.child))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_encoder(folder / "encoder")
        measure(folder, 1_000)  # fits whatever isn't in the cache, because fitting takes memory too
        peaks = {rows: measure(folder, rows) for rows in (options.small, options.large)}
    report = Report("memory", "Peak memory of the filter by size of the corpus")
    report.say(
        "The library's traits, all signals, with a tiny random BERT as the encoder; real rows, "
        "repeated under other ids. Peak resident memory (VmHWM) of a fresh process, without "
        "fitting."
    )
    report.add_table(
        ["rows", "peak, MiB", "whole process, seconds"],
        [(rows, int(peak), seconds) for rows, (peak, seconds) in peaks.items()],
    )
    growth = peaks[options.large][0] / peaks[options.small][0]
    report.add_table(
        ["measure", "value", "verdict"],
        [
            (
                f"peak at {options.large:,} over peak at {options.small:,}",
                growth,
                judge(growth, 1.15, at_least=False),
            )
        ],
    )
    report.finish()


def write_encoder(folder: Path) -> None:
    """Save a BERT with one narrow layer, random weights and the default encoder's tokenizer."""
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


def measure(folder: Path, rows: int) -> tuple[float, float]:
    """Filter `rows` rows in a new process; return its peak memory in MiB and its seconds."""
    write_corpus(folder / "corpus", rows)
    command = [sys.executable, "-m", "benchmarks.memory", "--child", str(folder)]
    answers: list[str] = []
    seconds = time_call(
        lambda: answers.append(
            subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
        )
    )
    peak = float(answers[0].split()[-1])
    print(f"  {rows:,} rows: {peak:.0f} MiB, {seconds:.0f} s", file=sys.stderr, flush=True)
    return peak, seconds


def write_corpus(folder: Path, rows: int) -> None:
    """Write real rows, repeated under new ids, in files of `FILE_ROWS` rows."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    table = pa.concat_tables(
        [pq.read_table(file) for file in list_teacher_files()]
    ).combine_chunks()
    for first in range(0, rows, FILE_ROWS):
        numbers = range(first, min(first + FILE_ROWS, rows))
        part = table.take([number % table.num_rows for number in numbers])
        ids = pa.array([f"{number:09d}" for number in numbers])
        pq.write_table(
            part.set_column(part.schema.get_field_index("id"), "id", ids),
            folder / f"{first:09d}.parquet",
        )


def filter_here(folder: Path) -> None:
    """Filter in this process and print its peak memory in MiB.

    The peak comes from /proc, because getrusage's maximum includes the parent's memory at the start
    of this process.
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
