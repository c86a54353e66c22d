"""Measure the encoder loop against sentence-transformers on the CPU.

Both use the same model folder, texts and maximum length.
"""

from __future__ import annotations

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from benchmarks.measure import (
    Report,
    compute_ratio,
    interleave,
    judge,
    parse_arguments,
    read_answers,
    time_call,
)
from classifiers.models.checkpoints import DEFAULT_ENCODER, find_model
from classifiers.models.encoders import Encoder, load_encoder
from classifiers.models.interface import EncoderConfig


def main() -> None:
    options = parse_arguments(
        __doc__ or "", texts=600, repetitions=5, threads=torch.get_num_threads()
    )
    torch.set_num_threads(options.threads)
    texts = read_answers(options.texts)
    reference = SentenceTransformer(str(find_model(DEFAULT_ENCODER).folder), device="cpu")
    encoder = load_encoder(EncoderConfig(device="cpu", layer_depths=(1.0,)))
    if encoder.max_tokens != reference.max_seq_length:
        raise SystemExit(
            f"the maximal lengths differ: {encoder.max_tokens} tokens here, "
            f"{reference.max_seq_length} in sentence-transformers"
        )
    windows = encoder.take_whole(texts)
    difference = float(np.abs(encoder.encode(windows) - reference.encode(texts)).max())
    encoder.counts = type(encoder.counts)()
    times = interleave(
        {
            "congener": lambda: time_call(lambda: encoder.encode(encoder.take_whole(texts))),
            "sentence-transformers": lambda: time_call(lambda: reference.encode(texts)),
        },
        options.repetitions,
    )
    report = Report("encoder", "Encoder loop against sentence-transformers, CPU")
    report.say(
        f"{len(texts)} answers cut at {encoder.max_tokens} tokens, tokenising included, "
        f"{options.threads} threads; sentence-transformers with its defaults."
    )
    tokens = sum(len(window.ids) for window in windows)
    report.add_table(
        ["loop", "seconds, median", "tokens a second", "padding"],
        [
            (name, timed.median, int(tokens / timed.median), _format_padding(name, encoder))
            for name, timed in times.items()
        ],
    )
    ours, theirs = times["congener"], times["sentence-transformers"]
    faster, span = compute_ratio(theirs.seconds, ours.seconds)
    computed, computed_span = compute_ratio(theirs.computed, ours.computed)
    report.add_table(
        ["measure", "value", "span over rounds", "verdict"],
        [
            ("speed over sentence-transformers", faster, span, judge(faster, 1.4)),
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
                judge(difference, 1e-5, at_least=False),
            ),
        ],
    )
    report.finish()


def _format_padding(name: str, encoder: Encoder) -> str:
    return f"{encoder.counts.padding_waste:.1%}" if name == "congener" else "not counted"


if __name__ == "__main__":
    main()
