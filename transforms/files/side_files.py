"""Files beside the data: metadata, which is skipped, and congener runs, which are refused."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import orjson

from schemas.errors import InputError
from schemas.notices import Notice, list_names
from schemas.runs import MANIFEST, WORK
from transforms.files import storage

DATA_SET, SPLITS = "state.json", "dataset_dict.json"
"""The files in which `save_to_disk` lists a data set's files and splits."""

METADATA = (DATA_SET, SPLITS, "dataset_info.json", "dataset_infos.json", "croissant.json")
"""Files that describe data sets and hold no rows."""

CACHE = re.compile(r"cache-[^/]*\.arrow\Z")
"""The names of cached results of the `datasets` library."""

LARGEST = 256 << 20
"""The largest file that may describe a data set or a run, in bytes."""

FILES_NAMED = 5


def leave_out_side_files(
    uris: Collection[str], named: Collection[str]
) -> tuple[set[str], list[Notice]]:
    """Return the data files, and notices about other files.

    Files that were named in full count as data.

    Raises: InputError: a folder is a run, or lacks a file or a split that it lists.
    """
    _refuse_runs(uris, named)
    listed = _read_lists(uris)
    metadata = {uri for uri in uris if _get_name(uri) in METADATA} - set(named)
    folders = {uri.rpartition("/")[0] for uri in listed}
    unlisted = {
        uri
        for uri in uris
        if uri.endswith(".arrow")
        and (CACHE.search(uri) or uri.rpartition("/")[0] in folders)
        and uri not in listed
    } - set(named)
    notices = []
    if metadata:
        notices.append(_name_files("skipped, since they describe the data", metadata))
    if unlisted:
        notices.append(_name_files("skipped, since they aren't in the data set's list", unlisted))
    return set(uris) - metadata - unlisted, notices


def refuse_unfinished_run(pattern: str) -> None:
    """Refuse a local folder that contains an unfinished run.

    Raises: InputError: the folder contains an unfinished run.
    """
    if storage.is_local(pattern) and Path(pattern, WORK).is_dir():
        raise InputError(
            "is an unfinished run of congener",
            where=pattern,
            remedy="let the run finish, then give its clean/ folder as the input",
        )


def _get_name(uri: str) -> str:
    return uri.rpartition("/")[2]


def _name_files(reason: str, uris: Collection[str]) -> Notice:
    return Notice(f"{reason}: {list_names(sorted(uris), FILES_NAMED)}")


def _refuse_runs(uris: Collection[str], named: Collection[str]) -> None:
    for uri in sorted(uris):
        if _get_name(uri) == MANIFEST and uri not in named:
            manifest = _read_object(uri)
            if {"run_id", "ledger_root"} <= set(manifest):
                folder = uri.rpartition("/")[0]
                raise InputError(
                    "is a run of congener, with scores and ledgers beside the rows",
                    where=folder,
                    remedy=f"name its clean rows: {folder}/clean",
                )


def _read_lists(uris: Collection[str]) -> set[str]:
    """Return the files that the folders of `save_to_disk` list.

    Raises: InputError: a listed file or split is missing.
    """
    listed: set[str] = set()
    for uri in sorted(uris):
        folder = uri.rpartition("/")[0]
        if _get_name(uri) == DATA_SET:
            state = _read_object(uri)
            _refuse_selection(state, folder)
            names = set(_list_data_files(state))
            files = {storage.join(folder, name) for name in names}
            _require_listed(files, uris, uri)
            listed |= files
        elif _get_name(uri) == SPLITS:
            splits = _read_object(uri).get("splits")
            states = {storage.join(folder, str(name), DATA_SET) for name in splits or ()}
            _require_listed(states, uris, uri)
    return listed


def _refuse_selection(state: dict[str, Any], folder: str) -> None:
    """Refuse a data set that selects or reorders its files' rows.

    Raises: InputError: the data set has a row selection.
    """
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise InputError(
            "is a data set that selects rows from its files by index",
            where=folder,
            remedy="write the selected rows with the version of datasets that saved it: "
            "load_from_disk(FOLDER).flatten_indices().save_to_disk(NEW)",
        )


def _list_data_files(state: dict[str, Any]) -> Iterator[str]:
    files = state.get("_data_files")
    for item in files if isinstance(files, list) else ():
        if isinstance(item, dict) and isinstance(item.get("filename"), str):
            yield item["filename"]


def _require_listed(files: Collection[str], uris: Collection[str], uri: str) -> None:
    if missing := [file for file in files if file not in uris]:
        raise InputError(
            f"lists {min(missing)}, which is missing",
            where=uri,
            remedy="copy the folder again, with all of its files",
        )


def _read_object(uri: str) -> dict[str, Any]:
    """Return the object in a JSON file, or an empty object.

    A larger file, or one that begins otherwise, isn't parsed: it may hold the rows of a corpus.
    """
    with storage.open_raw(uri) as stream:
        data = stream.read(LARGEST + 1)
    if len(data) > LARGEST or not data.lstrip().startswith(b"{"):
        return {}
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
