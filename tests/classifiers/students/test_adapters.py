"""Adapters in a real causal model: their first weights, their layers, and traps that stop them."""

from __future__ import annotations

import sys
from contextlib import nullcontext

import pytest
import torch
from safetensors.torch import load

from classifiers.students.adapters import (
    AdapterShape,
    attach_adapter,
    find_layers,
    load_peft,
    require_working_adapter,
)
from classifiers.students.lessons import Lesson, stack_lessons
from classifiers.students.networks import compute_repeatably
from classifiers.students.training import Recipe, run_steps
from schemas.errors import ModelError, TrialError
from tests.support.causal_students import build_causal

IDS = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
SHAPE = AdapterShape(rank=4, alpha=8)


@pytest.fixture(scope="module")
def model():
    """Return a tiny frozen model."""
    return build_causal().eval().requires_grad_(requires_grad=False)


def train(network, steps=3):
    """Train an adapter on two examples, and return its losses."""
    lesson = Lesson([5, 6, 7, 8, 9], [0.0, 0.0, 1.0, 1.0, 1.0], 0, 0, truncated=False)
    lessons = stack_lessons([lesson, lesson._replace(ids=[9, 8, 7, 6, 5])])
    with compute_repeatably():
        return run_steps(network, lessons, Recipe(steps, 2, 0.01), 0, "here").losses


def test_a_new_adapter_changes_nothing(model):
    """Before training, the logits are those of the model, in single precision."""
    with torch.inference_mode(), attach_adapter(model, SHAPE, 0) as network:
        with network.switch_off():
            plain = network(IDS)
        assert torch.equal(network(IDS), plain)
        assert plain.dtype == torch.float32
        assert plain.shape == (2, 4, model.config.vocab_size)


def test_the_model_is_the_same_afterwards(model):
    """Training changes the adapter alone, and taking it out leaves the model as it was."""
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    with attach_adapter(model, SHAPE, 0) as network:
        losses = train(network, 20)
        assert losses[-1] < losses[0]
    after = dict(model.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_seed_decides_the_first_weights(model):
    """The same seed gives the same bytes, whatever the global random state, which stays."""
    found = []
    for seed in (3, 3, 4):
        torch.manual_seed(len(found))
        state = torch.get_rng_state()
        with attach_adapter(model, SHAPE, seed) as network:
            found.append(network.encode_weights())
        assert torch.equal(torch.get_rng_state(), state)
    assert found[0] == found[1] != found[2]


def test_training_is_repeatable(model):
    """The same seed and examples give the same trained bytes, which are safetensors."""
    found = []
    for _ in range(2):
        with attach_adapter(model, SHAPE, 1) as network:
            train(network)
            found.append(network.encode_weights())
    assert found[0] == found[1]
    names = load(found[0])
    assert "model.layers.0.self_attn.q_proj.lora_B" in names
    assert len(names) == 28


def test_all_dense_layers_but_the_last_are_adapted(model):
    """Without names, the layer that gives the logits stays; names choose layers by their ends."""
    layers = find_layers(model, ())
    assert len(layers) == 14
    assert "lm_head" not in layers
    assert find_layers(model, ("q_proj",)) == [
        "model.layers.0.self_attn.q_proj",
        "model.layers.1.self_attn.q_proj",
    ]
    with pytest.raises(ModelError, match="no layer 'query'") as caught:
        find_layers(model, ("q_proj", "query"))
    assert "down_proj, gate_proj, k_proj" in caught.value.remedy


def test_a_trained_adapter_works(model):
    """All of its weights differ from zero, and it changes logits."""
    with attach_adapter(model, AdapterShape(4, 8, ("q_proj", "down_proj")), 0) as network:
        train(network)
        require_working_adapter(network, IDS, "arm drop")


def test_an_untrained_adapter_stops_the_trial(model):
    """An adapter whose second half is still zero has learnt nothing."""
    zero = pytest.raises(TrialError, match=r"14 of 28 adapter tensors .*lora_B is zero")
    with attach_adapter(model, SHAPE, 0) as network, zero:
        require_working_adapter(network, IDS, "arm drop")


def test_an_adapter_that_was_not_bound_stops_the_trial(model):
    """An adapter that was taken out of the model isn't found in it."""
    with attach_adapter(model, SHAPE, 0) as network:
        train(network)
        network.tuner.unload()
        with pytest.raises(TrialError, match=r"28 of 28 adapter tensors .* is missing"):
            require_working_adapter(network, IDS, "arm drop")


def test_an_adapter_without_effect_stops_the_trial(model):
    """An adapter that is switched off has weights, but changes no logit."""
    with attach_adapter(model, SHAPE, 0) as network:
        train(network)
        network.tuner.disable_adapter_layers()
        network.switch_off = nullcontext
        with pytest.raises(TrialError, match="changes no logit"):
            require_working_adapter(network, IDS, "arm drop")


def test_an_error_takes_the_adapter_out(model):
    """After a failed training, the model has no adapter's weights."""
    with pytest.raises(ZeroDivisionError), attach_adapter(model, SHAPE, 0):
        _ = 1 / 0
    assert not [name for name, _ in model.named_parameters() if "lora" in name]


def test_transposed_layers_are_adapted():
    """GPT-2 stores its dense layers the other way round, and is adapted without a warning."""
    from transformers import GPT2Config, GPT2LMHeadModel

    shape = GPT2Config(vocab_size=40, n_positions=16, n_embd=16, n_layer=1, n_head=2)
    small = GPT2LMHeadModel(shape).eval().requires_grad_(requires_grad=False)
    with attach_adapter(small, SHAPE, 0) as network:
        train(network)
        require_working_adapter(network, IDS, "arm drop")


def test_without_peft_the_remedy_is_named(monkeypatch):
    """A missing extra is an error that says how to install it."""
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModelError, match="need peft") as caught:
        load_peft()
    assert "congener[students]" in caught.value.remedy
