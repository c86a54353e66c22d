"""Measure the whole filter, with all signals on real rows, against the bare encoder loop.

Both process the same windows, and take turns on parts of the rows. The speed of a shared machine
changes between turns, so the share of the pipeline's time that its encoder takes is measured, too:
both times of that share are from the same seconds.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow.parquet as pq

from benchmarks.measure import (
    Report,
    Timed,
    compute_ratio,
    interleave,
    judge,
    list_teacher_files,
    parse_arguments,
    time_call,
    time_filter,
)
from classifiers.models.encoders import Encoder
from classifiers.models.windows import Window
from classifiers.scoring import Scorer, load_scorer
from pipelines.banks import prepare_bank
from pipelines.config import FilterConfig, Hardware
from transforms.files.planning import plan_shards
from transforms.files.shards import read_task
from transforms.files.sources import survey
from transforms.records.formats import settle_layout
from transforms.records.segments import extract_segments


def main() -> None:
    options = parse_arguments(__doc__ or "", rows=5_000, parts=5, device="cpu")
    walls: list[float] = []
    encoding: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        write_parts(Path(folder), options.rows, options.parts)
        config = FilterConfig(output=f"{folder}/run", hardware=Hardware(device=options.device))
        bank, encoder, _ = prepare_bank(config)  # fits whatever isn't in the cache yet
        scorer = load_scorer(bank, config.build_encoder_config(), encoder)
        configs = [
            config.model_copy(update={"input": (f"{folder}/{part}",)})
            for part in range(options.parts)
        ]
        parts = [list(cut_windows(item, scorer)) for item in configs]
        bare_parts, filter_parts = iter(parts), iter(configs)
        times = interleave(
            {
                "bare encoder loop": lambda: time_call(
                    lambda: [scorer.encoder.encode(windows) for windows in next(bare_parts)]
                ),
                "filter": lambda: time_both(next(filter_parts), walls, encoding),
            },
            options.parts,
        )
    report = Report("filter_throughput", "The whole filter against the bare encoder loop")
    shards = [windows for part in parts for windows in part]
    windows = sum(map(len, shards))
    tokens = sum(len(window.ids) for shard in shards for window in shard)
    report.say(
        f"{options.rows:,} rows of {len(list_teacher_files())} teachers, in {options.parts} parts: "
        f"{windows:,} windows in {len(shards)} shards, {tokens:,} tokens; the library's traits, "
        "all signals. Neither time includes loading and fitting. The loop gets windows that are "
        "cut already, and the filter cuts them. Seconds are sums over the parts."
    )
    bare, whole = times["bare encoder loop"], Timed(walls, times["filter"].computed)
    cases = [
        ("bare encoder loop", bare),
        ("filter, its pipeline", times["filter"]),
        ("filter, whole call", whole),
    ]
    report.add_table(
        ["case", "seconds", "rows a second", "tokens a second"],
        [
            (
                name,
                sum(timed.seconds),
                options.rows / sum(timed.seconds),
                int(tokens / sum(timed.seconds)),
            )
            for name, timed in cases
        ],
    )
    report.add_table(
        ["measure", "value", "span over parts", "verdict"],
        [
            build_row(
                "pipeline's speed as a share of the bare loop's",
                bare.seconds,
                times["filter"].seconds,
                0.95,
            ),
            build_row(
                "encoder's share of the pipeline's time", encoding, times["filter"].seconds, 0.95
            ),
            build_row(
                "whole call's, with loading, survey and manifest", bare.seconds, whole.seconds
            ),
            build_row("pipeline's in seconds of processor time", bare.computed, whole.computed),
        ],
    )
    report.finish()


def time_both(config: FilterConfig, walls: list[float], encoding: list[float]) -> float:
    """Filter, return the pipeline's seconds, and append those of its encoder to `encoding`."""
    with time_encoder() as calls:
        seconds = time_filter(config, walls)
    encoding.append(sum(calls))
    return seconds


@contextmanager
def time_encoder() -> Iterator[list[float]]:
    """Yield a list that receives the seconds of every call of `Encoder.encode`."""
    calls: list[float] = []
    encode = Encoder.encode

    def timed(self: Encoder, *arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        vectors = encode(self, *arguments, **named)
        calls.append(time.perf_counter() - began)
        return vectors

    with mock.patch.object(Encoder, "encode", timed):
        yield calls


def build_row(
    name: str, bare: Sequence[float], filter_: Sequence[float], target: float | None = None
) -> tuple[str, float, str, str]:
    """Return a table row: the overall ratio, and the range of the parts' ratios."""
    share = sum(bare) / sum(filter_)
    return (
        name,
        share,
        compute_ratio(bare, filter_)[1],
        judge(share, target) if target else "for comparison",
    )


def write_parts(folder: Path, rows: int, parts: int) -> None:
    """Spread `rows` rows evenly over `parts` folders, with one file per teacher in each."""
    files = list_teacher_files()
    for number, file in enumerate(files):
        table = pq.read_table(file)
        for part in range(parts):
            wanted = [
                row
                for row in range(table.num_rows)
                if (row * len(files) + number) < rows and row % parts == part
            ]
            if wanted:
                (folder / str(part)).mkdir(exist_ok=True)
                pq.write_table(table.take(wanted), folder / str(part) / f"{number:02d}.parquet")


def cut_windows(config: FilterConfig, scorer: Scorer) -> Iterator[list[Window]]:
    """Yield each shard's windows as the filter cuts them."""
    corpus = survey(config.input, config.shards)
    layout = settle_layout(corpus.schema, config.corpus)
    for task in plan_shards(corpus.sources, config.shards):
        for shard in read_task(task, corpus.select_schema(layout)):
            yield scorer.cut_windows(extract_segments(shard.table, layout))[0]


if __name__ == "__main__":
    main()
