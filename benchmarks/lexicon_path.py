"""Measure the filter with lexicons alone against a plain loop that reads and writes Parquet."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.measure import (
    Report,
    Timed,
    compute_ratio,
    find_data,
    interleave,
    judge,
    list_teacher_files,
    parse_arguments,
    time_call,
    time_filter,
)
from pipelines.config import FilterConfig


def main() -> None:
    options = parse_arguments(__doc__ or "", files=len(list_teacher_files()), repetitions=5)
    files = list_teacher_files()[: options.files]
    rows = sum(pq.read_metadata(file).num_rows for file in files)
    walls: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        config = FilterConfig(
            input=tuple(map(str, files)), output=f"{folder}/run", signals=("lexicon",)
        )
        time_filter(
            config, []
        )  # fits whatever isn't cached yet, and loads the files into the page cache
        times = interleave(
            {
                "plain loop": lambda: time_call(lambda: copy_files(files, Path(folder, "copy"))),
                "filter": lambda: time_filter(config, walls),
            },
            options.repetitions,
        )
    report = Report("lexicon_path", "Lexicons alone against a plain read and write")
    report.say(
        f"{rows:,} rows in {len(files)} files of {find_data('teachers').name}/, the library's "
        "traits that have a lexicon, no encoder."
    )
    plain, whole = times["plain loop"], Timed(walls, times["filter"].computed)
    cases = [
        ("plain loop: read, write zstd Parquet", plain),
        ("filter, its pipeline", times["filter"]),
        ("filter, whole call", whole),
    ]
    report.add_table(
        ["case", "seconds, median", "rows a second"],
        [(name, timed.median, int(rows / timed.median)) for name, timed in cases],
    )
    share, span = compute_ratio(plain.seconds, times["filter"].seconds)
    share_whole, span_whole = compute_ratio(plain.seconds, whole.seconds)
    computed, span_computed = compute_ratio(plain.computed, whole.computed)
    report.add_table(
        ["measure", "value", "span over rounds", "verdict"],
        [
            ("pipeline's speed as a share of the plain loop's", share, span, judge(share, 0.5)),
            (
                "whole call's, with survey, bank and manifest",
                share_whole,
                span_whole,
                "for comparison",
            ),
            (
                "whole call's in seconds of processor time",
                computed,
                span_computed,
                "for comparison, where the machine is shared",
            ),
        ],
    )
    report.finish()


def copy_files(files: list[Path], folder: Path) -> None:
    """Read every file and write it compressed with zstd."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for file in files:
        pq.write_table(pq.read_table(file), folder / file.name, compression="zstd")


if __name__ == "__main__":
    main()
