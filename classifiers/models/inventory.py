"""List the files that loading a checkpoint reads, and digest them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from schemas.errors import ModelError

SETTINGS = (".json", ".txt", ".model", ".jinja", ".tiktoken", ".spm", ".codes")
"""The suffixes of configuration and tokenizer files.

All such files beside the weights are digested, because each kind of tokenizer reads different
files.
"""

SINGLE = "model.safetensors"
SHARDED = "model.safetensors.index.json"
POOLING = "1_Pooling"
"""The folder of the pooling settings, unless `modules.json` names another folder."""


def digest_checkpoint(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that loading reads, keyed by path.

    These are the weights, the configuration and tokenizer files beside `config.json`, and the
    pooling settings. Links are followed.

    Raises: ModelError: the weights are missing or aren't safetensors, or a JSON file that describes
    the checkpoint can't be read.
    """
    return {name: _digest_file(folder / name) for name in _list_files(folder)}


class FileStamp(NamedTuple):
    """What changes when a file is written or replaced: its place on the disk, size and times."""

    place: tuple[int, int]
    size: int
    written: int
    changed: int


def stamp_checkpoint(folder: Path) -> dict[str, FileStamp]:
    """Return the stamp of every file that loading reads, keyed by path.

    Raises: ModelError: as for `digest_checkpoint`.
    """
    return {name: _stamp_file(folder / name) for name in _list_files(folder)}


def find_overwritten(folder: Path, stamps: Mapping[str, FileStamp]) -> list[str]:
    """Return the files that were overwritten in place since they were stamped.

    Loaded weights may still be mapped to their file. A removed or replaced file leaves the mapped
    content unchanged.
    """
    found = []
    for name, before in stamps.items():
        with suppress(ModelError):
            now = _stamp_file(folder / name)
            if now.place == before.place and now[1:3] != before[1:3]:
                found.append(name)
    return found


def _stamp_file(path: Path) -> FileStamp:
    try:
        status = path.stat()
    except OSError as error:
        raise _report_unreadable(path, error) from error
    place = status.st_dev, status.st_ino
    return FileStamp(place, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _list_files(folder: Path) -> list[str]:
    return sorted({*_list_settings(folder), *list_weights(folder)})


def _list_settings(folder: Path) -> list[str]:
    found = [path.name for path in folder.iterdir() if path.suffix in SETTINGS and path.is_file()]
    pooling = find_pooling(folder)
    return [*found, pooling] if pooling else found


def list_weights(folder: Path) -> list[str]:
    """Return the paths of a folder's weights for transformers.

    Raises: ModelError: the folder has no safetensors weights, or lacks a weights file that its
    index lists. Pickled weights aren't loaded, because unpickling runs code.
    """
    chosen = str(
        read_description(folder, "config.json").get("transformers_weights")
        or next((name for name in (SINGLE, SHARDED) if (folder / name).is_file()), "")
    )
    if not chosen.endswith((".safetensors", ".safetensors.index.json")):
        raise ModelError(
            "holds no .safetensors weights",
            where=str(folder),
            remedy="pickled weights are not loaded; convert them with safetensors, and name them "
            f"{SINGLE}, or list them in {SHARDED}",
        )
    names = [chosen]
    if chosen.endswith(".json"):
        weights = read_description(folder, chosen).get("weight_map")
        names = sorted({str(name) for name in dict(weights or {}).values()})
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ModelError(
                f"names weights outside its folder: {name}",
                where=str(folder),
                remedy="put them into the folder",
            )
        if not (folder / name).is_file():
            raise ModelError(f"lacks its weights {name}", where=str(folder))
    return names


def find_pooling(folder: Path) -> str | None:
    """Return the path of sentence-transformers' pooling settings, or None."""
    stated = [
        str(module.get("path", ""))
        for module in read_description(folder, "modules.json", list)
        if isinstance(module, dict) and str(module.get("type", "")).endswith(".Pooling")
    ]
    name = f"{(stated or [POOLING])[0]}/config.json".lstrip("/")
    return name if (folder / name).is_file() else None


def read_description(folder: Path, name: str, kind: type = dict) -> Any:
    """Return the object or list in a checkpoint's JSON file, or an empty one for a missing file.

    Raises: ModelError: the file can't be read, or isn't JSON of this kind.
    """
    path = folder / name
    if not path.is_file():
        return kind()
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _report_damage(folder, name, str(error)) from error
    if not isinstance(value, kind):
        raise _report_damage(folder, name, f"it holds a {type(value).__name__}")
    return value


def _report_damage(folder: Path, name: str, problem: str) -> ModelError:
    return ModelError(
        f"{name} is not a JSON object: {problem}", where=str(folder), remedy="copy the model again"
    )


def summarise_digests(digests: list[str]) -> str:
    """Combine digests into one SHA-256. A single digest stays unchanged."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _digest_file(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise _report_unreadable(path, error) from error


def _report_unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(
        f"can't be read: {error.strerror or error}",
        where=str(path),
        remedy="check the disk and the permissions",
    )
