"""Successors: runs that a command makes from a finished run, which stays as it is.

A successor has the shards, the bank, the policy and the thresholds of its parent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import apache_beam as beam

from classifiers.banks import Bank
from pipelines.banks import save_bank
from pipelines.config import FilterConfig, make_absolute
from pipelines.engines.launch import is_handed_over, open_pipeline
from pipelines.filter import NoticeRecorder
from pipelines.runs import clean_cards, publication, unfinished
from pipelines.runs.foreign_files import remove_strays, require_no_foreign_data
from pipelines.runs.unfinished import RunRecord
from pipelines.runs.watching import plan_rows, watch_receipts
from pipelines.swap_donors import FilteredDonor
from pipelines.version import INTERPRETER, VERSION, find_package_versions
from schemas.digests import digest_bytes, digest_config
from schemas.errors import CardError, HandedOver
from schemas.events import Listener, Noticed, RunSummarised
from schemas.manifests import Identity, Manifest
from schemas.notices import DONOR_PREFIX, Notice
from schemas.receipts import Output, Receipt
from schemas.runs import (
    BANK,
    CALIBRATION_FILES,
    SHARD_FOLDERS,
    is_beside_shards,
    parse_path,
)
from schemas.swaps import PARENT_FOLDER
from transforms.digest_keys import DigestKey, settle_key
from transforms.files import storage
from transforms.files.planning import PlannedShard
from transforms.listeners import listen_to
from transforms.swap_offers import StoredShard


class Successor(NamedTuple):
    """A settled successor: its parent, and what identifies it."""

    run: str
    """The parent's folder."""
    parent: Manifest
    filter: FilterConfig
    """The settings with the output, the hardware and the engine."""
    bank: Bank
    identity: Identity
    recorded: dict[str, object]
    """The settings that the manifest records."""
    device: str

    @property
    def run_id(self) -> str:
        """Return the id of the new run."""
        return self.record.run_id

    @property
    def record(self) -> RunRecord:
        """Return the identity and the settings that a run records at its start."""
        return RunRecord(self.identity.model_dump(mode="json"), {"config": self.recorded})

    @property
    def output(self) -> str:
        """Return the folder of the new run."""
        return make_absolute(self.filter.output)


def settle_successor(
    run: str,
    parent: Manifest,
    settings: FilterConfig,
    bank: Bank,
    action: Mapping[str, object],
    device: str,
) -> Successor:
    """Settle what identifies the new run.

    `action` adds the command's settings to the parent's. `device` describes where models compute.
    """
    recorded = {**parent.config, **action}
    identity = parent.identity.model_copy(
        update={
            "code_version": VERSION,
            "packages": {**find_package_versions(), **INTERPRETER},
            "computed_in": device.rpartition(", ")[2],
            "config_digest": digest_config(recorded),
        }
    )
    return Successor(make_absolute(run), parent, settings, bank, identity, recorded, device)


def require_apart(run: str, output: str, action: str) -> None:
    """Refuse an output that is the run itself. `action` says what is done, such as `a swap`.

    Raises: CardError: both are the same folder.
    """
    if make_absolute(run).rstrip("/") == make_absolute(output).rstrip("/"):
        raise CardError(
            f"is the run itself, which {action} doesn't change",
            where=f"--output {output}",
            remedy="choose another folder",
        )


def settle_parents_key(reference: str | None, parent: Manifest) -> DigestKey | None:
    """Return the key of the run's digests, or None without one.

    Raises: CardError: the key is missing, not needed, or not the run's key.
    """
    check, key = parent.identity.digest_key, settle_key(reference)
    if (None if key is None else key.check) != check:
        raise CardError(
            "the digests of the run aren't keyed" if check is None else "the run's key is needed",
            where="--digest-key",
            remedy="leave it out" if check is None else "give the key with which the run was made",
        )
    return key


def list_shards(manifest: Manifest) -> list[StoredShard]:
    """Return a run's shards with a ledger, and their files, in corpus order."""
    files: dict[str, dict[str, Output]] = {}
    for output in manifest.outputs:
        file = parse_path(output.path)
        if file.folder in SHARD_FOLDERS and not is_beside_shards(output.path):
            files.setdefault(file.shard, {})[file.folder] = output
    return [
        StoredShard(name, own["ledger"].rows, {folder: item.path for folder, item in own.items()})
        for name, _ in manifest.shards
        if "ledger" in (own := files.get(name, {}))
    ]


def open_successor(successor: Successor, restart: bool, listener: Listener) -> None:
    """Begin or resume the new run, and write its bank.

    Raises: RunError: the folder holds an unfinished run with other settings, or foreign data.
    """
    send(listener, unfinished.open_run(successor.output, successor.record, restart))
    save_bank(successor.bank, storage.join(successor.output, BANK))
    if successor.filter.private_quarantine:
        unfinished.keep_private(successor.output)


def execute(
    successor: Successor,
    shards: Sequence[PlannedShard],
    build: Callable[[beam.Pipeline, list[Any]], None],
    beam_options: Sequence[str],
    listener: Listener,
) -> float:
    """Run the pipeline that `build` adds to, and return the seconds.

    `build` takes the shards that aren't finished. Finished shards are left alone.

    Raises: HandedOver: the job continues without this process.
    """
    began, output = time.monotonic(), successor.output
    done, notices = unfinished.find_finished_shards(output, successor.record, shards)
    send(listener, notices)
    left = [shard for shard in shards if shard.name not in done]
    if done:
        listener(Noticed(Notice(f"resuming: {len(done)} of {len(shards)} shards are done")))
    listener(plan_rows(shards, done, left))
    engine, run_id = successor.filter.engine, successor.run_id
    is_elsewhere = engine.runner != "local"
    if left:
        with (
            listen_to(run_id, listener),
            watch_receipts(output, shards, listener, done) if is_elsewhere else nullcontext(),
            open_pipeline(engine, beam_options, f"congener-{run_id}") as pipeline,
        ):
            build(pipeline, left)
        _require_result(pipeline, output)
    return time.monotonic() - began


def _require_result(pipeline: beam.Pipeline, output: str) -> None:
    if is_handed_over(pipeline.options):
        raise HandedOver(
            "the job is running without this process",
            where=output,
            remedy="when it has ended, the same command publishes the run",
        )


def publish(
    successor: Successor,
    shards: Sequence[PlannedShard],
    describe: Callable[[list[Receipt], list[Output]], Manifest],
    conclude: Callable[[Manifest], Iterable[Notice]],
    listener: NoticeRecorder,
    donors: Sequence[FilteredDonor],
    complete: Callable[[list[Output]], Iterable[Output]] = lambda _: (),
) -> Manifest:
    """Write the manifest that `describe` returns, if every row is accounted for.

    `complete` writes more files from those of the shards, and returns the new ones. `conclude`
    returns what is said about the manifest.

    Raises: RunError: shards are missing, another process has replaced the run, or there is foreign
    data in its folders.
    """
    run, record = successor.output, successor.record
    found = unfinished.find_finished_shards(run, record, shards).receipts
    receipts = publication.order_receipts(shards, found)
    outputs = [output for receipt in receipts for output in receipt.outputs]
    outputs += list(complete(outputs))
    outputs += publication.list_bank(successor.bank)
    outputs += _copy_calibration(successor)
    card = clean_cards.rewrite_card(successor.run, successor.parent, run, outputs)
    outputs += card.outputs
    manifest = describe(receipts, outputs)
    said = _list_notices(successor, (), donors)
    listener(RunSummarised(publication.record_notices(manifest, said)))
    send(listener, [*conclude(manifest), *card.notices])
    unfinished.require_ours(run, record)
    strays = remove_strays(run, manifest.outputs)
    send(listener, (Notice(f"removed {path}, which isn't part of this run") for path in strays))
    require_no_foreign_data(run, manifest.outputs)
    if successor.filter.private_quarantine:
        unfinished.keep_private(run)
    sealed = publication.publish_manifest(
        run,
        publication.record_notices(manifest, _list_notices(successor, listener.notices, donors)),
    )
    send(listener, publication.remove_work(run))
    return sealed


def _list_notices(
    successor: Successor, own: Iterable[Notice], donors: Iterable[FilteredDonor]
) -> Iterator[Notice]:
    """Yield what the parent said about the corpus, the new run's own notices, and donors' warnings.

    What the parent said about its own donors is left out.
    """
    parent = successor.parent
    for notice in parent.list_notices():
        if not notice.about.startswith(DONOR_PREFIX):
            yield notice._replace(about=notice.about or f"run {parent.run_id}")
    yield from own
    for donor in donors:
        for notice in donor.manifest.list_notices():
            if notice.severity == "warning" and not notice.about:
                yield notice._replace(about=f"{DONOR_PREFIX}{donor.record.name}", remarks=())


def _copy_calibration(successor: Successor) -> Iterator[Output]:
    """Copy the calibration scores, which belong to no shard."""
    for output in successor.parent.outputs:
        if output.path in CALIBRATION_FILES:
            data = storage.read_bytes(storage.join(successor.run, output.path))
            storage.write_bytes(storage.join(successor.output, output.path), data)
            yield output.model_copy(update={"bytes": len(data), "sha256": digest_bytes(data)})


def describe_successor(
    successor: Successor,
    receipts: Sequence[Receipt],
    command: Sequence[str],
    seconds: float,
    donors: Iterable[str],
) -> dict[str, Any]:
    """Return the fields of the manifest that every successor changes. `donors` are run ids."""
    parent, device = successor.parent, successor.device
    return {
        "run_id": successor.run_id,
        "identity": successor.identity,
        "config": successor.recorded,
        "parents": (parent.run_id, *donors),
        "circumstances": {
            **publication.describe_circumstances(
                seconds, receipts, device, command, successor.filter.operator
            ),
            PARENT_FOLDER: successor.run,
        },
        "digest": "",
    }


def send(listener: Listener, notices: Iterable[Notice]) -> None:
    """Send notices to a listener."""
    for notice in notices:
        listener(Noticed(notice))
