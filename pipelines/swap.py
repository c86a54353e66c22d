"""`congener swap`: put other teachers' answers in place of those that a run holds back.

The command has five steps: filter the donors (pipelines/swap_donors.py), settle, open, execute and
publish.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import apache_beam as beam

from classifiers.banks import Bank
from classifiers.scoring import load_scorer
from pipelines.banks import load_bank, save_bank
from pipelines.config import FilterConfig, make_absolute
from pipelines.early_checks import check_output
from pipelines.engines.launch import build_engine_options, is_handed_over, open_pipeline
from pipelines.filter import NoticeRecorder
from pipelines.plan import describe_device, settle_models
from pipelines.runs import publication, unfinished
from pipelines.runs.foreign_files import remove_strays, require_no_foreign_data
from pipelines.runs.layouts import restore_layout
from pipelines.runs.lock import lock_run
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.recorded_settings import read_recorded_policy, read_recorded_rules
from pipelines.runs.swap_counts import count_swaps
from pipelines.runs.unfinished import RunRecord
from pipelines.runs.watching import watch_receipts
from pipelines.swap_donors import (
    DonorCorpus,
    FilteredDonor,
    add_donor,
    filter_donor,
    list_donor_files,
    name_donors,
    relax_policy,
)
from pipelines.swap_requests import (
    ask_endpoint,
    encode_donor,
    list_requests,
    read_batch_answers,
)
from pipelines.version import INTERPRETER, VERSION, find_package_versions
from schemas.cards import Strict
from schemas.digests import digest_bytes, digest_config
from schemas.errors import CardError, EndpointError, HandedOver
from schemas.events import Listener, Noticed, RowsPlanned, RunSummarised, ignore
from schemas.manifests import Identity, Manifest
from schemas.notices import DONOR_PREFIX, Notice, choose_form, format_count, warn
from schemas.receipts import Output, Receipt
from schemas.runs import BANK, CALIBRATION_FILES, CLEAN_CARD, DONORS, SHARD_FOLDERS, parse_path
from schemas.swaps import PARENT_FOLDER, ReplacedAction, SwapRecord
from transforms.digest_keys import DigestKey, settle_key
from transforms.endpoints import ChatClient
from transforms.files import object_stores, storage
from transforms.listeners import listen_to
from transforms.score import ScoringConfig, keep_scorer
from transforms.swap_matches import MatchPrompts
from transforms.swap_offers import DonorFile, StoredShard, WaitingSettings
from transforms.swap_shards import SwapSettings, SwapShards

COVERAGE_LIMIT = (
    "Coverage and notes count the texts of the parent run, before answers were replaced."
)


class SwapConfig(Strict):
    """The settings of `congener swap`. `filter` has the output, hardware, engine and key."""

    run: str
    donors: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    """Output files of batches whose requests are the run's own."""
    replace: tuple[ReplacedAction, ...] = ("swap",)
    near: float | None = None
    filter: FilterConfig


class Asking(NamedTuple):
    """A model to ask for the answers: a client, and how it is asked."""

    client: ChatClient
    model: str
    most_tokens: int
    threads: int = 4


class SwapPlan(NamedTuple):
    """A settled swap."""

    config: SwapConfig
    parent: Manifest
    donors: list[FilteredDonor]
    files: list[DonorFile]
    shards: list[StoredShard]
    bank: Bank
    settings: SwapSettings
    identity: Identity
    recorded: dict[str, object]
    """The settings that the manifest records."""
    device: str

    @property
    def record(self) -> RunRecord:
        """Return the identity and the settings that a run records at its start."""
        return RunRecord(self.identity.model_dump(mode="json"), {"config": self.recorded})

    @property
    def output(self) -> str:
        """Return the folder of the new run."""
        return self.config.filter.output


def run_swap(
    config: SwapConfig,
    restart: bool = False,
    command: Sequence[str] = (),
    beam_options: Sequence[str] = (),
    listener: Listener = ignore,
    asking: Asking | None = None,
) -> Manifest:
    """Replace answers of a finished run, and return the new run's manifest.

    Donors are filtered first, into `donors/` of the output. An interrupted swap is resumed. With
    `asking`, a model is asked for the answer to every prompt on the run's swap list.

    Raises: CongenerError: the run or a donor can't be read, or the output can't be used.
    """
    recorder = NoticeRecorder(listener)
    engine, output = config.filter.engine, config.filter.output
    object_stores.use_options(build_engine_options(engine, beam_options))
    check_output(output)
    parent = load_manifest(config.run)
    _require_apart(config)
    with lock_run(output):
        unfinished.require_unfinished(output, restart)
        corpora = _list_corpora(config, asking, recorder)
        donors = _filter_donors(config, parent, corpora, restart, beam_options, listener)
        plan = settle_swap(config, parent, donors)
        _send(recorder, unfinished.open_run(output, plan.record, restart))
        save_bank(plan.bank, plan.settings.scoring.bank_uri)
        if config.filter.private_quarantine:
            unfinished.keep_private(output)
        began = time.monotonic()
        execute(plan, beam_options, recorder)
        return publish(plan, command, recorder, time.monotonic() - began)


def _require_apart(config: SwapConfig) -> None:
    if make_absolute(config.run).rstrip("/") == make_absolute(config.filter.output).rstrip("/"):
        raise CardError(
            "is the run itself, which a swap doesn't change",
            where=f"--output {config.filter.output}",
            remedy="choose another folder",
        )


def _list_corpora(
    config: SwapConfig, asking: Asking | None, listener: Listener
) -> list[DonorCorpus]:
    """Return the donors in order: corpora, then answers to the run's requests.

    The answers are written as a corpus beside the donors' runs.
    """
    donors = name_donors(config.donors)
    requests = list_requests(config.run) if config.answers or asking else []
    found = [(path, read_batch_answers(path, requests)) for path in config.answers]
    if asking is not None:
        client, model, most, threads = asking
        replies = ask_endpoint(requests, client, model, most, threads, listener)
        if not replies.texts:
            raise EndpointError(
                "gave no usable answer",
                where="--endpoint",
                remedy="see the notices above; raise the limits if they were reached",
            )
        found.append((model, replies))
    for path, replies in found:
        name = add_donor(path, donors)
        _send(listener, replies.describe(len(requests)))
        corpus = storage.join(config.filter.output, f"{DONORS}/{name}.jsonl")
        storage.write_bytes(corpus, encode_donor(replies))
        donors.append(DonorCorpus(name, corpus))
    return donors


def _filter_donors(
    config: SwapConfig,
    parent: Manifest,
    corpora: Sequence[DonorCorpus],
    restart: bool,
    beam_options: Sequence[str],
    listener: Listener,
) -> list[FilteredDonor]:
    """Filter every donor with the run's bank, encoder and policy."""
    own = parent.config
    settings = config.filter.model_copy(
        update={
            "bank": storage.join(config.run, BANK),
            "span_floor": own["span_floor"],
            "encoder": FilterConfig.model_validate({"encoder": own["encoder"]}).encoder,
            "shards": FilterConfig.model_validate({"shards": own["shards"]}).shards,
        }
    )
    policy = relax_policy(read_recorded_policy(parent))
    return [
        filter_donor(donor, settings, policy, restart, beam_options, listener) for donor in corpora
    ]


def settle_swap(config: SwapConfig, parent: Manifest, donors: Sequence[FilteredDonor]) -> SwapPlan:
    """Settle a swap: the shards, the donors' files, the bank and the rules.

    Raises: CongenerError: the run's bank or policy can't be read, or a model can't be loaded.
    """
    run = make_absolute(config.run)
    bank = load_bank(storage.join(run, BANK))
    encoder = FilterConfig.model_validate({"encoder": parent.config["encoder"]}).encoder
    hardware = config.filter.model_copy(update={"encoder": encoder})
    scorer = load_scorer(bank, hardware.for_launcher().build_encoder_config())
    model = scorer.encoder or next(iter(scorer.classifiers.values()), None)
    device = describe_device(model, hardware)
    recorded = _describe_settings(config, parent, donors)
    identity = parent.identity.model_copy(
        update={
            "code_version": VERSION,
            "packages": {**find_package_versions(), **INTERPRETER},
            "computed_in": device.rpartition(", ")[2],
            "config_digest": digest_config(recorded),
        }
    )
    run_id = unfinished.compute_run_id(identity.model_dump(mode="json"))
    output = make_absolute(config.filter.output)
    scoring = ScoringConfig(
        bank_uri=storage.join(output, BANK),
        bank_digest=bank.digest,
        encoder=settle_models(hardware, model),
        span_floor=parent.span_floor,
        channel=run_id,
    )
    keep_scorer(scoring, scorer)
    layout = restore_layout(run, parent, _settle_key(config, parent))
    settings = SwapSettings(
        WaitingSettings(run, layout, config.replace),
        output,
        run_id,
        scoring,
        tuple(read_recorded_rules(parent)),
        read_recorded_policy(parent).exceptions,
    )
    files, shards = list_donor_files(donors), list_shards(parent)
    return SwapPlan(
        config, parent, list(donors), files, shards, bank, settings, identity, recorded, device
    )


def _settle_key(config: SwapConfig, parent: Manifest) -> DigestKey | None:
    """Return the key of the run's digests, or None without one.

    Raises: CardError: the key is missing, not needed, or not the run's key.
    """
    check, key = parent.identity.digest_key, settle_key(config.filter.digest_key)
    if (None if key is None else key.check) != check:
        raise CardError(
            "the digests of the run aren't keyed" if check is None else "the run's key is needed",
            where="--digest-key",
            remedy="leave it out" if check is None else "give the key with which the run was made",
        )
    return key


def _describe_settings(
    config: SwapConfig, parent: Manifest, donors: Sequence[FilteredDonor]
) -> dict[str, object]:
    swap = {
        "parent": parent.run_id,
        "parent_root": parent.ledger_root,
        "donors": [donor.record.model_dump(mode="json") for donor in donors],
        "replace": list(config.replace),
        "near": config.near,
    }
    return {**parent.config, "swap": swap}


def list_shards(manifest: Manifest) -> list[StoredShard]:
    """Return a run's shards with a ledger, and their files, in corpus order."""
    files: dict[str, dict[str, Output]] = {}
    for output in manifest.outputs:
        file = parse_path(output.path)
        if file.folder in SHARD_FOLDERS and output.path != CLEAN_CARD:
            files.setdefault(file.shard, {})[file.folder] = output
    return [
        StoredShard(name, own["ledger"].rows, {folder: item.path for folder, item in own.items()})
        for name, _ in manifest.shards
        if "ledger" in (own := files.get(name, {}))
    ]


def execute(plan: SwapPlan, beam_options: Sequence[str], listener: Listener) -> None:
    """Run the pipeline, which leaves finished shards alone.

    Raises: HandedOver: the job continues without this process.
    """
    done, notices = unfinished.find_finished_shards(plan.output, plan.record, plan.shards)
    _send(listener, notices)
    left = [shard for shard in plan.shards if shard.name not in done]
    if done:
        listener(Noticed(Notice(f"resuming: {len(done)} of {len(plan.shards)} shards are done")))
    rows = sum(shard.rows for shard in plan.shards)
    listener(RowsPlanned(rows, sum(receipt.rows for receipt in done.values())))
    if not left:
        return
    engine, run_id = plan.config.filter.engine, plan.settings.run_id
    watching = (
        watch_receipts(plan.output, plan.shards, listener) if engine.uses_other_processes else None
    )
    with (
        listen_to(run_id, listener),
        watching or nullcontext(),
        open_pipeline(engine, beam_options, f"congener-{run_id}") as pipeline,
    ):
        build_pipeline(pipeline, plan, left)
    if is_handed_over(pipeline.options):
        raise HandedOver(
            "the job is running without this process",
            where=plan.output,
            remedy="when it has ended, the same command publishes the run",
        )


def build_pipeline(pipeline: beam.Pipeline, plan: SwapPlan, left: Sequence[StoredShard]) -> None:
    """Add the stages to a pipeline: join all prompts, and write the shards that are left."""
    shards = pipeline | "Plan" >> beam.Create(plan.shards) | "Spread" >> beam.Reshuffle()
    outcomes = shards | "Match" >> MatchPrompts(plan.files, plan.settings.waiting, plan.config.near)
    outcomes | "Swap" >> SwapShards(left, plan.settings)


def publish(
    plan: SwapPlan, command: Sequence[str], listener: NoticeRecorder, seconds: float
) -> Manifest:
    """Write the new run's manifest if every row is accounted for.

    Raises: RunError: shards are missing, another process has replaced the run, or there is foreign
    data in its folders.
    """
    run = plan.output
    found = unfinished.find_finished_shards(run, plan.record, plan.shards).receipts
    receipts = publication.order_receipts(plan.shards, found)
    outputs = [output for receipt in receipts for output in receipt.outputs]
    outputs += publication.list_bank(plan.bank)
    outputs += _copy_whole_files(plan)
    manifest = describe_swap(plan, receipts, outputs, command, seconds)
    listener(RunSummarised(manifest))
    _send(listener, _describe_outcome(plan, manifest))
    unfinished.require_ours(run, plan.record)
    strays = remove_strays(run, manifest.outputs)
    _send(listener, (Notice(f"removed {path}, which isn't part of this run") for path in strays))
    require_no_foreign_data(run, manifest.outputs)
    if plan.config.filter.private_quarantine:
        unfinished.keep_private(run)
    sealed = publication.publish_manifest(
        run, publication.record_notices(manifest, _list_notices(plan, listener.notices))
    )
    _send(listener, publication.remove_work(run))
    return sealed


def _list_notices(plan: SwapPlan, own: Iterable[Notice]) -> Iterator[Notice]:
    """Yield what the parent said about the corpus, the swap's own notices, and donors' warnings."""
    for notice in plan.parent.list_notices():
        if not notice.about.startswith(DONOR_PREFIX):
            yield notice._replace(about=notice.about or f"run {plan.parent.run_id}")
    yield from own
    for donor in plan.donors:
        for notice in donor.manifest.list_notices():
            if notice.severity == "warning" and not notice.about:
                yield notice._replace(about=f"{DONOR_PREFIX}{donor.record.name}", remarks=())


def _copy_whole_files(plan: SwapPlan) -> Iterator[Output]:
    """Copy the files that belong to no shard: calibration scores and the dataset card."""
    for output in plan.parent.outputs:
        if output.path in (*CALIBRATION_FILES, CLEAN_CARD):
            data = storage.read_bytes(storage.join(plan.config.run, output.path))
            storage.write_bytes(storage.join(plan.output, output.path), data)
            yield output.model_copy(update={"bytes": len(data), "sha256": digest_bytes(data)})


def describe_swap(
    plan: SwapPlan,
    receipts: Sequence[Receipt],
    outputs: Sequence[Output],
    command: Sequence[str],
    seconds: float,
) -> Manifest:
    """Describe the finished swap in a manifest: the parent's, with the new counts and origins."""
    parent, config = plan.parent, plan.config
    sums = publication.sum_receipts(receipts, read_recorded_policy(parent))
    roots = dict(sums.pop("shards"))
    record = SwapRecord(
        parent=parent.run_id,
        parent_digest=parent.digest,
        parent_root=parent.ledger_root,
        donors=tuple(donor.record for donor in plan.donors),
        replace=config.replace,
        near=config.near,
        counts=count_swaps(plan.output, list(outputs)),
    )
    shards = tuple((name, roots.get(name, root)) for name, root in parent.shards)
    return parent.model_copy(
        update={
            **sums,
            "ledger_root": publication.compute_root(shards),
            "run_id": plan.settings.run_id,
            "identity": plan.identity,
            "config": plan.recorded,
            "outputs": tuple(outputs),
            "conservation": publication.sum_decisions(parent.conservation.rows_in, receipts),
            "shards": shards,
            "notes": parent.notes,
            "limits": (*parent.limits, COVERAGE_LIMIT),
            "parents": (parent.run_id, *(donor.record.run_id for donor in plan.donors)),
            "swap": record,
            "circumstances": {
                **publication.describe_circumstances(
                    seconds, receipts, plan.device, command, config.filter.operator
                ),
                PARENT_FOLDER: make_absolute(config.run),
            },
            "digest": "",
        }
    )


def _describe_outcome(plan: SwapPlan, manifest: Manifest) -> Iterator[Notice]:
    """Say how many rows were replaced, and how many still wait."""
    counts = manifest.swap.counts if manifest.swap else None
    if counts is None or not counts.outcomes:
        yield warn("no row of the run was to be replaced, so the new run is a copy of it")
        return
    total = format_count(sum(counts.outcomes.values()), "row")
    yield Notice(f"replaced {counts.replaced:,} of {total} that were to be replaced")
    if counts.waiting:
        why = ", ".join(f"{name} {count:,}" for name, count in _list_waiting(counts.outcomes))
        verb = choose_form(counts.waiting, "waits", "wait")
        yield Notice(f"{format_count(counts.waiting, 'row')} still {verb}: {why}")
    known = {parse_path(item.path).stem for item in plan.parent.outputs if _is_clean(item)}
    new = {parse_path(item.path).stem for item in manifest.outputs if _is_clean(item)}
    has_card = any(item.path == CLEAN_CARD for item in manifest.outputs)
    if has_card and (added := sorted(new - known)):
        yield warn(
            f"clean/README.md doesn't list the files of {added[0]}, which had no clean rows before"
        )


def _list_waiting(outcomes: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    return ((name, count) for name, count in outcomes.items() if name != "replaced")


def _is_clean(output: Output) -> bool:
    return parse_path(output.path).folder == "clean" and output.path != CLEAN_CARD


def _send(listener: Listener, notices: Iterable[Notice]) -> None:
    for notice in notices:
        listener(Noticed(notice))
