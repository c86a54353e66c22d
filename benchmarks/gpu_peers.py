"""Other loops that encode the same texts, in the same run as congener's.

Each gets texts that fit in one window, so that all encode the same tokens, and averages the states
of the last layer into a vector for each text.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.gpu_model import make_answers
from benchmarks.gpu_search import make_case
from benchmarks.measure import Report, interleave
from classifiers.models.checkpoints import find_model
from classifiers.models.encoders import Encoder, load_encoder, load_replica
from classifiers.models.interface import EncoderConfig
from classifiers.models.loading import load_model
from classifiers.models.packing import use_packed_attention
from schemas.encoders import WINDOW_TOKENS

OURS = "congener, padded", "congener, packed"
CURATOR = "sorted, padded, bounded tokens (NeMo Curator's loop, rebuilt)"
CURATOR_TOKENS = 131_072
"""The loop's largest number of padded tokens in a batch: as many as congener's on a card."""

SENTENCES = "sentence-transformers"
SENTENCE_BATCH = 256
Loop = Callable[[], np.ndarray]


def report_peers(
    report: Report, folder: Path, texts: int, device: torch.device, repetitions: int
) -> None:
    """Time every loop on the same texts, and compare the vectors with the first one's."""
    answers = make_answers(texts, WINDOW_TOKENS // 2)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    encoder = load_last_layer(folder, device)
    windows = encoder.take_whole(answers)
    tokens = sum(len(window.ids) for window in windows)
    loops = dict(list_loops(folder, encoder, answers, device, dtype))
    vectors = {name: work() for name, work in loops.items()}
    times = interleave({name: make_case(device, work) for name, work in loops.items()}, repetitions)
    report.say(
        f"## Peers\n\n{texts:,} texts, {tokens:,} tokens, with the tokenizer, in "
        f"{str(dtype).removeprefix('torch.')}; the vectors' smallest cosine with congener's padded "
        "ones."
    )
    report.add_table(
        ["loop", "seconds, median", "tokens a second", "smallest cosine"],
        [
            (
                name,
                timed.median,
                int(tokens / timed.median),
                f"{(vectors[name] * vectors[OURS[0]]).sum(1).min():.5f}",
            )
            for name, timed in times.items()
        ],
    )
    if SENTENCES not in loops:
        report.say("sentence-transformers isn't installed here.")


def load_last_layer(folder: Path, device: torch.device) -> Encoder:
    """Load a checkpoint whose vectors come from its last layer, with padded batches."""
    kind: Any = device.type
    encoder = load_encoder(EncoderConfig(str(folder), layer_depths=(1.0,), device=kind))
    return pack(encoder, packs=False)


def pack(encoder: Encoder, packs: bool) -> Encoder:
    """Return the same encoder with packed or with padded batches, on any device."""
    model = load_model(transformers.AutoModel, encoder.files, encoder.device, encoder.dtype)
    if packs:
        use_packed_attention(model)
    fields = {name: getattr(encoder, name) for name in encoder.__dataclass_fields__}
    return Encoder(**{**fields, "model": model, "counts": type(encoder.counts)(), "cards": None})


def list_loops(
    folder: Path,
    encoder: Encoder,
    texts: list[str],
    device: torch.device,
    dtype: torch.dtype,
) -> Iterator[tuple[str, Loop]]:
    """Yield the loops that are possible here."""
    for name, packs in zip(OURS, (False, True), strict=True):
        ours = pack(encoder, packs)
        yield name, lambda ours=ours: ours.encode(ours.take_whole(texts))
    files = find_model(str(folder))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    whole = load_replica(files, device, torch.float32).model
    yield CURATOR, lambda: encode_sorted(whole, tokenizer, texts, device)
    if importlib.util.find_spec("sentence_transformers"):
        from sentence_transformers import SentenceTransformer

        peer = SentenceTransformer(str(folder), device=device.type).to(dtype)  # it adds a mean
        peer.max_seq_length = WINDOW_TOKENS
        yield SENTENCES, lambda: encode_with_peer(peer, texts)


def encode_with_peer(peer: Any, texts: list[str]) -> np.ndarray:
    """Encode with sentence-transformers."""
    vectors = peer.encode(
        texts, batch_size=SENTENCE_BATCH, convert_to_tensor=True, normalize_embeddings=True
    )
    return np.asarray(vectors.float().cpu())


def encode_sorted(
    model: torch.nn.Module, tokenizer: Any, texts: list[str], device: torch.device
) -> np.ndarray:
    """Encode as NeMo Curator's documentation describes its loop.

    Texts are tokenised at once and sorted by length. A batch has as many as fit under a number of
    padded tokens. The model computes under autocast, and each batch's result is collected.
    """
    ids = tokenizer(texts, truncation=True, max_length=WINDOW_TOKENS)["input_ids"]
    order = sorted(range(len(ids)), key=lambda place: -len(ids[place]))
    vectors = np.empty((len(ids), model.config.hidden_size), np.float32)  # type: ignore[union-attr]
    first = 0
    while first < len(order):
        count = max(1, CURATOR_TOKENS // len(ids[order[first]]))
        places = order[first : first + count]
        batch = tokenizer.pad({"input_ids": [ids[place] for place in places]}, return_tensors="pt")
        vectors[places] = _encode_batch(model, batch, device)
        first += count
    return vectors


def _encode_batch(
    model: torch.nn.Module, batch: Mapping[str, torch.Tensor], device: torch.device
) -> np.ndarray:
    half = device.type == "cuda"
    autocast = torch.autocast("cuda", torch.bfloat16) if half else nullcontext()
    with torch.inference_mode(), autocast:
        inputs = {name: batch[name].to(device) for name in ("input_ids", "attention_mask")}
        states = model(**inputs).last_hidden_state.float()
        mask = inputs["attention_mask"].unsqueeze(-1)
        means = (states * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(means, dim=1).cpu().numpy()
