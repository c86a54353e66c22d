"""Begin or resume a run, and check its finished shards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from pipelines.config import FilterConfig
from pipelines.runs.changes import list_changes, list_setting_changes
from pipelines.runs.foreign_files import require_no_foreign_data, require_no_foreign_files
from pipelines.runs.manifest_file import load_manifest
from schemas.digests import canonicalise_json, digest_bytes, digest_config
from schemas.errors import InputError, RunError, StorageError
from schemas.notices import Notice, format_count, warn
from schemas.receipts import Output, Receipt, parse_receipt
from schemas.runs import (
    BEGUN,
    FOLDERS,
    MANIFEST,
    PRIVATE_FOLDERS,
    RECEIPTS,
    WITHDRAWN,
    WORK,
    receipt_shard,
)
from transforms.files import storage
from transforms.files.planning import PlannedShard

RUN_ID_HEX = 16


class RunRecord(NamedTuple):
    """A run's record at its start: its identity, and the settings behind its digests."""

    identity: dict[str, Any]
    settings: dict[str, Any]

    @property
    def run_id(self) -> str:
        """Return the run's id, which its receipts and manifest carry."""
        return compute_run_id(self.identity)


class FinishedShards(NamedTuple):
    """The receipts of finished shards, and notices about ignored receipts."""

    receipts: dict[str, Receipt]
    notices: list[Notice]


def compute_run_id(identity: Mapping[str, Any]) -> str:
    """Return the run id of an identity."""
    return digest_config(identity)[:RUN_ID_HEX]


CLEARING = f"{WORK}/clearing"
"""A file that exists only during the removal of a run."""

SIGNS_OF_A_RUN = (BEGUN, RECEIPTS, CLEARING)
"""Working files and folders that only a run writes."""

MANIFESTS = (MANIFEST, WITHDRAWN)
"""The files that describe a run, whose names other programs use too."""


def require_unfinished(run: str, restart: bool, config: FilterConfig | None = None) -> None:
    """Refuse a finished run unless `restart` is set.

    Working files that a crash left are removed. The error lists the changed settings.

    Raises: RunError: the run is finished, or another program has written the manifest.
    """
    if restart or not storage.exists(storage.join(run, MANIFEST)):
        return
    _require_a_run(run)
    with suppress(StorageError):  # leftover working files don't matter
        _clear_work(run)
    lines = "".join(f"\n    {line}" for line in _compare_finished(run, config))
    raise RunError(
        f"the run is finished, but with different settings:{lines}"
        if lines
        else "the run is finished",
        where=run,
        remedy="look at it with congener inspect or verify; replace it with --restart, or choose "
        "another --output",
    )


def _compare_finished(run: str, config: FilterConfig | None) -> list[str]:
    """Return the differences from a finished run's policy and configuration."""
    if config is None:
        return []
    with suppress(RunError):  # reporting a damaged manifest is verify's job
        manifest = load_manifest(run)
        begun = {"config": manifest.config, "policy": manifest.policy}
        policy = config.load_policy().model_dump(mode="json")
        return list_setting_changes(begun, {"config": config.select_identity(), "policy": policy})
    return []


def open_run(run: str, record: RunRecord, restart: bool) -> list[Notice]:
    """Begin or resume a run, and return notices.

    Raises: RunError: the folder holds an unfinished run with a different input, configuration, bank
    or code version, or foreign folders.
    """
    if restart or storage.exists(storage.join(run, WITHDRAWN)):
        _require_a_run(run)
        require_no_foreign_files(run)
        clear_run(run)
    require_unfinished(run, restart=False)
    swept = storage.sweep(run)
    notices = (
        [Notice(f"removed {format_count(len(swept), 'temporary file')} of an interrupted attempt")]
        if swept
        else []
    )
    if storage.exists(storage.join(run, BEGUN)):
        notices += _check_record(run, record)
        require_no_foreign_data(run)
        return notices
    _require_a_run(run)
    _write_record(run, record)
    return notices


def is_begun(run: str) -> bool:
    """Return whether a folder holds an unfinished run, which the same command resumes."""
    if storage.exists(storage.join(run, WITHDRAWN)):
        return False
    return storage.exists(storage.join(run, BEGUN))


def check_begun(run: str, settings: Mapping[str, Any], restart: bool = False) -> None:
    """Check before any work what `open_run` would refuse, as far as the settings show it.

    `settings` are some of those in a run's record.

    Raises: RunError: the folder holds an unfinished run with other settings, data that isn't the
        run's, or folders that no run has written.
    """
    is_withdrawn = storage.exists(storage.join(run, WITHDRAWN))
    if restart or is_withdrawn or not storage.exists(storage.join(run, BEGUN)):
        _require_a_run(run)
        return
    require_no_foreign_data(run)
    with suppress(ValueError):  # open_run mends a damaged record
        begun = _read_record(run)["settings"]
        now = json.loads(canonicalise_json(settings))  # tuples become lists
        _refuse_changes(run, list_setting_changes(begun, now))


def _require_a_run(run: str) -> None:
    """Refuse a folder with foreign files or subfolders that have a run's names.

    Raises: RunError: there are such files, but nothing shows that a run wrote them.
    """
    if any(storage.exists(storage.join(run, name)) for name in SIGNS_OF_A_RUN):
        return
    there = [name for name in MANIFESTS if storage.exists(storage.join(run, name))]
    if any(_may_be_manifest(storage.join(run, name)) for name in there):
        return
    folders = (name for name in FOLDERS if storage.has_files(storage.join(run, name)))
    found = [*(f"file {name!r}" for name in there), *(f"folder {name!r}" for name in folders)]
    if found:
        raise RunError(
            f"has a {found[0]}, but no run has written it",
            where=run,
            remedy="choose an empty --output, or move it away",
        )


def _may_be_manifest(uri: str) -> bool:
    """Return whether a file may be a run's manifest, of whatever version, perhaps damaged."""
    try:
        content = json.loads(storage.read_bytes(uri))
    except (ValueError, RecursionError, InputError):
        return True
    return isinstance(content, dict) and "run_id" in content


def _check_record(run: str, record: RunRecord) -> list[Notice]:
    """Check that the folder holds this run, from run.json or the receipts."""
    try:
        earlier = _read_record(run)
    except ValueError as error:
        _require_own_receipts(run, record)
        _write_record(run, record)
        return [warn(f"{BEGUN} is damaged ({error}), but the receipts are this run's")]
    _require_same(run, earlier, record)
    return []


def _write_record(run: str, record: RunRecord) -> None:
    content = {"identity": record.identity, "settings": record.settings}
    sealed = canonicalise_json(content | {"digest": digest_config(content)})
    storage.write_bytes(storage.join(run, BEGUN), sealed)


def _read_record(run: str) -> dict[str, Any]:
    """Read a run's record.

    Raises: ValueError: the file is damaged.
    """
    try:
        content = json.loads(storage.read_bytes(storage.join(run, BEGUN)))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(content, dict) or content.pop("digest", None) != digest_config(content):
        raise ValueError("it doesn't match its digest")
    return content


def keep_private(run: str) -> None:
    """Let only the owner read the text that left the corpus.

    Call this before any of that text is written, and again afterwards.
    """
    for folder in PRIVATE_FOLDERS:
        storage.keep_private(storage.join(run, folder))


def _require_same(run: str, earlier: Mapping[str, Any], record: RunRecord) -> None:
    content = {"identity": record.identity, "settings": record.settings}
    now = json.loads(canonicalise_json(content))  # tuples become lists
    _refuse_changes(run, list_changes(earlier, now))


def _refuse_changes(run: str, differing: Sequence[str]) -> None:
    if differing:
        lines = "".join(f"\n    {line}" for line in differing)
        raise RunError(
            f"the folder holds an unfinished run with other settings:{lines}",
            where=run,
            remedy="resume it with its own settings, or start over with --restart",
        )


def _require_own_receipts(run: str, record: RunRecord) -> None:
    for uri in storage.list_folder(storage.join(run, RECEIPTS), ".json"):
        with suppress(ValueError):  # a shard with a damaged receipt is processed again
            other = parse_receipt(storage.read_bytes(uri)).run
            if other != record.run_id:
                raise RunError(
                    f"{BEGUN} is damaged, and the receipts belong to run {other}, not to "
                    f"{record.run_id}",
                    where=run,
                    remedy="choose another --output, or start over with --restart",
                )


def require_ours(run: str, record: RunRecord) -> None:
    """Refuse to publish a run that another process has replaced.

    Object stores have no lock.

    Raises: RunError: another process has begun a run here, or has removed this one.
    """
    try:
        ours = compute_run_id(_read_record(run)["identity"]) == record.run_id
    except (ValueError, InputError):
        ours = False
    if not ours:
        raise RunError(
            "another process has begun a run here, or has removed this one",
            where=run,
            remedy="give every run its own --output; the same command redoes what was replaced",
        )


def clear_run(run: str) -> None:
    """Remove a run's files, manifest first, so that a half-removed run doesn't look finished."""
    storage.write_bytes(storage.join(run, CLEARING), b"this run is being removed\n")
    storage.remove_tree(storage.join(run, MANIFEST))
    storage.remove_tree(storage.join(run, WITHDRAWN))
    for folder in FOLDERS:
        storage.remove_tree(storage.join(run, folder))
    _clear_work(run)


def _clear_work(run: str) -> None:
    """Remove the working files except the lock, which this process may hold."""
    for name in (RECEIPTS, BEGUN, CLEARING):
        storage.remove_tree(storage.join(run, name))


def find_finished_shards(
    run: str, record: RunRecord, plans: Sequence[PlannedShard]
) -> FinishedShards:
    """Find the shards that have all their files and a sound receipt of this run."""
    planned = {plan.name: plan for plan in plans}
    receipts: dict[str, Receipt] = {}
    notices = []
    for uri in storage.list_folder(storage.join(run, RECEIPTS), ".json"):
        name = receipt_shard(uri)
        try:
            receipts[name] = _check_receipt(run, uri, record, planned.get(name))
        except (ValueError, InputError) as error:
            notices.append(Notice(f"shard {name} is processed again: {error}"))
    return FinishedShards(receipts, notices)


def _check_receipt(run: str, uri: str, record: RunRecord, plan: PlannedShard | None) -> Receipt:
    """Check and return a shard's receipt.

    Raises: ValueError: the receipt is damaged, belongs to another run, or doesn't match its files.
    """
    receipt = parse_receipt(storage.read_bytes(uri))
    if plan is None or (receipt.run, receipt.shard, receipt.rows) != (
        record.run_id,
        plan.name,
        plan.rows,
    ):
        raise ValueError("its receipt belongs to another run")
    for output in receipt.outputs:
        if problem := _find_problem(run, output):
            raise ValueError(f"{output.path} {problem}")
    return receipt


def _find_problem(run: str, output: Output) -> str | None:
    uri = storage.join(run, output.path)
    if not storage.exists(uri):
        return "is missing"
    matches = digest_bytes(storage.read_bytes(uri)) == output.sha256
    return None if matches else "doesn't match its receipt"
