"""Loading checkpoints: device and precision, complete weights, and code that never runs."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from classifiers.models.checkpoints import ModelFiles
from classifiers.models.loading import choose_device, choose_dtype, load_model, load_tokenizer
from schemas.errors import MachineError, ModelError

CPU = torch.device("cpu")


def make_files(folder):
    """Return the model files of a local folder, with a made-up name and digests."""
    return ModelFiles("tiny", "r", "w", folder)


def test_a_device_is_never_guessed(monkeypatch):
    """`auto` uses a GPU if there is one, and `cuda` without a GPU is an error."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("cpu") == choose_device("auto") == CPU
    with pytest.raises(ModelError, match="--device is cuda, but torch finds no GPU"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("cuda") == choose_device("auto") == torch.device("cuda")
    assert choose_device("cpu") == CPU


def test_precision_follows_the_device_unless_named(monkeypatch):
    """`auto` is bf16 on a GPU that supports it, and otherwise fp32."""
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert choose_dtype("auto", cuda) == choose_dtype("bf16", CPU) == torch.bfloat16
    assert choose_dtype("auto", CPU) == choose_dtype("fp32", cuda) == torch.float32
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert choose_dtype("auto", cuda) == torch.float32


def test_a_slow_tokenizer_is_refused(tiny_checkpoint, monkeypatch):
    """The error for a tokenizer without offsets has a remedy."""
    slow = SimpleNamespace(is_fast=False)
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *_, **__: slow)
    with pytest.raises(ModelError, match=r"has no fast tokenizer(.|\n)*add a tokenizer\.json"):
        load_tokenizer(make_files(tiny_checkpoint()))


def test_a_loaded_model_is_ready_for_inference(tiny_checkpoint):
    """A loaded model has unchanged weights of the requested type, without dropout or gradients."""
    folder = tiny_checkpoint()
    model = load_model(transformers.AutoModel, make_files(folder), CPU, torch.bfloat16)
    tensors = load_file(folder / "model.safetensors")
    name = "embeddings.word_embeddings.weight"
    assert torch.equal(model.state_dict()[name], tensors[name].to(torch.bfloat16))
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    "lost", ["encoder.layer.0.attention.self.query.weight", "embeddings.word_embeddings.weight"]
)
def test_missing_weights_are_refused(tiny_checkpoint, lost):
    """Missing weights are an error, because transformers would fill in random values."""
    folder = tiny_checkpoint()
    tensors = load_file(folder / "model.safetensors")
    del tensors[lost]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=rf"weights are missing for .*{lost}"):
        load_model(transformers.AutoModel, make_files(folder), CPU, torch.float32)


def test_an_encoder_needs_no_pooler_but_a_classifier_does(tiny_checkpoint):
    """A classifier needs its pooler's weights, but an encoder doesn't."""
    for kind, name, auto in (
        ("BertModel", "encoder", transformers.AutoModel),
        (
            "BertForSequenceClassification",
            "classifier",
            transformers.AutoModelForSequenceClassification,
        ),
    ):
        folder = tiny_checkpoint(kind, name)
        tensors = {
            key: tensor
            for key, tensor in load_file(folder / "model.safetensors").items()
            if "pooler" not in key
        }
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        if kind == "BertModel":
            load_model(auto, make_files(folder), CPU, torch.float32)
        else:
            with pytest.raises(ModelError, match=r"weights are missing for bert\.pooler\.dense"):
                load_model(auto, make_files(folder), CPU, torch.float32)


@pytest.mark.parametrize("model_type", ["bert", "made-up"])
def test_code_in_a_checkpoint_is_never_run(tiny_checkpoint, tmp_path, model_type):
    """A checkpoint's own code is never run."""
    folder = tiny_checkpoint()
    (folder / "modeling_evil.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Evil: pass\nclass EvilConfig: pass\n"
    )
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": model_type,
        "auto_map": {"AutoModel": "modeling_evil.Evil", "AutoConfig": "modeling_evil.EvilConfig"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    if model_type == "bert":
        load_model(transformers.AutoModel, make_files(folder), CPU, torch.float32)
    else:
        with pytest.raises(ModelError, match="can't be loaded"):
            load_model(transformers.AutoModel, make_files(folder), CPU, torch.float32)
    assert not (tmp_path / "ran").exists()


def test_damaged_files_are_our_errors(tiny_checkpoint):
    """The error for unloadable weights, configuration or tokenizer names the checkpoint."""
    folder = tiny_checkpoint()
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError, match=f"^{folder}: can't be loaded"):
        load_model(transformers.AutoModel, make_files(folder), CPU, torch.float32)
    for damage in (
        "{",
        "[]",
        "5",
        '{"model_type": 5}',
        "[" * 100_000,
        '{"model_type": "bert\\ud800"}',
    ):
        (folder / "config.json").write_text(damage)
        with pytest.raises(ModelError, match=f"^{folder}: can't be loaded"):
            load_model(transformers.AutoModel, make_files(folder), CPU, torch.float32)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(ModelError, match=f"^{folder}: tokenizer can't be loaded"):
        load_tokenizer(make_files(folder))


def test_the_tokenizer_is_the_fast_one(tiny_checkpoint):
    """The loaded tokenizer gives character offsets."""
    encoding = load_tokenizer(make_files(tiny_checkpoint())).backend.encode("The rain")
    assert encoding.offsets == [(0, 0), (0, 3), (4, 8), (0, 0)]


def test_a_full_memory_is_not_a_damaged_checkpoint(tiny_checkpoint, monkeypatch):
    """An out-of-memory error reaches the caller."""

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", fail)
    with pytest.raises(MemoryError):
        load_model(transformers.AutoModel, make_files(tiny_checkpoint()), CPU, torch.float32)


def test_a_full_card_is_named(tiny_checkpoint, monkeypatch):
    """If a card has no room for the model, the error names the card and a way out."""

    def fail(self, device):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(torch.nn.Module, "to", fail)
    monkeypatch.setattr(transformers.PreTrainedModel, "to", fail)
    files, card = make_files(tiny_checkpoint()), torch.device("cuda", 1)
    with pytest.raises(MachineError, match="the memory of cuda:1 has no room for") as caught:
        load_model(transformers.AutoModel, files, card, torch.float32)
    assert caught.value.where == str(files.folder)
    assert "nvidia-smi" in caught.value.remedy


@pytest.mark.parametrize(
    "reason",
    [
        "all CUDA-capable devices are busy or unavailable",
        "an illegal memory access was encountered",
        "unspecified launch failure",
    ],
)
def test_a_card_that_cannot_be_used_is_named(tiny_checkpoint, monkeypatch, reason):
    """A card that another job has to itself, or that is lost, is named with a way out."""

    def fail(self, device):
        raise torch.AcceleratorError(f"CUDA error: {reason}\nFor debugging consider …")

    monkeypatch.setattr(transformers.PreTrainedModel, "to", fail)
    files, card = make_files(tiny_checkpoint()), torch.device("cuda", 1)
    with pytest.raises(MachineError, match=f"cuda:1 can't be used: CUDA error: {reason}") as caught:
        load_model(transformers.AutoModel, files, card, torch.float32)
    assert "For debugging" not in caught.value.problem
    assert "nvidia-smi" in caught.value.remedy
    assert caught.value.exit_code == 6


def test_another_error_of_a_card_is_raised_unchanged(tiny_checkpoint, monkeypatch):
    """An error that isn't the card's keeps its traceback, because it may be a bug."""

    def fail(self, device):
        raise RuntimeError("expected scalar type Half")

    monkeypatch.setattr(transformers.PreTrainedModel, "to", fail)
    with pytest.raises(RuntimeError, match="expected scalar type Half"):
        load_model(
            transformers.AutoModel,
            make_files(tiny_checkpoint()),
            torch.device("cuda"),
            torch.float32,
        )


def test_pickled_weights_are_never_loaded(tiny_checkpoint):
    """Loading a folder with only pickled weights fails."""
    folder = tiny_checkpoint()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="can't be loaded"):
        load_model(transformers.AutoModel, make_files(folder), CPU, torch.float32)
