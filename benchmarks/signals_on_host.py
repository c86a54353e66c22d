"""Measure the signals that need no model: each one alone, and the whole filter with all of them."""

from __future__ import annotations

import tempfile
import time

import numpy as np
import pyarrow as pa

from benchmarks.measure import (
    Report,
    compute_ratio,
    interleave,
    judge,
    list_teacher_files,
    parse_arguments,
    read_answers,
    time_filter,
)
from classifiers.banks import Bank
from classifiers.signals.lexicons import Lexicon, score_lexicons
from classifiers.signals.repeated_words import find_repetitive, score_loops
from classifiers.signals.repetition import find_loop
from classifiers.signals.sentences import find_sentences
from classifiers.signals.wording import WordingTable
from pipelines.banks import load_bank
from pipelines.config import FilterConfig
from schemas.cards import RepetitionOptions

LOOPS = RepetitionOptions()
ROWS_PER_SHARD = 5000
SIGNALS = ("wording", "lexicon", "repetition")


def main() -> None:
    options = parse_arguments(__doc__ or "", rows=5_000, repetitions=3)
    files = list_teacher_files()
    answers = read_answers(options.rows)
    shards = [
        pa.array(answers[first : first + ROWS_PER_SHARD], pa.large_string())
        for first in range(0, len(answers), ROWS_PER_SHARD)
    ]
    require_same_loops(shards)
    walls: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        config = FilterConfig(
            input=tuple(map(str, files)),
            output=f"{folder}/run",
            signals=SIGNALS,
            limit=options.rows,
        )
        time_filter(config, [])  # fits what isn't cached yet, and loads the files
        cases = list_cases(load_bank(f"{folder}/run/bank"), shards)
        times = interleave(
            {
                **{
                    name: (lambda work=work: time_case(work, shards))
                    for name, work in cases.items()
                },
                "whole filter": lambda: time_filter(config, walls),
            },
            options.repetitions,
        )
    report = Report("signals_on_host", "The signals that need no model")
    report.say(
        f"{options.rows:,} answers of teachers/; stages in one process, each on shards of "
        f"{ROWS_PER_SHARD:,} rows; the filter's are the seconds of the whole "
        "call, in one process; those of the other stages are seconds of processor time."
    )
    seconds = {name: timed.seconds for name, timed in times.items()} | {"whole filter": walls}
    report.add_table(
        ["stage", "seconds, median", "rows a second"],
        [
            (name, float(np.median(found)), int(options.rows / np.median(found)))
            for name, found in seconds.items()
        ],
    )
    ratio, span = compute_ratio(seconds["loops, text by text"], seconds["loops"])
    report.add_table(
        ["measure", "value", "span over rounds", "verdict"],
        [("loops: text by text / as a column, in time", ratio, span, judge(ratio, 3))],
    )
    report.finish()


def list_cases(bank: Bank, shards: list[pa.Array]) -> dict[str, object]:
    """Return what each stage does with one shard."""
    lexicons = [
        Lexicon(trait.card.signals.lexicon)
        for trait in bank.traits.values()
        if trait.card.signals.lexicon
    ]
    table = WordingTable([trait.wording for trait in bank.traits.values() if trait.wording])
    found = {id(shard): find_sentences(shard) for shard in shards}
    return {
        "sentences and their n-grams": find_sentences,
        "wording of the sentences, all traits": lambda shard: table.compute_logits(
            found[id(shard)]
        ),
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
