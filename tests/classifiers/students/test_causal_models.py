"""Causal models as students: where they come from, how they end, and how they answer."""

from __future__ import annotations

import json

import pytest
import torch

from classifiers.students.answers import Decoding
from classifiers.students.causal_models import (
    answer_tokens,
    find_causal,
    find_context,
    list_ends,
    load_causal,
    settle_device,
)
from classifiers.students.networks import compute_repeatably
from schemas.errors import ModelError
from tests.support.causal_students import build_causal, save_causal

CPU = torch.device("cpu")
PROMPTS = [[5, 6, 7], [8, 9], [10, 11, 12], [5, 6, 7]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    """Save a tiny model."""
    return save_causal(tmp_path_factory.mktemp("causal"))


@pytest.fixture(scope="module")
def model(folder):
    """Load the tiny model."""
    return load_causal(find_causal(folder, None), CPU, "auto")


def answer(model, prompts=PROMPTS, ends=frozenset(), seed=0, **changes):
    """Answer prompts with eight tokens."""
    decoding = Decoding(**{"temperature": 1.0, "tokens": 8, **changes})
    with compute_repeatably():
        return answer_tokens(model, prompts, decoding, ends, seed)


def test_a_model_is_loaded_frozen(model):
    """No weight needs a gradient, and the attention is the kind that is always repeatable."""
    assert not any(weight.requires_grad for weight in model.parameters())
    assert not model.training
    assert model.config._attn_implementation == "eager"
    assert model.dtype == torch.float32


def test_a_name_on_the_hub_needs_a_commit():
    """Without a pinned commit, somebody else could change the student."""
    with pytest.raises(ModelError, match="needs a pinned revision"):
        find_causal("org/model", None)
    with pytest.raises(ModelError, match="needs a pinned revision"):
        find_causal("org/model", "main")


def test_weights_must_be_safetensors(tmp_path):
    """A pickled checkpoint is never read."""
    save_causal(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        find_causal(str(tmp_path), None)


def test_remote_code_is_not_run(tmp_path):
    """A checkpoint that brings code is loaded without it, or not at all."""
    save_causal(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "evil.Model"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    assert type(load_causal(find_causal(str(tmp_path), None), CPU, "fp32")).__module__.startswith(
        "transformers."
    )


def test_a_model_needs_a_chat_template(tmp_path):
    """Without a template, nobody knows how to ask the student."""
    save_causal(tmp_path, template=None)
    with pytest.raises(ModelError, match="no chat template"):
        find_causal(str(tmp_path), None)


def test_the_identity_covers_weights_and_template(folder, tmp_path):
    """Other weights and another template give another identity; a copy gives the same."""
    own = find_causal(folder, None).identity
    names = ("weights_sha256", "tokenizer", "chat_template")
    same = find_causal(save_causal(tmp_path / "same"), None).identity
    assert [own[name] for name in names] == [same[name] for name in names]
    other = find_causal(save_causal(tmp_path / "other", seed=1), None).identity
    assert own["weights_sha256"] != other["weights_sha256"]
    template = "{% for message in messages %}[{{ message.role }}] {{ message.content }}{% endfor %}"
    asked = find_causal(save_causal(tmp_path / "asked", template=template), None).identity
    assert own["chat_template"] != asked["chat_template"]


def test_a_missing_gpu_is_no_cpu():
    """CUDA without a GPU is an error; `auto` and `cpu` find a device."""
    assert settle_device("cpu") == CPU
    if torch.cuda.is_available():
        assert settle_device("cuda").type == settle_device("auto").type == "cuda"
        return
    assert settle_device("auto") == CPU
    with pytest.raises(ModelError, match=r"lora.device: is cuda, but torch finds no GPU"):
        settle_device("cuda")


def test_the_context_is_the_models_at_most(model):
    """A student can't read more tokens than its model has positions for."""
    assert find_context(model, 200) == 200
    assert find_context(model, 256) == 256
    with pytest.raises(ModelError, match="at most 256 tokens, fewer than 257"):
        find_context(model, 257)


def test_an_answer_ends_at_any_of_its_ends(model, folder):
    """The model's end, the tokenizer's and the template's count, but no ordinary token."""
    tokenizer = find_causal(folder, None).tokenizer
    own = tokenizer.eos_token_id
    mark = tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert list_ends(model, tokenizer, own) == {own}
    assert list_ends(model, tokenizer, mark) == {own, mark}
    assert list_ends(model, tokenizer, 40) == {own}


def test_answers_are_repeatable(model):
    """The same seed gives the same answers, whatever the global random state."""
    torch.manual_seed(1)
    first = answer(model)
    torch.manual_seed(2)
    assert answer(model) == first
    assert answer(model, seed=1) != first
    assert [len(ids) for ids in first] == [8] * 4


def test_the_likeliest_tokens_are_those_of_the_whole_text(model):
    """With a cache, each token is that of the model on the whole text so far."""
    found = answer(model, temperature=0)
    assert found[0] == found[3]
    for prompt, ids in zip(PROMPTS, found, strict=True):
        seen = list(prompt)
        for token in ids:
            with torch.inference_mode():
                logits = model(torch.tensor([seen])).logits[0, -1]
            assert int(logits.argmax()) == token
            seen.append(token)


def test_an_answer_stops_before_its_end(model):
    """The token that ends an answer, and what follows it, isn't part of it."""
    whole = answer(model, temperature=0)
    end = whole[0][3]
    cut = answer(model, ends=frozenset([end]), temperature=0)
    for one, other in zip(whole, cut, strict=True):
        assert other == (one[: one.index(end)] if end in one else one)


def test_the_checkpoints_sampling_has_no_effect(model):
    """Settings such as top_k in a checkpoint don't change what is drawn."""
    first = answer(model)
    model.generation_config.top_k, model.generation_config.temperature = 1, 0.01
    try:
        assert answer(model) == first
    finally:
        model.generation_config.top_k = model.generation_config.temperature = None


def test_nothing_asked_is_nothing_answered(model):
    """Without prompts there are no answers."""
    assert answer(model, []) == []


def test_changed_weights_are_noticed(tmp_path):
    """A model that changes between its digest and its loading is an error."""
    found = find_causal(save_causal(tmp_path), None)
    build_causal(seed=5).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="was changed"):
        load_causal(found, CPU, "fp32")
