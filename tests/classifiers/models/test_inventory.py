"""Inventories list exactly the files that loading reads."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from classifiers.models.checkpoints import find_model
from classifiers.models.encoders import load_encoder
from classifiers.models.interface import EncoderConfig
from classifiers.models.inventory import (
    digest_checkpoint,
    find_overwritten,
    find_pooling,
    list_weights,
    read_description,
    stamp_checkpoint,
    summarise_digests,
)
from schemas.errors import ModelError


def shard_weights(folder, inside="parts"):
    """Split a checkpoint's weights into two indexed files in a subfolder; return the names."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / inside).mkdir(parents=True)
    names = sorted(tensors)
    halves = {f"{inside}/{number}.safetensors": names[number::2] for number in range(2)}
    for file, chosen in halves.items():
        part = {name: tensors[name] for name in chosen}
        save_file(part, folder / file, metadata={"format": "pt"})
    index = {
        "metadata": {},
        "weight_map": {name: file for file, chosen in halves.items() for name in chosen},
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return list(halves)


def encode(folder):
    """Encode a sentence with the encoder in a folder."""
    encoder = load_encoder(
        EncoderConfig(model=str(folder), device="cpu", window_tokens=16, window_overlap=4)
    )
    return encoder.encode(encoder.cut_windows(["the rain fell on a roof"]))[0]


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.txt",
        "merges.txt",
        "spiece.model",
        "modules.json",
        "sentence_bert_config.json",
        "1_Pooling/config.json",
        "model.safetensors",
    ],
)
def test_every_file_that_loading_reads_counts(tiny_checkpoint, name):
    """A change to a file that loading reads changes only that file's digest."""
    folder = tiny_checkpoint()
    (folder / name).parent.mkdir(exist_ok=True)
    if not (folder / name).exists():
        (folder / name).write_text("[]" if name == "modules.json" else "{}")
    before = digest_checkpoint(folder)
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    after = digest_checkpoint(folder)
    assert {key for key in after if after[key] != before.get(key)} == {name}
    assert after[name] == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_other_files_do_not_count(tiny_checkpoint):
    """Notes, pickles, code and other weights aren't digested."""
    folder = tiny_checkpoint()
    before = digest_checkpoint(folder)
    (folder / "onnx").mkdir()
    for name in ("README.md", "optimizer.pt", "modeling.py", "other.safetensors", "onnx/m.json"):
        (folder / name).write_text("x")
    assert digest_checkpoint(folder) == before


def test_a_changed_activation_is_another_model(tiny_checkpoint):
    """A configuration change that changes vectors also changes the identity."""
    folder = tiny_checkpoint()
    before, vector = find_model(str(folder)).identity, encode(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    assert np.abs(encode(folder) - vector).max() > 0.01
    after = find_model(str(folder)).identity
    assert after["weights_sha256"] == before["weights_sha256"]
    assert after["revision"] != before["revision"]
    assert after["files"]["config.json"] != before["files"]["config.json"]


def test_sharded_weights_count_in_whatever_folder_they_are(tiny_checkpoint):
    """Indexed weights files are digested and loaded from any folder."""
    folder = tiny_checkpoint()
    vector = encode(folder)
    files = shard_weights(folder, "deep/parts")
    assert list_weights(folder) == files
    assert np.abs(encode(folder) - vector).max() < 1e-6
    before = find_model(str(folder))
    tensors = load_file(folder / files[0])
    changed = {name: tensor + 0.5 for name, tensor in tensors.items()}
    save_file(changed, folder / files[0], metadata={"format": "pt"})
    after = find_model(str(folder))
    assert np.abs(encode(folder) - vector).max() > 0.01
    assert after.weights_sha256 != before.weights_sha256
    assert {name for name in files if after.digests[name] != before.digests[name]} == {files[0]}


def test_a_single_file_of_weights_is_preferred(tiny_checkpoint):
    """A single weights file wins unless the configuration names another, as in transformers."""
    folder = tiny_checkpoint()
    data = (folder / "model.safetensors").read_bytes()
    shard_weights(folder)
    (folder / "model.safetensors").write_bytes(data)
    assert list_weights(folder) == ["model.safetensors"]
    (folder / "other.safetensors").write_bytes(data)
    config = json.loads((folder / "config.json").read_text())
    named = {**config, "transformers_weights": "other.safetensors"}
    (folder / "config.json").write_text(json.dumps(named))
    assert list_weights(folder) == ["other.safetensors"]


def test_links_are_followed(tiny_checkpoint, tmp_path):
    """A checkpoint of links, as in the hub's cache, is digested by content."""
    folder = tiny_checkpoint()
    linked = tmp_path / "linked"
    linked.mkdir()
    for file in folder.iterdir():
        (linked / file.name).symlink_to(file)
    whole = tmp_path / "whole"
    whole.symlink_to(linked)
    assert digest_checkpoint(linked) == digest_checkpoint(whole) == digest_checkpoint(folder)
    config = folder / "config.json"
    config.write_text(config.read_text() + " ")
    assert digest_checkpoint(whole) == digest_checkpoint(folder)


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ({"a": "../other/x.safetensors"}, "names weights outside its folder"),
        ({"a": "/x.safetensors"}, "names weights outside its folder"),
        ({"a": "lost.safetensors"}, r"lacks its weights lost\.safetensors"),
    ],
)
def test_weights_elsewhere_or_absent_are_refused(tiny_checkpoint, weights, problem):
    """The files in an index must exist inside its folder."""
    folder = tiny_checkpoint()
    (folder / "model.safetensors").unlink()
    index = json.dumps({"weight_map": weights})
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelError, match=problem):
        digest_checkpoint(folder)


def test_pooling_is_where_the_modules_say(tiny_checkpoint):
    """Pooling settings in another folder are used in both formats, and their file has a digest."""
    folder = tiny_checkpoint()
    assert find_pooling(folder) is None
    mean = encode(folder)
    modules = [{"path": "", "type": "x.Transformer"}, {"path": "3_Pool", "type": "x.y.Pooling"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "3_Pool").mkdir()
    for settings in ({"pooling_mode_cls_token": True}, {"pooling_mode": "cls"}):
        (folder / "3_Pool/config.json").write_text(json.dumps(settings))
        assert np.abs(encode(folder) - mean).max() > 0.01
    assert "3_Pool/config.json" in digest_checkpoint(folder)


@pytest.mark.parametrize(
    "data",
    [b"{", b"[1]", b"5", b"\xff", b"[" * 100_000],
    ids=["cut", "list", "number", "byte", "deep"],
)
def test_damaged_descriptions_are_refused(tmp_path, data):
    """The error for a configuration that isn't a JSON object names the file."""
    (tmp_path / "config.json").write_bytes(data)
    with pytest.raises(ModelError, match=r"config\.json is not a JSON object"):
        read_description(tmp_path, "config.json")
    assert read_description(tmp_path, "absent.json", list) == []
    (tmp_path / "own.json").write_text('{"max_seq_length": 5}')
    assert read_description(tmp_path, "own.json") == {"max_seq_length": 5}


def test_several_digests_have_one(tmp_path):
    """A single digest is its own summary, and several digests have a SHA-256."""
    assert summarise_digests(["a"]) == "a"
    assert summarise_digests(["a", "b"]) == hashlib.sha256(b"ab").hexdigest()


def test_stamps_cover_the_files_that_have_digests(tiny_checkpoint):
    """Every digested file has a stamp, which distinguishes rewriting from replacing."""
    folder = tiny_checkpoint()
    shard_weights(folder)
    stamps = stamp_checkpoint(folder)
    assert set(stamps) == set(digest_checkpoint(folder))
    assert stamp_checkpoint(folder) == stamps
    assert find_overwritten(folder, stamps) == []
    (folder / "parts" / "0.safetensors").write_bytes(b"")
    (folder / "config.json").rename(folder / "old.json")
    (folder / "config.json").write_text("{}")
    assert find_overwritten(folder, stamps) == ["parts/0.safetensors"]
    assert stamp_checkpoint(folder)["config.json"] != stamps["config.json"]
