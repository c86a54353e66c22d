"""`congener mix`: add donors' clean rows to a finished run, lot by lot, to a stated share.

The command has five steps: filter the donors (pipelines/swap_donors.py), settle, open, execute and
publish.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from pydantic import Field

from pipelines import successors
from pipelines.banks import load_bank
from pipelines.config import FilterConfig, make_absolute
from pipelines.early_checks import check_output
from pipelines.engines.launch import build_engine_options
from pipelines.filter import NoticeRecorder
from pipelines.mix_forms import describe_form, require_same_form
from pipelines.runs import publication, unfinished
from pipelines.runs.finished import list_outputs
from pipelines.runs.layouts import restore_layout
from pipelines.runs.lock import lock_run
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.mix_counts import COLUMNS, count_mix, list_cells
from pipelines.runs.recorded_settings import read_recorded_policy, read_recorded_rules
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
from pipelines.swap_donors import FilteredDonor, filter_donors, list_donor_files, name_donors
from schemas.cards import Strict
from schemas.errors import InputError, RunError
from schemas.events import Listener, ignore
from schemas.manifests import Manifest
from schemas.mixes import MixRecord, compute_ratio
from schemas.notices import Notice, format_count, warn
from schemas.receipts import NearMisses, Output, Receipt
from schemas.runs import BANK, DONORS, WORK, parse_path
from schemas.shares import LEAST_SHARE, MOST_SHARE, format_percent
from transforms.files import object_stores, storage
from transforms.mix_draws import (
    Candidates,
    Cell,
    Drawn,
    LotFields,
    count_lots,
    draw_rows,
    is_held_out,
    list_candidates,
    read_keys,
    tabulate_draw,
)
from transforms.mix_rows import DrawnFile
from transforms.mix_shards import MixedShard, MixSettings, MixShards
from transforms.stored_rows import read_table
from transforms.swap_offers import DonorFile, StoredShard
from transforms.write import encode_parquet

LIMIT = "Coverage and notes count the texts of the parent run, before rows were mixed in."

SHORT_NAMED = 3
"""How many lots that miss their share a notice names."""


class MixConfig(Strict):
    """The settings of `congener mix`. `filter` has the output, hardware, engine and key."""

    run: str
    donors: tuple[str, ...] = Field(min_length=1)
    share: float = Field(ge=LEAST_SHARE, le=MOST_SHARE)
    """The share of added rows among all clean rows of each lot."""
    seed: int = 0
    filter: FilterConfig


class Survey(NamedTuple):
    """A run's clean rows by lot and shard, the keys of all its rows, and rows in other splits."""

    cells: list[Cell]
    keys: np.ndarray
    held_out: int


class MixPlan(NamedTuple):
    """A settled mix."""

    config: MixConfig
    successor: Successor
    donors: list[FilteredDonor]
    shards: list[MixedShard]
    files: list[DonorFile]
    tables: list[tuple[int, pa.Table]]
    """The drawn rows of each donor's file, with the file's index."""
    settings: MixSettings


def run_mix(
    config: MixConfig,
    restart: bool = False,
    command: Sequence[str] = (),
    beam_options: Sequence[str] = (),
    listener: Listener = ignore,
) -> Manifest:
    """Add donors' rows to a finished run, and return the new run's manifest.

    Donors are filtered first, into `donors/` of the output. An interrupted mix is resumed.

    Raises: CongenerError: the run or a donor can't be read, a donor's rows don't have the form of
    the run's rows, or the output can't be used.
    """
    recorder = NoticeRecorder(listener)
    engine, output = config.filter.engine, config.filter.output
    object_stores.use_options(build_engine_options(engine, beam_options))
    check_output(output)
    parent = load_manifest(config.run)
    require_apart(config.run, output, "a mix")
    _require_mixable(config.run, parent)
    with lock_run(output):
        unfinished.require_unfinished(output, restart)
        donors = filter_donors(
            config.run,
            parent,
            name_donors(config.donors),
            _choose_form(config.filter, parent),
            restart,
            beam_options,
            listener,  # a donor's manifest records what is said about the donor
        )
        plan = settle_mix(config, parent, donors, recorder)
        open_successor(plan.successor, restart, recorder)
        seconds = execute(
            plan.successor,
            plan.shards,
            lambda pipeline, left: build_pipeline(pipeline, plan, left),
            beam_options,
            recorder,
        )
        return publish(plan, command, recorder, seconds)


def _require_mixable(run: str, parent: Manifest) -> None:
    if parent.mix is not None:
        raise RunError(
            "rows were mixed into this run before, so another share would have two meanings",
            where=run,
            remedy=f"mix the run {parent.mix.parent} with all donors at once",
        )
    taken = [item.name for item in parent.inputs if item.name.startswith(f"{DONORS}/")]
    if taken:
        raise RunError(
            f"{taken[0]} has the name of a donor's file in the ledger of a mix",
            where=run,
            remedy=f"rename the folder {DONORS} of the corpus, and filter it again",
        )


def _choose_form(settings: FilterConfig, parent: Manifest) -> FilterConfig:
    """Return the settings with which donors are written in the form of the run's clean rows."""
    suffixes = {parse_path(item.path).suffix for item in list_outputs(parent, "clean")}
    form = "parquet" if suffixes == {".parquet"} else "jsonl"
    vectors = bool(parent.config.get("vectors"))
    return settings.model_copy(update={"output_format": form, "vectors": vectors})


def settle_mix(
    config: MixConfig, parent: Manifest, donors: Sequence[FilteredDonor], listener: Listener
) -> MixPlan:
    """Settle a mix: which rows are added to which shard.

    Raises: CongenerError: a donor's rows don't have the form of the run's rows, or the donors have
    no row to add.
    """
    run = make_absolute(config.run)
    layout = restore_layout(run, parent, settle_parents_key(config.filter.digest_key, parent))
    form = describe_form(run, parent, layout)
    for donor in donors:
        send(listener, require_same_form(parent, form, donor))
    shards = list_shards(parent)
    found = survey_run(run, parent, shards)
    files = list_donor_files(donors)
    candidates = list_candidates(files, found.keys, config.seed)
    _require_rows(config, found, candidates)
    drawn = draw_rows(candidates, found.cells, compute_ratio(config.share))
    send(listener, _describe_draw(config, found, candidates, drawn))
    action = {"mix": _describe_settings(config, parent, donors)}
    bank = load_bank(storage.join(run, BANK))
    device = parent.identity.computed_in  # no model is used here, only scores of the donors' runs
    successor = settle_successor(run, parent, config.filter, bank, action, device)
    rules, policy = tuple(read_recorded_rules(parent)), read_recorded_policy(parent)
    settings = MixSettings(run, successor.output, successor.run_id, form, rules, policy.exceptions)
    added = Counter(found.cells[cell].shard for cell in drawn.cells.tolist())
    mixed = [MixedShard(shard, added[shard.name]) for shard in shards]
    tables = list(tabulate_draw(drawn, candidates, found.cells))
    return MixPlan(config, successor, list(donors), mixed, files, tables, settings)


def survey_run(run: str, parent: Manifest, shards: Sequence[StoredShard]) -> Survey:
    """Count a run's clean rows by lot and shard, and read the keys of all its rows."""
    lots: dict[str, Counter[LotFields]] = {}
    keys, held_out = [np.empty(0, np.uint64)], 0
    for shard in shards:
        ledger = read_table(run, shard.files["ledger"], [*COLUMNS, "content_digest"])
        keys.append(read_keys(ledger))
        own = count_lots(ledger)
        if is_held_out(ledger.column("source")[0].as_py(), parent.identity.dataset_card):
            held_out += own.total()
        else:
            lots[shard.name] = own
    return Survey(list_cells(lots), np.concatenate(keys), held_out)


def _require_rows(config: MixConfig, found: Survey, candidates: Candidates) -> None:
    if not found.cells:
        raise RunError(
            "has no clean row in a training split, so there is nothing to add rows to",
            where=config.run,
            remedy=f"congener inspect {config.run} shows what was removed, and why",
        )
    if not len(candidates.rows):
        raise InputError(
            "no donor has a row that could be added: on all of them a trait fires, or the run has "
            f"the same rows ({candidates.repeated:,})",
            where="--donor",
            remedy="give donors with other rows; their runs are in donors/ of the output",
        )


def _describe_draw(
    config: MixConfig, found: Survey, candidates: Candidates, drawn: Drawn
) -> Iterator[Notice]:
    """Say from how many rows were drawn, and whether they are enough."""
    available, wanted = len(candidates.rows), int(drawn.wanted.sum())
    yield Notice(f"{format_count(available, 'clean row')} of the donors can be drawn")
    if candidates.repeated:
        repeated = format_count(candidates.repeated, "other clean row")
        yield Notice(f"{repeated} of the donors left out: the run or another donor has the same")
    if found.held_out:
        held_out = format_count(found.held_out, "row")
        yield Notice(f"nothing is added to {held_out} in validation and test splits")
    if available < wanted:
        rows = sum(cell.rows for cell in found.cells)
        share = format_percent(available / (rows + available))
        yield warn(
            f"a share of {format_percent(config.share)} needs {format_count(wanted, 'row')}, so "
            f"every lot gets a smaller share, at most {share}; more donors would help"
        )


def _describe_settings(
    config: MixConfig, parent: Manifest, donors: Sequence[FilteredDonor]
) -> dict[str, object]:
    return {
        "parent": parent.run_id,
        "parent_root": parent.ledger_root,
        "donors": [donor.record.model_dump(mode="json") for donor in donors],
        "share": config.share,
        "seed": config.seed,
    }


def build_pipeline(pipeline: beam.Pipeline, plan: MixPlan, left: Sequence[MixedShard]) -> None:
    """Write the tables of drawn rows, and add the stages that write the shards that are left."""
    output, drawn = plan.settings.output, []
    for number, table in plan.tables:
        path = f"{WORK}/drawn/{number:06d}.parquet"
        storage.write_bytes(storage.join(output, path), encode_parquet(table))
        drawn.append(DrawnFile(plan.files[number], output, path))
    files = pipeline | "Drawn" >> beam.Create(drawn) | "Spread" >> beam.Reshuffle()
    files | "Mix" >> MixShards(left, plan.settings)


def publish(
    plan: MixPlan, command: Sequence[str], listener: NoticeRecorder, seconds: float
) -> Manifest:
    """Write the new run's manifest if every row is accounted for.

    Raises: RunError: shards are missing, another process has replaced the run, or there is foreign
    data in its folders.
    """
    return successors.publish(
        plan.successor,
        plan.shards,
        lambda receipts, outputs: describe_mix(plan, receipts, outputs, command, seconds),
        _describe_outcome,
        listener,
        plan.donors,
    )


def describe_mix(
    plan: MixPlan,
    receipts: Sequence[Receipt],
    outputs: Sequence[Output],
    command: Sequence[str],
    seconds: float,
) -> Manifest:
    """Describe the finished mix in a manifest: the parent's, with the added rows."""
    parent, config = plan.successor.parent, plan.config
    sums = publication.sum_receipts(receipts, read_recorded_policy(parent))
    roots = dict(sums["shards"])
    shards = tuple((name, roots.get(name, root)) for name, root in parent.shards)
    ledgers = [item for item in outputs if parse_path(item.path).folder == "ledger"]
    card = parent.identity.dataset_card
    record = MixRecord(
        parent=parent.run_id,
        parent_digest=parent.digest,
        parent_root=parent.ledger_root,
        donors=tuple(donor.record for donor in plan.donors),
        share=config.share,
        seed=config.seed,
        counts=count_mix(plan.successor.output, ledgers, config.share, card),
    )
    rows = parent.conservation.rows_in + record.counts.added
    runs = [donor.record.run_id for donor in plan.donors]
    return parent.model_copy(
        update={
            **describe_successor(plan.successor, receipts, command, seconds, runs),
            **_add_sums(parent, sums),
            "ledger_root": publication.compute_root(shards),
            "outputs": tuple(outputs),
            "conservation": publication.sum_decisions(rows, receipts),
            "shards": shards,
            "limits": tuple(dict.fromkeys((*parent.limits, LIMIT))),
            "mix": record,
        }
    )


def _add_sums(parent: Manifest, sums: dict[str, Any]) -> dict[str, Any]:
    """Return the parent's counts about scores, with those of the added rows."""
    near, unscored, effects = sums["near"], sums["unscored"], sums["exceptions"]
    return {
        "near": {
            trait: own.add(near.get(trait, NearMisses())) for trait, own in parent.near.items()
        },
        "unscored": parent.unscored + unscored,
        "exceptions": tuple(
            one.add(other) for one, other in zip(parent.exceptions, effects, strict=True)
        ),
    }


def _describe_outcome(manifest: Manifest) -> Iterator[Notice]:
    """Say how many rows were added, and which lots have fewer than their share."""
    if manifest.mix is None:
        return
    counts = manifest.mix.counts
    share = format_percent(counts.share)
    added = format_count(counts.added, "row")
    yield Notice(f"added {added} to {counts.rows:,}, which is {share} of both")
    if short := counts.short:
        named = "; ".join(
            f"{lot.describe()}: {lot.added:,} of {lot.wanted:,}" for lot in short[:SHORT_NAMED]
        )
        lots = format_count(len(short), "lot")
        yield warn(f"{lots} of {len(counts.lots):,} got fewer rows than the share needs ({named})")
