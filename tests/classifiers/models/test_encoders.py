"""The encoder: vectors that sentence-transformers agrees with, whatever the batch, and budgets that are kept."""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import sentence_transformers
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classifiers.models.checkpoints import DEFAULT_ENCODER, find_model
from classifiers.models.encoders import (
    TOKEN_BUDGET,
    WINDOW_OVERLAP,
    WINDOW_TOKENS,
    Encoder,
    EncoderConfig,
    check_windows,
    load_encoder,
    pad_id,
    run_batches,
)
from classifiers.models.windows import BatchCounts, Window
from schemas.errors import ModelError, RowError

TEXTS = [
    "It is raining.",
    "The quarterly report is due on Friday, and nobody has written the summary yet.",
    "Où est la gare ? Elle est près du café.",
    "def add(a, b):\n    return a + b",
    "雨が降っています。",
    "",
    "A long answer about gutters and roofs. " * 40,
]


def fresh(encoder, **changes) -> Encoder:
    """Return the session's encoder with counts of its own, so that a test changes nothing for the next."""
    return replace(encoder, counts=BatchCounts(), **changes)


@pytest.fixture
def last_layer(encoder):
    """Return the encoder with the last layer's states alone, as sentence-transformers has it."""
    return fresh(encoder, config=replace(encoder.config, layer_depths=(1.0,)))


def test_vectors_are_those_of_sentence_transformers(last_layer):
    """On the last layer alone, every text's vector is the reference's to 1e-5, cut off at the same length."""
    reference = sentence_transformers.SentenceTransformer(
        str(find_model(DEFAULT_ENCODER).folder), device="cpu"
    )
    assert reference.max_seq_length == last_layer.max_tokens == 256
    expected = reference.encode(TEXTS, normalize_embeddings=True)
    found = last_layer.encode(last_layer.whole(TEXTS))
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-5


def test_layers_are_pooled_scaled_and_averaged(encoder):
    """With several layers the vector is the normalised sum of each layer's own unit vector."""
    model = fresh(encoder)
    assert model.layers == (6, 4, 3)
    (window,) = model.whole(TEXTS[1:2])
    ids = torch.tensor([window.ids])
    with torch.inference_mode():
        states = model.model(input_ids=ids, output_hidden_states=True).hidden_states
    means = [states[layer][0].mean(0).numpy() for layer in model.layers]
    total = sum(mean / np.linalg.norm(mean) for mean in means)
    assert np.abs(model.encode([window])[0] - total / np.linalg.norm(total)).max() < 1e-5


@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    order=st.permutations(range(len(TEXTS))),
    size=st.integers(1, len(TEXTS)),
    budget=st.integers(1, 600),
)
def test_the_batch_does_not_change_a_vector(encoder, alone, order, size, budget):
    """A text has the same vector to 1e-5 alone and in any company, order and budget."""
    chosen = order[:size]
    model = fresh(encoder, token_budget=budget)
    windows = model.windows([TEXTS[place] for place in chosen])
    firsts = [
        at for at, window in enumerate(windows) if at == 0 or windows[at - 1].text != window.text
    ]
    assert np.abs(model.encode(windows)[firsts] - alone[chosen]).max() < 1e-5


@pytest.fixture(scope="module")
def alone(encoder):
    """Return the vector of each text's first window, each encoded by itself."""
    model = fresh(encoder, token_budget=1)
    return np.concatenate([model.encode(model.windows([text])[:1]) for text in TEXTS])


def test_vectors_have_unit_length(encoder):
    """The inner product of two vectors is their cosine, even for a text without words."""
    model = fresh(encoder)
    vectors = model.encode(model.windows(TEXTS))
    assert vectors.shape == (len(model.windows(TEXTS)), model.dimension) == (len(vectors), 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_nothing_encodes_to_nothing(encoder):
    """No windows, no batch: an empty array of the right width."""
    model = fresh(encoder)
    assert model.encode([]).shape == (0, 384)
    assert model.counts == BatchCounts()
    assert model.windows([]) == model.whole([]) == []


def test_whole_texts_are_cut_off_at_the_models_limit(encoder):
    """An exemplar is one window, in the order given; windows of a corpus are shorter and overlap."""
    model = fresh(encoder)
    whole = model.whole(TEXTS)
    assert [window.text for window in whole] == list(range(len(TEXTS)))
    assert len(whole[-1].ids) == model.max_tokens
    assert all(window.start == 0 for window in whole)
    cut = [window for window in model.windows(TEXTS) if window.text == len(TEXTS) - 1]
    assert len(cut) > 1
    assert max(len(window.ids) for window in cut) == model.config.window_tokens == WINDOW_TOKENS


class Recorder:
    """Stands in for a model: counts tokens per window, keeps the shape of every batch, and runs out of memory above a size."""

    def __init__(self, budget: int, memory: int | None = None) -> None:
        self.token_budget, self.memory = budget, memory
        self.counts, self.device = BatchCounts(), torch.device("cpu")
        self.model = torch.nn.Module()
        self.model.config = None
        self.shapes: list[tuple[int, int]] = []
        self.failures = 0

    def forward(self, tokens, mask):
        """Return each window's number of tokens."""
        if self.memory is not None and tokens.numel() > self.memory:
            self.failures += 1
            raise torch.OutOfMemoryError("out of memory")
        self.shapes.append(tuple(tokens.shape))
        return mask.sum(1)

    def run(self, lengths):
        """Run windows of these lengths and return what was kept for each."""
        kept = np.full(len(lengths), -1)
        run_batches(self, [[1] * length for length in lengths], kept.__setitem__, None)
        return kept.tolist()


LENGTHS = st.lists(st.integers(1, 60), max_size=40)


@given(LENGTHS, st.integers(1, 300))
def test_the_token_budget_is_respected(lengths, budget):
    """No batch of several windows has more padded tokens than the budget, every window runs once, and the counts add up."""
    model = Recorder(budget)
    assert model.run(lengths) == lengths
    assert all(rows == 1 or rows * width <= budget for rows, width in model.shapes)
    assert model.counts == BatchCounts(
        sum(lengths), sum(rows * width for rows, width in model.shapes), len(lengths), 0
    )


@given(LENGTHS, st.integers(60, 400), st.integers(60, 400))
def test_out_of_memory_halves_batches_until_they_fit(lengths, budget, memory):
    """Whatever fits one window at a time gets done, in batches that fit, with every window's result in its place."""
    model = Recorder(budget, memory)
    assert model.run(lengths) == lengths
    assert all(rows * width <= memory for rows, width in model.shapes)
    assert model.counts.budget_cuts == model.failures
    assert model.counts.windows == len(lengths)
    assert model.token_budget <= budget


def test_one_shortage_cuts_the_budget_once():
    """The batches that were planned before are planned anew: they don't each run out of memory in turn and shrink the budget to nothing."""
    model = Recorder(budget=1000, memory=700)
    model.run([50] * 200)
    assert (model.failures, model.counts.budget_cuts, model.token_budget) == (1, 1, 500)
    assert model.shapes == [(10, 50)] * 20


def test_a_smaller_budget_stays_for_the_next_call():
    """The device has no more memory the next time either."""
    model = Recorder(budget=1000, memory=700)
    model.run([50] * 20)
    model.run([50] * 20)
    assert model.failures == 1


def test_batches_run_side_by_side():
    """Two batches that each wait for the other to have begun both get done, in their places."""
    model = Recorder(budget=8)
    meet = threading.Barrier(2, timeout=30)
    forward = model.forward
    model.forward = lambda tokens, mask: (meet.wait(), forward(tokens, mask))[1]
    kept = np.full(4, -1)
    run_batches(model, [[1] * length for length in (5, 6, 7, 8)], kept.__setitem__, None, at_once=2)
    assert kept.tolist() == [5, 6, 7, 8]
    assert model.counts == BatchCounts(26, 26, 4, 0)


@given(LENGTHS, st.integers(60, 400), st.integers(60, 400), st.integers(2, 4))
def test_a_shortage_side_by_side_loses_nothing(lengths, budget, memory, at_once):
    """Batches that were under way when another ran out of memory keep their results; every window is counted once."""
    model = Recorder(budget, memory)
    kept = np.full(len(lengths), -1)
    run_batches(model, [[1] * length for length in lengths], kept.__setitem__, None, at_once)
    assert kept.tolist() == lengths
    assert (model.counts.windows, model.counts.tokens) == (len(lengths), sum(lengths))


def test_torch_keeps_its_number_of_threads(encoder):
    """The cores that batches are dealt to are torch's again afterwards, for this thread and for those that begin later."""
    before = torch.get_num_threads()
    model = fresh(encoder, token_budget=64)
    model.encode(model.windows(TEXTS))
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert (torch.get_num_threads(), seen) == (before, [before])


def test_a_window_that_never_fits_is_an_error():
    """With one window left there is nothing to halve: the error is the caller's to see."""
    with pytest.raises(torch.OutOfMemoryError):
        Recorder(budget=100, memory=10).run([20, 20])


def test_an_encoder_survives_a_shortage(encoder, monkeypatch):
    """Vectors are the same after a real encoder ran out of memory on its first large batch, and the counts say that it did."""
    texts = [f"Sentence number {place} is about roofs." for place in range(24)]
    model = fresh(encoder, token_budget=512)
    expected = fresh(encoder).encode(model.windows(texts))
    forward = Encoder.forward

    def short(self, tokens, mask):
        if tokens.numel() > 100:
            raise torch.OutOfMemoryError("out of memory")
        return forward(self, tokens, mask)

    monkeypatch.setattr(Encoder, "forward", short)
    found = model.encode(model.windows(texts))
    assert np.abs(found - expected).max() < 1e-5
    assert model.counts.budget_cuts >= 1
    assert model.counts.windows == len(texts)
    assert 1 <= model.token_budget <= 256


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    ],
    ids=["Python", "Linux", "other systems"],
)
def test_a_shortage_of_main_memory_is_survived_and_told(encoder, monkeypatch, error):
    """On a CPU, too, smaller batches follow; progress is told of each cut, and other errors aren't taken for one."""
    model, cuts, forward = fresh(encoder, token_budget=512), [], Encoder.forward
    told = SimpleNamespace(expect=lambda _: None, batch=lambda *_: None, cut=cuts.append)

    def short(self, tokens, mask):
        if tokens.numel() > 100:
            raise error
        return forward(self, tokens, mask)

    monkeypatch.setattr(Encoder, "forward", short)
    windows = model.windows([f"Sentence number {place} is about roofs." for place in range(24)])
    assert model.encode(windows, told).shape == (24, 384)
    assert len(cuts) == model.counts.budget_cuts >= 1
    assert cuts[-1] == model.token_budget <= 256
    error = RuntimeError("shapes don't match")
    with pytest.raises(RuntimeError, match="shapes"):
        fresh(encoder, token_budget=512).encode(windows, told)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_vectors_that_are_no_numbers_are_refused(encoder, monkeypatch, value):
    """A single NaN or infinity among many vectors is an error, not a row without a score."""
    forward = Encoder.forward

    def broken(self, tokens, mask):
        vectors = forward(self, tokens, mask)
        vectors[-1, 5] = value
        return vectors

    monkeypatch.setattr(Encoder, "forward", broken)
    model = fresh(encoder)
    with pytest.raises(RowError, match="gives NaN or infinity"):
        model.encode(model.windows(["The rain fell.", "A roof."]))


def test_progress_is_told_of_every_window(encoder):
    """What is expected and what is reported done are the same number of windows, and all tokens are reported."""
    seen = {"expected": 0, "windows": 0, "tokens": 0}

    class Progress:
        def expect(self, windows):
            seen["expected"] += windows

        def batch(self, tokens, windows):
            seen["tokens"] += tokens
            seen["windows"] += windows

    model = fresh(encoder, token_budget=64)
    windows = model.windows(TEXTS[:5])
    model.encode(windows, Progress())
    assert seen == {
        "expected": len(windows),
        "windows": len(windows),
        "tokens": sum(len(window.ids) for window in windows),
    }


def test_the_identity_is_what_vectors_depend_on(encoder):
    """Model, commit, weights, pooling, layers and windows are named; device, precision and budget aren't."""
    expected = {
        "model": DEFAULT_ENCODER,
        "revision": "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
        "weights_sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "pooling": "mean",
        "layers": [6, 4, 3],
        "window_tokens": WINDOW_TOKENS,
        "window_overlap": WINDOW_OVERLAP,
    }
    assert encoder.identity == expected == json.loads(json.dumps(encoder.identity))
    assert encoder.token_budget == TOKEN_BUDGET["cpu"]
    assert (encoder.device.type, encoder.dtype) == ("cpu", torch.float32)


def test_loading_needs_no_network(monkeypatch):
    """The packaged encoder loads where every connection fails."""

    def refuse(*_):
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert load_encoder(EncoderConfig(device="cpu", token_budget=64)).token_budget == 64


def test_cuda_is_refused_where_there_is_none(monkeypatch):
    """Asked for a GPU, nothing falls back to the CPU; the remedy names the way out."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        ModelError, match=r"--device cuda, but torch finds no GPU(.|\n)*--device cpu"
    ):
        load_encoder(EncoderConfig(device="cuda"))


def test_pooling_is_the_checkpoints_own(tiny_checkpoint):
    """A checkpoint that pools its first token is read so, any other by the mean; both agree with the states themselves."""
    folder = tiny_checkpoint()
    config = EncoderConfig(
        model=str(folder), device="cpu", layer_depths=(1.0,), window_tokens=16, window_overlap=4
    )
    mean = load_encoder(config)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    first = load_encoder(config)
    assert (mean.pooling, first.pooling) == ("mean", "cls")
    windows = mean.windows(["the rain fell on a roof"])
    with torch.inference_mode():
        states = mean.model(input_ids=torch.tensor([windows[0].ids])).last_hidden_state[0].numpy()
    for model, expected in ((mean, states.mean(0)), (first, states[0])):
        assert np.abs(model.encode(windows)[0] - expected / np.linalg.norm(expected)).max() < 1e-5
    assert mean.identity["pooling"] != first.identity["pooling"]
    assert mean.identity["revision"] == mean.identity["weights_sha256"]


def test_half_precision_is_close(tiny_checkpoint):
    """bf16 gives float32 vectors of unit length, near those of full precision."""
    config = EncoderConfig(
        model=str(tiny_checkpoint()), device="cpu", window_tokens=16, window_overlap=4
    )
    full, half = (
        load_encoder(replace(config, precision=precision)) for precision in ("fp32", "bf16")
    )
    assert (full.dtype, half.dtype) == (torch.float32, torch.bfloat16)
    windows = full.windows(["the rain fell on a roof", "good and bad", "sing"])
    one, other = full.encode(windows), half.encode(windows)
    assert other.dtype == np.float32
    assert np.linalg.norm(other, axis=1) == pytest.approx(1, abs=1e-5)
    assert (one * other).sum(1).min() > 0.999
    assert full.identity == half.identity


def test_the_limit_is_the_checkpoints_setting_or_its_positions(tiny_checkpoint):
    """Windows longer than the model reads are refused before anything is scored."""
    folder = tiny_checkpoint()
    config = EncoderConfig(model=str(folder), device="cpu", window_tokens=64, window_overlap=16)
    assert load_encoder(config).max_tokens == 64
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 32}))
    with pytest.raises(ModelError, match="reads 32 tokens at most, windows have 64"):
        load_encoder(config)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 500}))
    assert load_encoder(config).max_tokens == 64


@pytest.mark.parametrize(
    ("size", "overlap"), [(128, 65), (128, -1), (4, 2), (3, 1), (2, 0), (0, 0), (-5, -3)]
)
def test_windows_that_do_not_advance_are_refused(encoder, size, overlap):
    """A window must hold some text beside its special tokens, and more than it shares with the next."""
    with pytest.raises(ModelError, match=f"windows of {size} tokens can't overlap by {overlap}"):
        check_windows(size, overlap, 256, encoder.files)


@given(st.integers(8, 40), st.data())
def test_windows_that_are_accepted_can_be_cut(encoder, size, data):
    """Whatever passes the check, the tokenizer can do, down to the smallest window with the largest overlap."""
    overlap = data.draw(st.integers(0, size // 2))
    check_windows(size, overlap, 256, encoder.files)
    model = fresh(
        encoder, config=replace(encoder.config, window_tokens=size, window_overlap=overlap)
    )
    windows = model.windows(["one two three four five six seven eight nine ten " * 5])
    assert max(len(window.ids) for window in windows) == size
    assert all(isinstance(window, Window) for window in windows)


@pytest.mark.parametrize(
    ("depths", "layers"),
    [((1.0,), (6,)), ((0.01,), (1,)), ((1.0, 0.99), (6,)), ((0.5, 1.0), (3, 6))],
)
def test_depths_are_shares_of_the_layers(encoder, depths, layers):
    """A share is rounded to a layer, at least the first; the same layer counts once."""
    assert replace(encoder, config=replace(encoder.config, layer_depths=depths)).layers == layers


def test_padding_uses_an_id_that_the_model_has(encoder):
    """A model without a padding token pads with id 0, which the mask hides."""
    assert pad_id(encoder.model) == 0
    assert pad_id(Recorder(1).model) == 0
