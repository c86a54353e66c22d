"""A run directory while it is being made: begun once, resumed only as the same run, shards believed only on proof."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from pipelines.runs.changes import changes
from pipelines.runs.finished import MANIFEST, WORK
from schemas.digests import canonicalise_json, digest_bytes, digest_config
from schemas.errors import InputError, RunError
from transforms.files import storage
from transforms.files.sources import ShardPlan
from transforms.write import RECEIPTS, OutputFile, Receipt, receipt_from_bytes

PRIVATE = ("quarantine", "rejects", "swaplist")
"""What holds text that was taken out of the corpus, for `private_quarantine`."""

FOLDERS = ("clean", "quarantine", "rejects", "ledger", "scores", "swaplist", "vectors", "report")
NOTE = ".work/run.json"
BANK = ".work/bank"


class Begun(NamedTuple):
    """What a run is begun with: its identity, which decides, and the settings behind the digests in it, which explain."""

    identity: dict[str, Any]
    settings: dict[str, Any]

    @property
    def run_id(self) -> str:
        """Return the run's id, which its receipts and its manifest carry."""
        return run_id(self.identity)


class Progress(NamedTuple):
    """The shards that are done, by name, and sentences on receipts that prove nothing."""

    done: dict[str, Receipt]
    remarks: list[str]


def run_id(identity: Mapping[str, Any]) -> str:
    """Return the id of the run with this identity."""
    return digest_config(identity)[:16]


def require_unfinished(run: str, restart: bool) -> None:
    """Refuse a finished run, unless it is to be replaced; what a crash after its publication left behind goes.

    Raises: RunError: It is finished.
    """
    if restart or not storage.exists(storage.join(run, MANIFEST)):
        return
    _clear_work(run)
    raise RunError(
        "the run is finished",
        where=run,
        remedy="congener inspect or verify it; --restart replaces it, another --output keeps it",
    )


def open_run(run: str, begun: Begun, restart: bool) -> list[str]:
    """Begin or resume a run; return what there is to say about it.

    Raises: RunError: It was begun with other input, configuration, bank or code, or is no run at all.
    """
    if restart:
        clear(run)
    require_unfinished(run, restart=False)
    swept = storage.sweep(run)
    remarks = (
        [f"removed {len(swept)} temporary files of an attempt that was cut off"] if swept else []
    )
    if storage.exists(storage.join(run, NOTE)):
        try:
            note = _read_note(run)
        except ValueError as error:
            _require_own_receipts(run, begun)
            remarks.append(f"{NOTE} is damaged ({error}): the receipts say that this is the run")
        else:
            _require_same(run, note, begun)
            return remarks
    elif any(storage.exists(storage.join(run, folder)) for folder in FOLDERS):
        raise RunError(
            "holds folders of the same names that are no unfinished run",
            where=run,
            remedy="choose an empty --output, or replace them with --restart",
        )
    note = {"identity": begun.identity, "settings": begun.settings}
    storage.write_bytes(
        storage.join(run, NOTE), canonicalise_json(note | {"digest": digest_config(note)})
    )
    return remarks


def keep_private(run: str) -> None:
    """Have what was taken out of the corpus for its owner alone: before any of it is written, and once all of it is."""
    for folder in PRIVATE:
        storage.keep_private(storage.join(run, folder))


def _read_note(run: str) -> dict[str, Any]:
    """Read what a run was begun with.

    Raises: ValueError: It isn't as it was written.
    """
    note = dict(json.loads(storage.read_bytes(storage.join(run, NOTE))))
    if note.pop("digest", None) != digest_config(note):
        raise ValueError("not as it was written")
    return note


def _require_same(run: str, note: Mapping[str, Any], begun: Begun) -> None:
    now = json.loads(
        canonicalise_json({"identity": begun.identity, "settings": begun.settings})
    )  # tuples become lists
    if differing := changes(note, now):
        told = "".join(f"\n    {line}" for line in differing)
        raise RunError(
            f"was begun as another run:{told}",
            where=run,
            remedy="run it as it was begun, or start over with --restart",
        )


def _require_own_receipts(run: str, begun: Begun) -> None:
    for uri in storage.listing(storage.join(run, RECEIPTS), ".json"):
        with suppress(ValueError):  # a damaged one says nothing; its shard is done again
            other = receipt_from_bytes(storage.read_bytes(uri)).run
            if other != begun.run_id:
                raise RunError(
                    f"{NOTE} is damaged, and the receipts are of run {other}, not of {begun.run_id}",
                    where=run,
                    remedy="choose another --output, or start over with --restart",
                )


def require_ours(run: str, begun: Begun) -> None:
    """Refuse to publish what another process has taken over meanwhile: on an object store nothing locks a run.

    Raises: RunError: It has.
    """
    try:
        ours = run_id(_read_note(run)["identity"]) == begun.run_id
    except (ValueError, InputError):
        ours = False
    if not ours:
        raise RunError(
            "another process has begun a run here meanwhile, or removed this one",
            where=run,
            remedy="give every run an --output of its own; the same command does again what the other one replaced",
        )


def clear(run: str) -> None:
    """Remove what a run has written, finished or not; the manifest first, so that nothing half-removed looks whole."""
    storage.remove_tree(storage.join(run, MANIFEST))
    for folder in FOLDERS:
        storage.remove_tree(storage.join(run, folder))
    _clear_work(run)


def _clear_work(run: str) -> None:
    for inside in ("receipts", "bank", "run.json"):
        storage.remove_tree(storage.join(run, WORK, inside))


def progress(run: str, begun: Begun, plans: Sequence[ShardPlan]) -> Progress:
    """Return the shards that are done: by a whole receipt of this run, for this plan, whose files are as it says."""
    planned = {plan.name: plan for plan in plans}
    done: dict[str, Receipt] = {}
    remarks = []
    for uri in storage.listing(storage.join(run, RECEIPTS), ".json"):
        name = uri.rsplit("/", 1)[1].removesuffix(".json")
        try:
            done[name] = _believed(run, uri, begun, planned.get(name))
        except (ValueError, InputError) as error:
            remarks.append(f"shard {name} doesn't count: {error}")
    return Progress(done, remarks)


def _believed(run: str, uri: str, begun: Begun, plan: ShardPlan | None) -> Receipt:
    """Return a shard's receipt.

    Raises: ValueError: It proves nothing.
    """
    receipt = receipt_from_bytes(storage.read_bytes(uri))
    if plan is None or (receipt.run, receipt.shard, receipt.rows) != (
        begun.run_id,
        plan.name,
        plan.rows,
    ):
        raise ValueError("its receipt is of another run")
    for output in receipt.outputs:
        if problem := _problem(run, output):
            raise ValueError(f"{output.path} {problem}")
    return receipt


def _problem(run: str, output: OutputFile) -> str | None:
    uri = storage.join(run, output.path)
    if not storage.exists(uri):
        return "is missing"
    return (
        None
        if digest_bytes(storage.read_bytes(uri)) == output.sha256
        else "isn't as its receipt says"
    )


def present(run: str) -> list[str]:
    """List the files of a run by their paths in it; the report and the working files are no part of it."""
    return [name for name in storage.files(run) if not name.startswith(("report/", f"{WORK}/"))]


def remove_strays(run: str, receipts: Sequence[Receipt]) -> list[str]:
    """Remove from a run's folders what no receipt speaks of, and return it: nothing that isn't the run's is published with it."""
    known = {output.path for receipt in receipts for output in receipt.outputs}
    strays = [
        path for path in present(run) if path.split("/", 1)[0] in FOLDERS and path not in known
    ]
    for path in strays:
        storage.remove_tree(storage.join(run, path))
    return strays
