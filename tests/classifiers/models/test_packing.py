"""Packed batches: the same vectors as with padding, for windows of any lengths."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.models import packing as module
from classifiers.models.packing import (
    PACKED,
    can_pack,
    is_packing,
    move_tensor,
    pack_batch,
    pool_first,
    pool_mean,
    run_packed,
    use_packed_attention,
)
from classifiers.models.windows import collect_runs, pad_batch

CPU, CARD = torch.device("cpu"), torch.device("cuda")


def build_model(kind, **options):
    """Return a small model of a kind with random weights, and the same model with packing."""
    torch.manual_seed(0)
    config = kind(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=40,
        **options,
    )
    model = transformers.AutoModel.from_config(config).eval()
    packed = copy.deepcopy(model)
    use_packed_attention(packed)
    return model, packed


MODELS = {
    "bert": build_model(transformers.BertConfig),
    "xlm-roberta": build_model(transformers.XLMRobertaConfig, pad_token_id=1),
}
RUNS = st.lists(st.lists(st.integers(2, 59), min_size=1, max_size=20), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(RUNS, st.sampled_from(sorted(MODELS)))
def test_packed_states_are_those_of_padded_batches(runs, kind):
    """Every layer's state of every token is the same with and without padding."""
    model, packing = MODELS[kind]
    pad = model.config.pad_token_id
    tokens, mask = map(torch.from_numpy, pad_batch(runs, pad))
    with torch.inference_mode():
        expected = model(input_ids=tokens, attention_mask=mask, output_hidden_states=True)
        packed = pack_batch(collect_runs(runs), packing)
        found = run_packed(packing, packed, all_layers=True)
    assert packed.longest == max(map(len, runs))
    for own, other in zip(found.hidden_states, expected.hidden_states, strict=True):
        assert own.shape == (1, sum(map(len, runs)), 32)
        assert torch.allclose(own[0], other[mask.bool()], atol=2e-5)
    assert torch.equal(found.last_hidden_state, found.hidden_states[-1])


@settings(max_examples=40, deadline=None)
@given(RUNS, st.integers(0, 99))
def test_pooling_is_within_each_window(runs, seed):
    """The mean and the first state of a window come from its own tokens."""
    states = torch.from_numpy(
        np.random.default_rng(seed).normal(size=(1, sum(map(len, runs)), 5)).astype(np.float32)
    )
    bounds = torch.tensor(np.cumsum([0, *map(len, runs)]), dtype=torch.int32)
    parts = torch.split(states[0], list(map(len, runs)))
    means = torch.stack([part.mean(0) for part in parts])
    assert torch.allclose(pool_mean(states, bounds), means, atol=1e-6)
    assert torch.equal(pool_first(states, bounds), torch.stack([part[0] for part in parts]))
    assert pool_mean(states.bfloat16(), bounds).dtype == torch.float32


def test_windows_do_not_see_each_other():
    """Another window's tokens change nothing, and a window's own tokens do."""
    _, packing = MODELS["bert"]

    def run(*runs):
        with torch.inference_mode():
            packed = pack_batch(collect_runs(runs), packing)
            return run_packed(packing, packed, all_layers=False).last_hidden_state[0, :3]

    expected = run([5, 6, 7])
    assert torch.allclose(run([5, 6, 7], [8, 9]), expected, atol=1e-6)
    assert torch.allclose(run([5, 6, 7], [50, 51, 52, 53]), expected, atol=1e-6)
    assert not torch.allclose(run([5, 6, 8], [8, 9]), expected, atol=1e-3)


def test_positions_begin_with_each_window():
    """Positions count from each window's start, after the padding's id where a model wants that."""
    runs = collect_runs([[5, 6, 7], [8, 9]])
    for kind, first in (("bert", 0), ("xlm-roberta", 2)):
        packed = pack_batch(runs, MODELS[kind][1])
        assert packed.tokens.tolist() == [[5, 6, 7, 8, 9]]
        assert packed.positions.tolist() == [[first, first + 1, first + 2, first, first + 1]]
        assert packed.bounds.tolist() == [0, 3, 5]
        assert packed.bounds.dtype == torch.int32


def test_a_batch_is_moved_as_a_whole():
    """All tensors of a batch are on the device, with the same values."""
    packed = pack_batch(collect_runs([[5, 6], [7]]), MODELS["bert"][1])
    moved = packed.move(CPU)
    assert moved.longest == packed.longest
    for own, other in zip(moved[:3], packed[:3], strict=True):
        assert torch.equal(own, other)


def test_copies_to_a_card_do_not_wait(monkeypatch):
    """A copy to a card is made from pinned memory; this machine only records the calls."""
    calls = []
    tensor = SimpleNamespace(
        pin_memory=lambda: calls.append("pinned") or tensor,
        to=lambda device, non_blocking: calls.append((device, non_blocking)),
    )
    move_tensor(tensor, CARD)
    assert calls == ["pinned", (CARD, True)]


@pytest.mark.parametrize(
    ("kind", "device", "dtype", "expected"),
    [
        ("bert", CARD, torch.bfloat16, True),
        ("roberta", CARD, torch.float16, True),
        ("bert", CARD, torch.float32, False),
        ("bert", CPU, torch.bfloat16, False),
        ("deberta-v2", CARD, torch.bfloat16, False),
        (None, CARD, torch.bfloat16, False),
    ],
)
def test_where_windows_are_packed(monkeypatch, kind, device, dtype, expected):
    """Windows are packed on a card in half precision, for kinds of models that are known."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    model = SimpleNamespace(config=SimpleNamespace(model_type=kind))
    assert can_pack(model, device, dtype) is expected


def test_a_card_without_the_kernel_pads(monkeypatch):
    """On a card that is too old, or with a torch that lacks the kernel, windows are padded."""
    model = SimpleNamespace(config=SimpleNamespace(model_type="bert"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert not can_pack(model, CARD, torch.bfloat16)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    assert can_pack(model, CARD, torch.bfloat16)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
    assert not can_pack(model, CARD, torch.bfloat16)


def test_decoders_are_not_packed():
    """A model whose tokens see only earlier ones isn't packed."""
    model = SimpleNamespace(config=SimpleNamespace(model_type="bert", is_decoder=True))
    assert not can_pack(model, CARD, torch.bfloat16)


def test_the_attention_is_set_on_one_model_alone():
    """Other models keep their own attention."""
    model, packing = MODELS["bert"]
    assert packing.config._attn_implementation == PACKED
    assert model.config._attn_implementation != PACKED
    assert (is_packing(model), is_packing(packing)) == (False, True)
