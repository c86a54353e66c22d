"""`congener swap`: put other teachers' answers in place of those that a run holds back.

The command has five steps: filter the donors (pipelines/swap_donors.py), settle, open, execute and
publish.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, get_args

import apache_beam as beam

from classifiers.scoring import load_scorer
from pipelines import successors
from pipelines.banks import load_bank
from pipelines.config import FilterConfig, make_absolute
from pipelines.early_checks import check_output
from pipelines.engines.launch import build_engine_options
from pipelines.filter import NoticeRecorder
from pipelines.plan import describe_device, settle_models
from pipelines.runs import publication, unfinished
from pipelines.runs.layouts import restore_layout
from pipelines.runs.lock import lock_run
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.recorded_settings import read_recorded_policy, read_recorded_rules
from pipelines.runs.request_files import list_requests, write_batch_files
from pipelines.runs.swap_counts import count_held, count_swaps
from pipelines.successors import (
    Successor,
    describe_successor,
    execute,
    list_shards,
    open_successor,
    require_apart,
    send,
    settle_parents_key,
    settle_successor,
)
from pipelines.swap_donors import (
    DonorCorpus,
    FilteredDonor,
    add_donor,
    filter_donors,
    list_donor_files,
    name_donors,
    require_shares,
)
from pipelines.swap_requests import (
    ask_endpoint,
    encode_donor,
    read_batch_answers,
)
from schemas.cards import Strict
from schemas.errors import CardError, EndpointError
from schemas.events import Listener, ignore
from schemas.manifests import Manifest
from schemas.notices import Notice, choose_form, format_count, warn
from schemas.receipts import NoteCounts, Output, Receipt
from schemas.runs import BANK, CLEAN_CARD, DONORS, parse_path
from schemas.swaps import (
    DECISION_OF_OUTCOME,
    BatchRequests,
    EarlierSwap,
    ReplacedAction,
    SwapCounts,
    SwapRecord,
    describe_options,
    find_off_shares,
)
from transforms.endpoints import ChatClient
from transforms.files import object_stores, storage
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
    spans: bool = False
    """Whether only the sentences that carry a trait are replaced, or masked."""
    shares: tuple[tuple[str, float], ...] = ()
    """The share of the answers that each donor gives, by name; without shares, donors are asked in
    their order."""
    requests: BatchRequests | None = None
    """How the prompts that still wait are written as requests, or None for no such file."""
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
    successor: Successor
    donors: list[FilteredDonor]
    files: list[DonorFile]
    shards: list[StoredShard]
    settings: SwapSettings


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

    Raises: CongenerError: the run or a donor can't be read, the output can't be used, or no row is
    to be replaced.
    """
    recorder = NoticeRecorder(listener)
    engine, output = config.filter.engine, config.filter.output
    object_stores.use_options(build_engine_options(engine, beam_options))
    check_output(output)
    parent = load_manifest(config.run)
    require_apart(config.run, output, "a swap")
    _require_waiting(config, parent)
    with lock_run(output):
        unfinished.require_unfinished(output, restart)
        corpora = _list_corpora(config, asking, recorder)
        require_shares(config.shares, [donor.name for donor in corpora])
        donors = filter_donors(  # a donor's manifest records what is said about the donor
            config.run, parent, corpora, config.filter, restart, beam_options, listener
        )
        plan = settle_swap(config, parent, donors)
        open_successor(plan.successor, restart, recorder)
        seconds = execute(
            plan.successor,
            plan.shards,
            lambda pipeline, left: build_pipeline(pipeline, plan, left),
            beam_options,
            recorder,
        )
        return publish(plan, command, recorder, seconds)


def _require_waiting(config: SwapConfig, parent: Manifest) -> None:
    """Refuse a swap that would replace nothing, before donors are filtered.

    Raises: CardError: none of the actions holds a row.
    """
    held = count_held(config.run, parent)
    if any(held[action] for action in config.replace):
        return
    wanted = " or ".join(config.replace)
    others = [action for action in get_args(ReplacedAction) if held[action]]
    if not others:
        raise CardError(
            f"no row waits in quarantine with the action {wanted}, so nothing would be replaced",
            where=config.run,
            remedy="a policy with the action swap holds rows for it (dropped rows have no text): "
            "congener decide RUN --policy POLICY",
        )
    count = format_count(held[others[0]], "row")
    verb = choose_form(held[others[0]], "waits", "wait")
    raise CardError(
        f"no row waits with the action {wanted}; {count} {verb} with the action {others[0]}",
        where=config.run,
        remedy=f"add --replace {others[0]} to replace these as well",
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
        send(listener, replies.describe(len(requests)))
        corpus = storage.join(config.filter.output, f"{DONORS}/{name}.jsonl")
        storage.write_bytes(corpus, encode_donor(replies))
        donors.append(DonorCorpus(name, corpus))
    return donors


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
    action = {"swap": _describe_settings(config, parent, donors)}
    device = describe_device(model, hardware)
    successor = settle_successor(run, parent, config.filter, bank, action, device)
    scoring = ScoringConfig(
        bank_uri=storage.join(successor.output, BANK),
        bank_digest=bank.digest,
        encoder=settle_models(hardware, model),
        span_floor=parent.span_floor,
        channel=successor.run_id,
    )
    keep_scorer(scoring, scorer)
    layout = restore_layout(run, parent, settle_parents_key(config.filter.digest_key, parent))
    settings = SwapSettings(
        WaitingSettings(run, layout, config.replace),
        successor.output,
        successor.run_id,
        scoring,
        tuple(read_recorded_rules(parent)),
        read_recorded_policy(parent).exceptions,
        config.spans,
        parent.find_swap_run(),
    )
    files, shards = list_donor_files(donors), list_shards(parent)
    return SwapPlan(config, successor, list(donors), files, shards, settings)


def _describe_settings(
    config: SwapConfig, parent: Manifest, donors: Sequence[FilteredDonor]
) -> dict[str, object]:
    return {
        "parent": parent.run_id,
        "parent_root": parent.ledger_root,
        "donors": [donor.record.model_dump(mode="json") for donor in donors],
        "replace": list(config.replace),
        "near": config.near,
        **describe_options(config.spans, config.requests, dict(config.shares)),
    }


def build_pipeline(pipeline: beam.Pipeline, plan: SwapPlan, left: Sequence[StoredShard]) -> None:
    """Add the stages to a pipeline: join all prompts, and write the shards that are left."""
    shards = pipeline | "Plan" >> beam.Create(plan.shards) | "Spread" >> beam.Reshuffle()
    numbers = {donor.record.name: number for number, donor in enumerate(plan.donors)}
    shares = {numbers[name]: share for name, share in plan.config.shares}
    outcomes = shards | "Match" >> MatchPrompts(
        plan.files, plan.settings.waiting, plan.config.near, shares
    )
    outcomes | "Swap" >> SwapShards(left, plan.settings)


def publish(
    plan: SwapPlan, command: Sequence[str], listener: NoticeRecorder, seconds: float
) -> Manifest:
    """Write the new run's manifest if every row is accounted for.

    Raises: RunError: shards are missing, another process has replaced the run, or there is foreign
    data in its folders.
    """
    return successors.publish(
        plan.successor,
        plan.shards,
        lambda receipts, outputs: describe_swap(plan, receipts, outputs, command, seconds),
        lambda manifest: _describe_outcome(plan, manifest),
        listener,
        plan.donors,
        lambda found: write_batch_files(plan.successor.output, found, plan.config.requests),
    )


def describe_swap(
    plan: SwapPlan,
    receipts: Sequence[Receipt],
    outputs: Sequence[Output],
    command: Sequence[str],
    seconds: float,
) -> Manifest:
    """Describe the finished swap in a manifest: the parent's, with the new counts and origins."""
    parent, config = plan.successor.parent, plan.config
    sums = publication.sum_receipts(receipts, read_recorded_policy(parent))
    roots = dict(sums.pop("shards"))
    counts = count_swaps(plan.successor.output, list(outputs))
    record = SwapRecord(
        parent=parent.run_id,
        parent_digest=parent.digest,
        parent_root=parent.ledger_root,
        donors=tuple(donor.record for donor in plan.donors),
        replace=config.replace,
        near=config.near,
        spans=config.spans,
        shares=dict(config.shares),
        requests=config.requests,
        counts=counts.pop(None, SwapCounts()),
        earlier=tuple(_list_earlier(parent, counts)),
    )
    shards = tuple((name, roots.get(name, root)) for name, root in parent.shards)
    runs = [donor.record.run_id for donor in plan.donors]
    return parent.model_copy(
        update={
            **sums,
            **describe_successor(plan.successor, receipts, command, seconds, runs),
            "ledger_root": publication.compute_root(shards),
            "outputs": tuple(outputs),
            "conservation": publication.sum_decisions(parent.conservation.rows_in, receipts),
            "shards": shards,
            "notes": parent.notes.add(NoteCounts(masked=record.counts.masked)),
            "limits": tuple(dict.fromkeys((*parent.limits, COVERAGE_LIMIT))),
            "swap": record,
        }
    )


def _list_earlier(
    parent: Manifest, counts: Mapping[str | None, SwapCounts]
) -> Iterator[EarlierSwap]:
    """Yield the swaps of the parent and its ancestors whose answers are still there."""
    swap, run = parent.swap, parent.find_swap_run()
    if swap is not None and run in counts:
        yield EarlierSwap(run_id=run, parent=swap.parent, donors=swap.donors, counts=counts[run])
    for item in swap.earlier if swap else ():
        if item.run_id in counts:
            yield item.model_copy(update={"counts": counts[item.run_id]})


def _describe_outcome(plan: SwapPlan, manifest: Manifest) -> Iterator[Notice]:
    """Say how many rows were replaced, and how many still wait."""
    counts = manifest.swap.counts if manifest.swap else None
    if counts is None:
        return
    total = format_count(sum(counts.outcomes.values()), "row")
    yield Notice(f"replaced {counts.replaced:,} of {total} that were to be replaced")
    for name, used, wanted in find_off_shares(dict(plan.config.shares), counts.by_donor):
        yield warn(
            f"donor {name} gave {used:,} of {sum(counts.by_donor.values()):,} answers; its share "
            f"is {wanted:,}: a donor with fewer has no clean answer to some prompts, and others "
            "answered these"
        )
    if counts.masked:
        yield Notice(f"masked sentences in {format_count(counts.masked, 'row')}")
    if counts.waiting:
        why = ", ".join(f"{name} {count:,}" for name, count in _list_waiting(counts.outcomes))
        verb = choose_form(counts.waiting, "waits", "wait")
        yield Notice(f"{format_count(counts.waiting, 'row')} still {verb}: {why}")
    known = {
        parse_path(item.path).stem for item in plan.successor.parent.outputs if _is_clean(item)
    }
    new = {parse_path(item.path).stem for item in manifest.outputs if _is_clean(item)}
    if manifest.identity.dataset_card is not None and (added := sorted(new - known)):
        yield warn(
            f"clean/README.md doesn't list the files of {added[0]}, which had no clean rows before"
        )


def _list_waiting(outcomes: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    return ((name, count) for name, count in outcomes.items() if name not in DECISION_OF_OUTCOME)


def _is_clean(output: Output) -> bool:
    return parse_path(output.path).folder == "clean" and output.path != CLEAN_CARD
