"""Measure the whole filter (all signals, real rows) against the bare encoder loop over the same windows, one part of the rows after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.measure import (
    Report,
    Timed,
    arguments,
    filtered,
    interleaved,
    ratio,
    stopwatch,
    teacher_files,
    verdict,
)
from classifiers.models.windows import Window
from classifiers.scoring import Scorer, load_scorer
from pipelines.banks import prepare_bank
from pipelines.config import FilterConfig, Hardware
from transforms.files.shards import read_task
from transforms.files.sources import plan_shards, survey
from transforms.records.formats import settle_layout
from transforms.records.segments import segments_of


def main() -> None:
    options = arguments(__doc__ or "", rows=5_000, parts=5, device="cpu")
    walls: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        write_parts(Path(folder), options.rows, options.parts)
        config = FilterConfig(output=f"{folder}/run", hardware=Hardware(device=options.device))
        bank, encoder = prepare_bank(config)  # fits what the cache has not
        scorer = load_scorer(bank, config.encoder_config(), encoder)
        configs = [
            config.model_copy(update={"input": (f"{folder}/{part}",)})
            for part in range(options.parts)
        ]
        parts = [list(shards_of_windows(item, scorer)) for item in configs]
        bare_parts, filter_parts = iter(parts), iter(configs)
        times = interleaved(
            {
                "bare encoder loop": lambda: stopwatch(
                    lambda: [scorer.encoder.encode(windows) for windows in next(bare_parts)]
                ),
                "filter": lambda: filtered(next(filter_parts), walls),
            },
            options.parts,
        )
    report = Report("filter_throughput", "The whole filter against the bare encoder loop")
    shards = [windows for part in parts for windows in part]
    windows, tokens = (
        sum(map(len, shards)),
        sum(len(window.ids) for shard in shards for window in shard),
    )
    report.say(
        f"{options.rows:,} rows spread over {len(teacher_files())} teachers, in {options.parts} parts that take turns: {windows:,} windows in {len(shards)} "
        f"shards, {tokens:,} tokens; the library's traits with all signals. Loading and fitting count in neither; the loop gets its windows cut, the filter "
        "cuts them itself. Seconds are sums over the parts."
    )
    bare, whole = times["bare encoder loop"], Timed(walls, times["filter"].computed)
    cases = [
        ("bare encoder loop", bare),
        ("filter, its pipeline", times["filter"]),
        ("filter, whole call", whole),
    ]
    report.table(
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
    report.table(
        ["measure", "value", "span over parts", "verdict"],
        [
            measure(
                "pipeline's speed as a share of the bare loop's",
                bare.seconds,
                times["filter"].seconds,
                0.9,
            ),
            measure("whole call's, with loading, survey and manifest", bare.seconds, whole.seconds),
            measure("pipeline's in seconds of processor time", bare.computed, whole.computed),
        ],
    )
    report.finish()


def measure(
    name: str, bare: Sequence[float], filter_: Sequence[float], target: float | None = None
) -> tuple[str, float, str, str]:
    """Return a line of the table: the ratio of the sums, and the span of the parts'."""
    share = sum(bare) / sum(filter_)
    return (
        name,
        share,
        ratio(bare, filter_)[1],
        verdict(share, target) if target else "for comparison",
    )


def write_parts(folder: Path, rows: int, parts: int) -> None:
    """Write `rows` rows, as many from each teacher as it comes out even, into one folder for every part, one file a teacher."""
    files = teacher_files()
    for place, file in enumerate(files):
        table = pq.read_table(file)
        for part in range(parts):
            wanted = [
                row
                for row in range(table.num_rows)
                if (row * len(files) + place) < rows and row % parts == part
            ]
            if wanted:
                (folder / str(part)).mkdir(exist_ok=True)
                pq.write_table(table.take(wanted), folder / str(part) / f"{place:02d}.parquet")


def shards_of_windows(config: FilterConfig, scorer: Scorer) -> Iterator[list[Window]]:
    """Cut the texts into windows just as the filter does, shard by shard."""
    corpus = survey(config.input, config.shards)
    layout = settle_layout(corpus.schema, config.corpus)
    for task in plan_shards(corpus.sources, config.shards):
        for shard in read_task(task, corpus.schema):
            yield scorer.windows(segments_of(shard.table, layout))[0]


if __name__ == "__main__":
    main()
