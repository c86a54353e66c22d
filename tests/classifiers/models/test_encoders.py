"""The encoder: its vectors, batches, token budget and windows."""

from __future__ import annotations

import copy
import json
import socket
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import sentence_transformers
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classifiers.models import encoders
from classifiers.models.cards import Cards, Replica
from classifiers.models.checkpoints import DEFAULT_ENCODER, find_model
from classifiers.models.encoders import (
    TOKEN_BUDGET,
    Encoder,
    check_windows,
    find_pad_id,
    load_encoder,
    run_batches,
)
from classifiers.models.interface import EncoderConfig
from classifiers.models.loading import load_tokenizer
from classifiers.models.packing import use_packed_attention
from classifiers.models.windows import BatchCounts, Window
from schemas.digests import digest_config
from schemas.encoders import WINDOW_OVERLAP, WINDOW_TOKENS
from schemas.errors import ModelError, RowError, describe_machine_fault

TEXTS = [
    "It is raining.",
    "The quarterly report is due on Friday, and nobody has written the summary yet.",
    "Où est la gare ? Elle est près du café.",
    "def add(a, b):\n    return a + b",
    "雨が降っています。",
    "",
    "A long answer about gutters and roofs. " * 40,
]


def copy_encoder(encoder, **changes) -> Encoder:
    """Return a copy of the session's encoder with its own counts."""
    return replace(encoder, counts=BatchCounts(), **changes)


@pytest.fixture
def last_layer(encoder):
    """Return an encoder that uses only the last layer, like sentence-transformers."""
    return copy_encoder(encoder, config=replace(encoder.config, layer_depths=(1.0,)))


def test_vectors_are_those_of_sentence_transformers(last_layer):
    """Vectors of only the last layer match sentence-transformers to 1e-5."""
    reference = sentence_transformers.SentenceTransformer(
        str(find_model(DEFAULT_ENCODER).folder), device="cpu"
    )
    assert reference.max_seq_length == last_layer.max_tokens == 256
    expected = reference.encode(TEXTS, normalize_embeddings=True)
    found = last_layer.encode(last_layer.take_whole(TEXTS))
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-5


def test_layers_are_pooled_scaled_and_averaged(encoder):
    """Vectors of several layers are the normalised sum of the layers' unit vectors."""
    model = copy_encoder(encoder)
    assert model.layers == (6, 4, 3)
    (window,) = model.take_whole(TEXTS[1:2])
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
    """A text's vector doesn't depend on other texts, their order or the budget, to 1e-5."""
    chosen = order[:size]
    model = copy_encoder(encoder, token_budget=budget)
    windows = model.cut_windows([TEXTS[index] for index in chosen])
    firsts = [
        index
        for index, window in enumerate(windows)
        if index == 0 or windows[index - 1].text != window.text
    ]
    assert np.abs(model.encode(windows)[firsts] - alone[chosen]).max() < 1e-5


@pytest.fixture(scope="module")
def alone(encoder):
    """Return the vector of each text's first window, encoded alone."""
    model = copy_encoder(encoder, token_budget=1)
    return np.concatenate([model.encode(model.cut_windows([text])[:1]) for text in TEXTS])


def test_vectors_have_unit_length(encoder):
    """Vectors have unit length, even for a text without words."""
    model = copy_encoder(encoder)
    vectors = model.encode(model.cut_windows(TEXTS))
    assert vectors.shape == (len(model.cut_windows(TEXTS)), model.dimension) == (len(vectors), 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_nothing_encodes_to_nothing(encoder):
    """Without windows, the result is an empty array of the right width."""
    model = copy_encoder(encoder)
    assert model.encode([]).shape == (0, 384)
    assert model.counts == BatchCounts()
    assert model.cut_windows([]) == model.take_whole([]) == []


def test_whole_texts_are_truncated_to_the_models_limit(encoder):
    """An exemplar is one window, cut at the model's limit, and other texts have shorter windows."""
    model = copy_encoder(encoder)
    whole = model.take_whole(TEXTS)
    assert [window.text for window in whole] == list(range(len(TEXTS)))
    assert len(whole[-1].ids) == model.max_tokens
    assert all(window.start == 0 for window in whole)
    cut = [window for window in model.cut_windows(TEXTS) if window.text == len(TEXTS) - 1]
    assert len(cut) > 1
    assert max(len(window.ids) for window in cut) == model.config.window_tokens == WINDOW_TOKENS


class Recorder:
    """A model that records shapes, and runs out of memory above a size."""

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
        """Run windows of these lengths, and return each window's result."""
        kept = np.full(len(lengths), -1)
        run_batches(self, [[1] * length for length in lengths], kept.__setitem__, None)
        return kept.tolist()


LENGTHS = st.lists(st.integers(1, 60), max_size=40)


@given(LENGTHS, st.integers(1, 300))
def test_the_token_budget_is_respected(lengths, budget):
    """Batches keep to the budget, and every window is run and counted once."""
    model = Recorder(budget)
    assert model.run(lengths) == lengths
    assert all(rows == 1 or rows * width <= budget for rows, width in model.shapes)
    assert model.counts == BatchCounts(
        sum(lengths), sum(rows * width for rows, width in model.shapes), len(lengths), 0
    )


@given(LENGTHS, st.integers(60, 400), st.integers(60, 400))
def test_out_of_memory_halves_batches_until_they_fit(lengths, budget, memory):
    """If memory runs out, batches shrink until they fit, and all results arrive."""
    model = Recorder(budget, memory)
    assert model.run(lengths) == lengths
    assert all(rows * width <= memory for rows, width in model.shapes)
    assert model.counts.budget_cuts == model.failures
    assert model.counts.windows == len(lengths)
    assert model.token_budget <= budget


def test_one_shortage_cuts_the_budget_once():
    """One shortage leads to only one budget cut."""
    model = Recorder(budget=1000, memory=700)
    model.run([50] * 200)
    assert (model.failures, model.counts.budget_cuts, model.token_budget) == (1, 1, 500)
    assert model.shapes == [(10, 50)] * 20


def test_a_smaller_budget_stays_for_the_next_call():
    """A reduced token budget stays reduced for later calls."""
    model = Recorder(budget=1000, memory=700)
    model.run([50] * 20)
    model.run([50] * 20)
    assert model.failures == 1


def test_batches_run_at_the_same_time():
    """Parallel batches run at the same time, and results stay in order."""
    model = Recorder(budget=8)
    meet = threading.Barrier(2, timeout=30)
    forward = model.forward
    model.forward = lambda tokens, mask: (meet.wait(), forward(tokens, mask))[1]
    kept = np.full(4, -1)
    run_batches(model, [[1] * length for length in (5, 6, 7, 8)], kept.__setitem__, None, at_once=2)
    assert kept.tolist() == [5, 6, 7, 8]
    assert model.counts == BatchCounts(26, 26, 4, 0)


@given(LENGTHS, st.integers(60, 400), st.integers(60, 400), st.integers(2, 4))
def test_a_shortage_among_parallel_batches_loses_nothing(lengths, budget, memory, at_once):
    """A shortage in one batch loses no results of parallel batches."""
    model = Recorder(budget, memory)
    kept = np.full(len(lengths), -1)
    run_batches(model, [[1] * length for length in lengths], kept.__setitem__, None, at_once)
    assert kept.tolist() == lengths
    assert (model.counts.windows, model.counts.tokens) == (len(lengths), sum(lengths))


@pytest.fixture
def packing(encoder):
    """Return an encoder that packs its batches, with a mask instead of a card's kernel."""
    model = copy.deepcopy(encoder.model)
    use_packed_attention(model)
    return copy_encoder(encoder, model=model)


@pytest.mark.parametrize("budget", [16, 200, 131_072])
def test_packed_batches_give_the_vectors_of_padded_ones(encoder, packing, budget):
    """Vectors are the same without padding, in batches of any size."""
    packing.token_budget = budget
    windows = encoder.cut_windows(TEXTS)
    assert packing.packs
    assert not encoder.packs
    found = packing.encode(windows)
    assert found == pytest.approx(copy_encoder(encoder).encode(windows), abs=1e-6)
    assert packing.counts.padded == packing.counts.tokens == len(windows.runs.ids)
    assert packing.counts.padding_waste == 0


def test_packed_batches_with_the_first_tokens_state(encoder, packing):
    """Packing also works for models whose vector is the state of the first token."""
    windows = encoder.cut_windows(TEXTS[:4])
    expected = copy_encoder(encoder, pooling="cls").encode(windows)
    assert replace(packing, pooling="cls").encode(windows) == pytest.approx(expected, abs=1e-6)


def test_a_packed_batch_shrinks_when_memory_runs_out(encoder, packing, monkeypatch):
    """If a card has no memory for a packed batch, parts of it are tried, and nothing is lost."""
    windows = encoder.cut_windows(TEXTS)
    expected = packing.encode(windows)
    forward, sizes = packing.forward_packed, []

    def run_out(packed):
        sizes.append(packed.tokens.numel())
        if packed.tokens.numel() > 150:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(packed)

    limited = replace(packing, counts=BatchCounts(), token_budget=600)
    monkeypatch.setattr(limited, "forward_packed", run_out)
    assert limited.encode(windows) == pytest.approx(expected, abs=1e-6)
    assert limited.counts.budget_cuts == sum(size > 150 for size in sizes) > 0
    assert limited.counts.windows == len(windows)
    assert limited.token_budget <= 300


class Held:
    """What a forward pass computes before memory runs out."""


def test_a_failed_batch_is_freed_before_its_retry():
    """The retry has the memory of the pass that failed, which its traceback would keep."""
    held, at_retry = [], []

    class Leaking(Recorder):
        def forward(self, tokens, mask):
            computed = Held()
            if held:
                at_retry.append(held[0]())
            held.append(weakref.ref(computed))
            return super().forward(tokens, mask)

    assert Leaking(1_000, 700).run([50] * 20) == [50] * 20
    assert len(held) == 3, "one pass fails, and its halves succeed"
    assert at_retry == [None, None]


def test_a_card_without_memory_for_one_window_is_a_machine_fault(encoder, packing, monkeypatch):
    """If even one window doesn't fit, the error is reported as a fault of the machine."""

    def run_out(packed):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(packing, "forward_packed", run_out)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        packing.encode(encoder.cut_windows(["The rain fell."]))
    fault = describe_machine_fault(caught.value)
    assert "CUDA out of memory" in fault.problem
    assert fault.remedy


class LateTensor(torch.Tensor):
    """A result that claims to be on a card, and counts how often it is waited for."""

    device = torch.device("cuda")
    waits = 0

    def cpu(self):
        """Return the values, as after a copy from a card."""
        LateTensor.waits += 1
        return torch.Tensor(self)


def test_results_of_a_card_are_collected_at_the_end(monkeypatch):
    """The host waits once for a card, however many batches there are."""
    model = Recorder(10)
    forward = model.forward
    model.forward = lambda tokens, mask: forward(tokens, mask).as_subclass(LateTensor)
    monkeypatch.setattr(LateTensor, "waits", 0)
    lengths = [3, 9, 1, 5, 7]
    assert model.run(lengths) == lengths
    assert LateTensor.waits == 1
    assert len(model.shapes) > 3


def test_every_card_has_a_copy(encoder, monkeypatch):
    """With several cards, threads encode on different ones, and the vectors are the same."""
    windows = encoder.cut_windows(TEXTS)
    expected = copy_encoder(encoder).encode(windows)
    copies = [Replica(copy.deepcopy(encoder.model), torch.device("cpu", n)) for n in range(2)]
    model = copy_encoder(encoder, cards=Cards(copies))
    meet, used = threading.Barrier(2, timeout=60), []
    run = encoders.run_batches

    def record(runner, *arguments):
        used.append(runner.model)
        meet.wait()  # both are in use at the same time
        return run(runner, *arguments)

    monkeypatch.setattr(encoders, "run_batches", record)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(model.encode, [windows, windows]))
    assert {id(item) for item in used} == {id(item.model) for item in copies}
    for vectors in found:
        assert vectors == pytest.approx(expected, abs=1e-6)
    assert model.counts.windows == 2 * len(windows)


def test_torch_keeps_its_number_of_threads(encoder):
    """Encoding doesn't change torch's number of threads, even for new threads."""
    before = torch.get_num_threads()
    model = copy_encoder(encoder, token_budget=64)
    model.encode(model.cut_windows(TEXTS))
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert (torch.get_num_threads(), seen) == (before, [before])


def test_a_window_that_never_fits_is_an_error():
    """An out-of-memory error for a single window reaches the caller."""
    with pytest.raises(torch.OutOfMemoryError):
        Recorder(budget=100, memory=10).run([20, 20])


def test_an_encoder_survives_a_shortage(encoder, monkeypatch):
    """A shortage doesn't change an encoder's vectors, and budget cuts are counted."""
    texts = [f"Sentence number {number} is about roofs." for number in range(24)]
    model = copy_encoder(encoder, token_budget=512)
    expected = copy_encoder(encoder).encode(model.cut_windows(texts))
    forward = Encoder.forward

    def short(self, tokens, mask):
        if tokens.numel() > 100:
            raise torch.OutOfMemoryError("out of memory")
        return forward(self, tokens, mask)

    monkeypatch.setattr(Encoder, "forward", short)
    found = model.encode(model.cut_windows(texts))
    assert np.abs(found - expected).max() < 1e-5
    assert model.counts.budget_cuts >= 1
    assert model.counts.windows == len(texts)
    assert 1 <= model.token_budget <= 256


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: "
            "can't allocate memory: you tried to allocate 9 bytes."
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    ],
    ids=["Python", "Linux", "other systems"],
)
def test_a_shortage_of_main_memory_is_survived_and_reported(encoder, monkeypatch, error):
    """A shortage of main memory shrinks batches and is reported, but other errors are raised."""
    model, cuts, forward = copy_encoder(encoder, token_budget=512), [], Encoder.forward
    listener = SimpleNamespace(expect=lambda *_: None, batch=lambda *_: None, cut=cuts.append)

    def short(self, tokens, mask):
        if tokens.numel() > 100:
            raise error
        return forward(self, tokens, mask)

    monkeypatch.setattr(Encoder, "forward", short)
    windows = model.cut_windows(
        [f"Sentence number {number} is about roofs." for number in range(24)]
    )
    assert model.encode(windows, listener).shape == (24, 384)
    assert len(cuts) == model.counts.budget_cuts >= 1
    assert cuts[-1] == model.token_budget <= 256
    error = RuntimeError("shapes don't match")
    with pytest.raises(RuntimeError, match="shapes"):
        copy_encoder(encoder, token_budget=512).encode(windows, listener)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_vectors_that_are_not_finite_are_refused(encoder, monkeypatch, value):
    """NaN or infinity in a vector is an error."""
    forward = Encoder.forward

    def broken(self, tokens, mask):
        vectors = forward(self, tokens, mask)
        vectors[-1, 5] = value
        return vectors

    monkeypatch.setattr(Encoder, "forward", broken)
    model = copy_encoder(encoder)
    with pytest.raises(RowError, match="gives NaN or infinity"):
        model.encode(model.cut_windows(["The rain fell.", "A roof."]))


def test_progress_hears_of_every_window(encoder):
    """Progress announces the number of windows, and batches report all windows and tokens."""
    seen = {"expected": 0, "expected_tokens": 0, "windows": 0, "tokens": 0}

    class Listener:
        def expect(self, windows, tokens):
            seen["expected"] += windows
            seen["expected_tokens"] += tokens

        def batch(self, tokens, windows):
            seen["tokens"] += tokens
            seen["windows"] += windows

    model = copy_encoder(encoder, token_budget=64)
    windows = model.cut_windows(TEXTS[:5])
    model.encode(windows, Listener())
    tokens = sum(len(window.ids) for window in windows)
    assert seen == {
        "expected": len(windows),
        "expected_tokens": tokens,
        "windows": len(windows),
        "tokens": tokens,
    }


def test_the_identity_holds_what_vectors_depend_on(encoder):
    """The identity includes the model, weights, layers and windows, but not device or precision."""
    expected = {
        "model": DEFAULT_ENCODER,
        "files": encoder.files.digests,
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
    """The packaged encoder loads without a network."""

    def refuse(*_):
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert load_encoder(EncoderConfig(device="cpu", token_budget=64)).token_budget == 64


def test_cuda_is_refused_where_there_is_none(monkeypatch):
    """A missing GPU is an error, and the remedy names the option for the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        ModelError, match=r"--device is cuda, but torch finds no GPU(.|\n)*--device cpu"
    ):
        load_encoder(EncoderConfig(device="cuda"))


def test_pooling_is_the_checkpoints_own(tiny_checkpoint):
    """A checkpoint's own first-token pooling is used, and otherwise the mean."""
    folder = tiny_checkpoint()
    config = EncoderConfig(
        model=str(folder), device="cpu", layer_depths=(1.0,), window_tokens=16, window_overlap=4
    )
    mean = load_encoder(config)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    first = load_encoder(config)
    assert (mean.pooling, first.pooling) == ("mean", "cls")
    windows = mean.cut_windows(["the rain fell on a roof"])
    with torch.inference_mode():
        states = mean.model(input_ids=torch.tensor([windows[0].ids])).last_hidden_state[0].numpy()
    for model, expected in ((mean, states.mean(0)), (first, states[0])):
        assert np.abs(model.encode(windows)[0] - expected / np.linalg.norm(expected)).max() < 1e-5
    assert mean.identity["pooling"] != first.identity["pooling"]
    assert mean.identity["revision"] == digest_config(mean.identity["files"])


def test_half_precision_is_close(tiny_checkpoint):
    """bf16 gives float32 unit vectors close to full precision."""
    config = EncoderConfig(
        model=str(tiny_checkpoint()), device="cpu", window_tokens=16, window_overlap=4
    )
    full, half = (
        load_encoder(replace(config, precision=precision)) for precision in ("fp32", "bf16")
    )
    assert (full.dtype, half.dtype) == (torch.float32, torch.bfloat16)
    windows = full.cut_windows(["the rain fell on a roof", "good and bad", "sing"])
    one, other = full.encode(windows), half.encode(windows)
    assert other.dtype == np.float32
    assert np.linalg.norm(other, axis=1) == pytest.approx(1, abs=1e-5)
    assert (one * other).sum(1).min() > 0.999
    assert full.identity == half.identity


def test_the_limit_is_the_checkpoints_setting_or_its_positions(tiny_checkpoint):
    """The error for windows beyond the model's limit is raised at loading."""
    folder = tiny_checkpoint()
    config = EncoderConfig(model=str(folder), device="cpu", window_tokens=64, window_overlap=16)
    assert load_encoder(config).max_tokens == 64
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 32}))
    with pytest.raises(ModelError, match="reads at most 32 tokens, but windows have 64"):
        load_encoder(config)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 500}))
    assert load_encoder(config).max_tokens == 64


@pytest.mark.parametrize(
    ("size", "overlap"), [(128, 65), (128, -1), (4, 2), (3, 1), (2, 0), (0, 0), (-5, -3)]
)
def test_windows_that_do_not_advance_are_refused(encoder, size, overlap):
    """A window must be longer than the overlap and the special tokens."""
    with pytest.raises(ModelError, match=f"windows of {size} tokens can't overlap by {overlap}"):
        check_windows(size, overlap, 256, encoder.files)


@given(st.integers(8, 40), st.data())
def test_windows_that_are_accepted_can_be_cut(encoder, size, data):
    """Windows of every accepted size and overlap can be cut."""
    overlap = data.draw(st.integers(0, size // 2))
    check_windows(size, overlap, 256, encoder.files)
    model = copy_encoder(
        encoder, config=replace(encoder.config, window_tokens=size, window_overlap=overlap)
    )
    windows = model.cut_windows(["one two three four five six seven eight nine ten " * 5])
    assert max(len(window.ids) for window in windows) == size
    assert all(isinstance(window, Window) for window in windows)


@pytest.mark.parametrize(
    ("depths", "layers"),
    [((1.0,), (6,)), ((0.01,), (1,)), ((1.0, 0.99), (6,)), ((0.5, 1.0), (3, 6))],
)
def test_depths_are_shares_of_the_layers(encoder, depths, layers):
    """A depth is rounded to the nearest layer, at least 1, and a repeated layer counts once."""
    assert replace(encoder, config=replace(encoder.config, layer_depths=depths)).layers == layers


def test_padding_uses_an_id_that_the_model_has(encoder):
    """A model without a padding token uses id 0."""
    assert find_pad_id(encoder.model) == 0
    assert find_pad_id(Recorder(1).model) == 0


def test_an_encoder_that_changes_while_it_is_loaded_is_refused(tiny_checkpoint, monkeypatch):
    """A tokenizer that was replaced during loading is refused."""
    folder = tiny_checkpoint()

    def replace_tokenizer(files):
        tokenizer = files.folder / "tokenizer.json"
        tokenizer.write_text(tokenizer.read_text() + "\n")
        return load_tokenizer(files)

    monkeypatch.setattr(encoders, "load_tokenizer", replace_tokenizer)
    config = EncoderConfig(model=str(folder), device="cpu", window_tokens=16, window_overlap=4)
    with pytest.raises(ModelError, match=r"was changed while it was loaded \(tokenizer\.json\)"):
        load_encoder(config)
