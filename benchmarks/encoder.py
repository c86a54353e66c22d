"""Measure the encoder loop against sentence-transformers: same model folder, same texts, same length, on the CPU."""

from __future__ import annotations

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from benchmarks.measure import (
    Report,
    arguments,
    assistant_answers,
    interleaved,
    ratio,
    stopwatch,
    verdict,
)
from classifiers.models.checkpoints import DEFAULT_ENCODER, find_model
from classifiers.models.encoders import Encoder, EncoderConfig, load_encoder


def main() -> None:
    options = arguments(__doc__ or "", texts=600, repetitions=5, threads=torch.get_num_threads())
    torch.set_num_threads(options.threads)
    texts = assistant_answers(options.texts)
    reference = SentenceTransformer(str(find_model(DEFAULT_ENCODER).folder), device="cpu")
    encoder = load_encoder(EncoderConfig(device="cpu", layer_depths=(1.0,)))
    if encoder.max_tokens != reference.max_seq_length:
        raise SystemExit(
            f"lengths differ: ours {encoder.max_tokens}, sentence-transformers {reference.max_seq_length}"
        )
    windows = encoder.whole(texts)
    difference = float(np.abs(encoder.encode(windows) - reference.encode(texts)).max())
    encoder.counts = type(encoder.counts)()
    times = interleaved(
        {
            "congener": lambda: stopwatch(lambda: encoder.encode(encoder.whole(texts))),
            "sentence-transformers": lambda: stopwatch(lambda: reference.encode(texts)),
        },
        options.repetitions,
    )
    report = Report("encoder", "Encoder loop against sentence-transformers, CPU")
    report.say(
        f"{len(texts)} answers cut at {encoder.max_tokens} tokens, tokenising included, {options.threads} threads; sentence-transformers with its defaults."
    )
    tokens = sum(len(window.ids) for window in windows)
    report.table(
        ["loop", "seconds, median", "tokens a second", "padding"],
        [
            (name, timed.median, int(tokens / timed.median), _padding(name, encoder))
            for name, timed in times.items()
        ],
    )
    ours, theirs = times["congener"], times["sentence-transformers"]
    faster, span = ratio(theirs.seconds, ours.seconds)
    computed, computed_span = ratio(theirs.computed, ours.computed)
    report.table(
        ["measure", "value", "span over rounds", "verdict"],
        [
            ("speed over sentence-transformers", faster, span, verdict(faster, 1.4)),
            (
                "the same in seconds of processor time",
                computed,
                computed_span,
                "for comparison, where the machine is shared",
            ),
            (
                "largest absolute difference",
                f"{difference:.1e}",
                "",
                verdict(difference, 1e-5, at_least=False),
            ),
        ],
    )
    report.finish()


def _padding(name: str, encoder: Encoder) -> str:
    return f"{encoder.counts.padding_waste:.1%}" if name == "congener" else "not counted"


if __name__ == "__main__":
    main()
