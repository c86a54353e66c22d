"""Measure the whole filter (library traits, all signals) against the bare encoder loop over the same windows."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.measure import Report, Timed, arguments, filtered, interleaved, ratio, stopwatch, teacher_files, verdict
from classifiers.encoders import Encoder, load_encoder
from classifiers.fitting import uses_encoder
from classifiers.library import find_cards
from classifiers.windows import Window
from pipelines.config import FilterConfig, Hardware
from transforms.formats import settle_layout
from transforms.readers import read_task
from transforms.segments import segments_of
from transforms.sources import plan_shards, survey


def main() -> None:
    options = arguments(__doc__ or "", rows=5_000, repetitions=3, device="cpu")
    walls: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        write_rows(Path(folder, "corpus"), options.rows)
        config = FilterConfig(input=(f"{folder}/corpus",), output=f"{folder}/run", hardware=Hardware(device=options.device))
        encoder = load_encoder(config.encoder_config())
        shards = shards_of_windows(config, encoder)
        filtered(config.model_copy(update={"input": (f"{folder}/corpus/00.parquet",)}), [])  # fits what the cache has not
        times = interleaved(
            {
                "bare encoder loop": lambda: stopwatch(lambda: [encoder.encode(windows) for windows in shards]),
                "filter": lambda: filtered(config, walls),
            },
            options.repetitions,
        )
    report = Report("filter_throughput", "The whole filter against the bare encoder loop")
    windows, tokens = sum(map(len, shards)), sum(len(window.ids) for shard in shards for window in shard)
    report.say(
        f"{options.rows:,} rows spread over {len(teacher_files())} teachers, {windows:,} windows in {len(shards)} shards, {tokens:,} tokens; "
        "the library's traits with all signals. Loading and fitting count in neither; the loop gets its windows cut, the filter cuts them itself."
    )
    bare, whole = times["bare encoder loop"], Timed(walls, times["filter"].computed)
    cases = [("bare encoder loop", bare), ("filter, its pipeline", times["filter"]), ("filter, whole call", whole)]
    report.table(
        ["case", "seconds, median", "rows a second", "tokens a second"],
        [(name, timed.median, options.rows / timed.median, int(tokens / timed.median)) for name, timed in cases],
    )
    share, span = ratio(bare.seconds, times["filter"].seconds)
    share_whole, span_whole = ratio(bare.seconds, whole.seconds)
    computed, span_computed = ratio(bare.computed, whole.computed)
    report.table(
        ["measure", "value", "span over rounds", "verdict"],
        [
            ("pipeline's speed as a share of the bare loop's", share, span, verdict(share, 0.9)),
            ("whole call's, with loading, survey and manifest", share_whole, span_whole, "for comparison"),
            ("whole call's in seconds of processor time", computed, span_computed, "for comparison, where the machine is shared"),
        ],
    )
    report.finish()


def write_rows(folder: Path, rows: int) -> None:
    """Write `rows` rows, as many from each teacher as it comes out even, one file a teacher."""
    folder.mkdir()
    files = teacher_files()
    for place, file in enumerate(files):
        wanted = rows // len(files) + (place < rows % len(files))
        if wanted:
            pq.write_table(pq.read_table(file).slice(0, wanted), folder / f"{place:02d}.parquet")


def shards_of_windows(config: FilterConfig, encoder: Encoder) -> Sequence[list[Window]]:
    """Cut the texts that the library's dense signals look at into windows, shard by shard as the filter does."""
    scopes = {card.card.scope for card in find_cards() if uses_encoder(card.card)}
    corpus = survey(config.input, config.shards)
    layout = settle_layout(corpus.schema, config.corpus)
    shards = []
    for task in plan_shards(corpus.sources, config.shards):
        for shard in read_task(task, corpus.schema):
            segments = segments_of(shard.table, layout)
            wanted = sorted({place for scope in scopes for place in segments.in_scope(scope.roles, scope.channels)})
            shards.append(encoder.windows([segments.texts[place] for place in wanted]))
    return shards


if __name__ == "__main__":
    main()
