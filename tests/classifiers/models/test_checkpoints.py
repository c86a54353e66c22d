"""Checkpoints: where they are found, what is refused, and changes that are noticed."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import huggingface_hub
import pytest
from safetensors.torch import load_file, save_file

from classifiers.models import checkpoints
from classifiers.models.checkpoints import (
    DEFAULT_ENCODER,
    FILES,
    PINNED,
    ModelFiles,
    find_model,
    require_intact,
    require_unchanged,
)
from classifiers.models.inventory import digest_checkpoint
from schemas.digests import digest_config
from schemas.errors import ModelError

COMMIT, WEIGHTS = PINNED[DEFAULT_ENCODER]


def test_the_default_encoder_is_found_with_its_pinned_weights():
    """The model's full and short names both find the packaged copy with pinned weights."""
    files = find_model(DEFAULT_ENCODER)
    assert (files.name, files.revision, files.weights_sha256) == (DEFAULT_ENCODER, COMMIT, WEIGHTS)
    assert find_model("all-MiniLM-L6-v2") == find_model(DEFAULT_ENCODER, COMMIT) == files
    assert hashlib.sha256((files.folder / "model.safetensors").read_bytes()).hexdigest() == WEIGHTS


@pytest.mark.parametrize(
    "revision", [None, "main", "v1.0", "abc123", COMMIT[:39], COMMIT.upper(), COMMIT + "0"]
)
def test_an_unpinned_revision_is_refused(revision):
    """Only a full commit is accepted, because branches and tags can move."""
    with pytest.raises(
        ModelError,
        match=r"^some/model: needs a pinned revision, because it isn't a local folder\n"
        r"(.|\n)*40-digit commit",
    ):
        find_model("some/model", revision)


def test_another_revision_of_the_default_is_not_the_packaged_one():
    """Another commit of the default encoder must come from the hub."""
    with pytest.raises(ModelError, match="needs a pinned revision"):
        find_model(DEFAULT_ENCODER, "main")
    with pytest.raises(ModelError, match=f"can't be downloaded at revision {'0' * 40}"):
        find_model(DEFAULT_ENCODER, "0" * 40)


def test_a_model_that_is_not_there_is_an_error_with_a_remedy():
    """Without a network, the error names the model and the remedy."""
    with pytest.raises(
        ModelError,
        match=rf"^no/such-model: can't be downloaded at revision {'a' * 40}"
        r"(.|\n)*name a local folder",
    ):
        find_model("no/such-model", "a" * 40)


def test_the_hub_is_asked_for_one_commit_and_safe_files(monkeypatch, tiny_checkpoint):
    """Only configuration, tokenizer and safetensors files of the given commit are downloaded."""
    asked = []

    def fetch(name, **options):
        asked.append((name, options))
        return str(folder)

    folder = tiny_checkpoint()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    files = find_model("some/model", "b" * 40)
    assert asked == [("some/model", {"revision": "b" * 40, "allow_patterns": list(FILES)})]
    digests = digest_checkpoint(folder)
    weights = digests["model.safetensors"]
    assert files == ModelFiles("some/model", "b" * 40, weights, folder, digests)
    assert not any(
        Path(name).match(pattern)
        for pattern in FILES
        for name in ("pytorch_model.bin", "model.pkl", "modeling.py", "model.pt")
    )


def test_downloaded_weights_must_be_the_pinned_ones(monkeypatch, tiny_checkpoint):
    """Downloaded weights are checked against the pinned digest."""
    folder = tiny_checkpoint()
    monkeypatch.setattr(checkpoints, "PACKAGED", {})
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **options: str(folder))
    with pytest.raises(
        ModelError,
        match=rf"weights have SHA-256 {digest_checkpoint(folder)['model.safetensors']}, "
        rf"but the pinned one is {WEIGHTS}",
    ):
        find_model(DEFAULT_ENCODER)


def test_altered_packaged_weights_are_refused(monkeypatch, tmp_path):
    """A flipped bit in a packaged model's weights is an error."""
    package = tmp_path / "altered_package"
    shutil.copytree(find_model(DEFAULT_ENCODER).folder, package / "model")
    (package / "__init__.py").write_text("")
    weights = package / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(checkpoints.PACKAGED, DEFAULT_ENCODER, ("altered_package", "model"))
    with pytest.raises(
        ModelError,
        match=rf"altered_package.*weights have SHA-256 {hashlib.sha256(data).hexdigest()}, "
        rf"but the pinned one is {WEIGHTS}",
    ):
        find_model(DEFAULT_ENCODER)


def test_the_revision_of_a_folder_is_the_digest_of_its_files(tiny_checkpoint):
    """Changed weights in a local folder give another revision."""
    folder = tiny_checkpoint()
    before = find_model(str(folder))
    digests = digest_checkpoint(folder)
    weights = digests["model.safetensors"]
    expected = ModelFiles(str(folder), digest_config(digests), weights, folder, digests)
    assert before == expected
    tensors = load_file(folder / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, folder / "model.safetensors")
    assert find_model(str(folder)).revision != before.revision


def replace_file(folder, name, data):
    """Replace a file as `save_pretrained` and package managers do."""
    (folder / "new").write_bytes(data)
    (folder / "new").replace(folder / name)


def overwrite_file(folder, name, data):
    """Overwrite a file in place."""
    (folder / name).write_bytes(data)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("write", [replace_file, overwrite_file])
def test_a_file_that_changes_after_its_digest_is_noticed(tiny_checkpoint, name, write):
    """Rewriting or replacing a digested file is noticed, whatever its size."""
    folder = tiny_checkpoint()
    files = find_model(str(folder))
    require_unchanged(files)
    write(folder, name, (folder / name).read_bytes())
    with pytest.raises(ModelError, match=rf"{folder}: was changed while it was loaded \({name}\)"):
        require_unchanged(files)
    require_unchanged(find_model(str(folder)))


def test_a_file_that_appears_or_vanishes_after_the_digest_is_noticed(tiny_checkpoint):
    """Adding or removing a tokenizer file is noticed."""
    folder = tiny_checkpoint()
    files = find_model(str(folder))
    (folder / "added_tokens.json").write_text("{}")
    with pytest.raises(ModelError, match=r"added_tokens\.json"):
        require_unchanged(files)
    files = find_model(str(folder))
    (folder / "added_tokens.json").unlink()
    with pytest.raises(ModelError, match=r"added_tokens\.json"):
        require_unchanged(files)


def test_only_an_overwritten_file_changes_loaded_weights(tiny_checkpoint):
    """Overwriting a loaded model's file stops a run, but replacing or removing it doesn't."""
    folder = tiny_checkpoint()
    files, weights = find_model(str(folder)), folder / "model.safetensors"
    replace_file(folder, "config.json", b"{}")
    (folder / "tokenizer.json").unlink()
    require_intact(files)
    weights.write_bytes(weights.read_bytes()[::-1])
    with pytest.raises(ModelError, match=r"changed during the run \(model\.safetensors\)"):
        require_intact(files)


def test_pickled_weights_are_refused(tiny_checkpoint):
    """A folder with only pickled weights is refused."""
    folder = tiny_checkpoint()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(
        ModelError, match=r"holds no \.safetensors weights(.|\n)*pickled weights are not loaded"
    ):
        find_model(str(folder))


def test_a_revision_of_a_folder_is_refused(tiny_checkpoint):
    """A local folder can't have a revision."""
    folder = tiny_checkpoint()
    with pytest.raises(ModelError, match=rf"^{folder}: a local folder has no revision\n"):
        find_model(str(folder), "a" * 40)


def test_adapters_are_refused(tiny_checkpoint):
    """An unmerged adapter is refused, because its base model would come from elsewhere."""
    folder = tiny_checkpoint()
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"is an adapter(.|\n)*merge the adapter"):
        find_model(str(folder))
