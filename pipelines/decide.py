"""`congener decide`: apply another policy to a finished run, from its scores, without a model.

The command has four steps: restore the plan of a filter run with that policy, open, execute,
publish. All but the first are those of `filter`.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.banks import Bank
from classifiers.scoring import load_scorer
from pipelines.banks import load_bank
from pipelines.config import FilterConfig, make_absolute
from pipelines.coverage import check_unread, describe_sample, measure_sample, needs_english
from pipelines.early_checks import check_folder, check_settings
from pipelines.engines.launch import build_engine_options
from pipelines.filter import NoticeRecorder, choose_destination, execute, open_run, publish
from pipelines.named_rows import find_named_rows, require_places
from pipelines.notices import describe_default_rule
from pipelines.plan import FilterPlan, SettledInput, describe_device, settle_input, settle_models
from pipelines.runs import unfinished
from pipelines.runs.finished import list_outputs, read_table, scan_folder
from pipelines.runs.lock import lock_run
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.parent_policies import describe_parent_policies
from pipelines.runs.recorded_settings import read_recorded_policy, read_recorded_traits
from schemas.cards import Strict
from schemas.digests import EMPTY_DIGEST
from schemas.errors import InputError, ModelError, RunError
from schemas.events import Listener, Noticed, ignore
from schemas.ledgers import read_lots
from schemas.lots import LOT_FIELDS, Lot
from schemas.manifests import Manifest
from schemas.notices import Notice
from schemas.policies import LotException, Policy, list_row_names
from schemas.receipts import ExceptionEffect, Output
from schemas.runs import BANK, CLEAN_CARD, SHARD_FOLDERS, parse_path
from schemas.swaps import PARENT_FOLDER
from transforms.decide_again import (
    AgainSettings,
    DecideAgain,
    ShardFiles,
    StoredEvidence,
    decide_stored,
    list_unknown_neighbours,
    read_stored_shard,
    refuse_unknown,
)
from transforms.decisions import Decisions
from transforms.digest_keys import DigestKey
from transforms.duplicates import Seen, add_copy
from transforms.exception_effects import measure_effects
from transforms.files import object_stores, storage
from transforms.files.dataset_cards import CARD, DatasetCard, read_card
from transforms.files.names import NamedFile
from transforms.files.planning import ShardPlan, plan_shards
from transforms.files.sources import Corpus, survey_named
from transforms.files.splits import find_split, rank_split, rank_splits
from transforms.read import ReadShards
from transforms.records.formats import list_paths
from transforms.rules import Rule, settle_rules
from transforms.score import ScoringConfig, keep_scorer

NO_MODEL = "no model"
"""The device of a run that loads no model."""

ADDED_TEXT = {"swap": "has answers that swap put there", "mix": "has rows that mix added"}
"""What a run has that its input doesn't have, by the command that put it there."""

CHANGED_REMEDY = (
    "name the folder with a copy of the corpus as it was with --input, or filter the corpus again"
)


class DecideConfig(Strict):
    """The settings of `congener decide`. `filter` has the output, the policy and the engine."""

    run: str
    input: str | None = None
    """A folder with the run's input files, by default where the run read them."""
    encode: bool = False
    """Whether models may read shards again, to find nearest exemplars that weren't stored."""
    filter: FilterConfig


class ShardDecisions(NamedTuple):
    """New decisions on a shard's stored rows, and what the policy's exceptions do to them."""

    shard: str
    decided: Decisions
    stored: StoredEvidence
    effects: tuple[ExceptionEffect, ...]


def run_decide(
    config: DecideConfig,
    restart: bool = False,
    command: Sequence[str] = (),
    beam_options: Sequence[str] = (),
    listener: Listener = ignore,
) -> Manifest:
    """Decide a finished run again into a new run, and return the new run's manifest.

    Every file is the one that `filter` would write with the policy, and so is the manifest, apart
    from its circumstances. The input is surveyed, and then read once.

    Raises: CongenerError: the run, the policy or the input can't be used; see `settle_decide`.
    """
    recorder = NoticeRecorder(listener)
    object_stores.use_options(build_engine_options(config.filter.engine, beam_options))
    parent = load_manifest(config.run)
    settings = restore_config(config, parent)
    check_settings(settings, beam_options)
    with lock_run(settings.output):
        unfinished.require_unfinished(settings.output, restart, settings)
        check_folder(settings, restart)
        plan = settle_decide(settings, config.run, parent, recorder)
        again = settle_again(plan, config.run, parent, config.encode)
        opened = open_run(plan, restart, recorder)

        def build(pipeline: beam.Pipeline, _: FilterPlan, tasks: Sequence[Any]) -> None:
            rows = pipeline | "Read" >> ReadShards(tasks, plan.read_schema, parsed=False)
            shards = list_shard_files(config.run, parent)
            rows | "Decide" >> DecideAgain(shards, again)

        execute(opened, beam_options, recorder, build)
        return publish(opened, command, recorder)


def restore_config(config: DecideConfig, parent: Manifest) -> FilterConfig:
    """Return the settings of a filter run that would write the same files.

    Raises: RunError: the output is the run itself, or the run's rows aren't those of its input.
    """
    if make_absolute(config.run).rstrip("/") == make_absolute(config.filter.output).rstrip("/"):
        raise RunError(
            "is the run itself, which stays as it is",
            where=f"--output {config.filter.output}",
            remedy="choose another folder",
        )
    if parent.swap is not None or parent.mix is not None:
        raise _refuse_changed(config.run, parent)
    given = config.filter.model_dump()
    own = {name: parent.config[name] for name in parent.config}
    inputs = tuple(file.uri for file in list_inputs(config, parent))
    bank = storage.join(make_absolute(config.run), BANK)
    restored = FilterConfig.model_validate({**given, **own, "input": inputs, "bank": bank})
    return restored.with_policy(config.filter.load_policy())


def _refuse_changed(run: str, manifest: Manifest) -> RunError:
    """Return the error for a run with texts that its input doesn't have.

    Their scores belong to the policy with which they were chosen: another one would wait for other
    answers. So the run before all swaps and mixes is decided, and they are made again in order.
    """
    made = [("swap", manifest.swap), ("mix", manifest.mix)]
    known = [(name, record) for name, record in made if record is not None]
    # the command that made this run is the last one
    known.sort(key=lambda item: manifest.is_own(item[1]))
    first = known[0][1].parent
    folder = manifest.circumstances.get(PARENT_FOLDER) if manifest.parents[:1] == (first,) else None
    place = shlex.quote(str(folder)) if folder else "RUN"
    again = ", and then ".join(f"congener {name}" for name, _ in known)
    return RunError(
        " and ".join(ADDED_TEXT[name] for name, _ in known) + ", which its input doesn't have",
        where=run,
        remedy=f"decide run {first} again (congener decide {place} --policy POLICY -o RUN2), and "
        f"make the rest again with the same donors: {again}",
    )


def list_inputs(config: DecideConfig, parent: Manifest) -> list[NamedFile]:
    """Return the run's input files, where the run read them or below another folder."""
    return [
        NamedFile(
            item.uri if config.input is None else storage.join(config.input, item.name), item.name
        )
        for item in parent.inputs
    ]


def settle_decide(
    config: FilterConfig, run: str, parent: Manifest, listener: Listener
) -> FilterPlan:
    """Settle the plan of a filter run, with a finished run's bank and without a model.

    Raises: CongenerError: the policy doesn't fit the run's traits, its thresholds need spans that
    the run didn't store, or the input isn't the run's.
    """
    policy, bank = config.load_policy(), load_bank(str(config.bank))
    require_spans(run, parent, settle_rules(bank.traits, policy))
    found = _settle_stored_input(config, policy, parent, listener)
    policy = found.policy
    rules = settle_rules(bank.traits, policy)
    for notice in (
        *describe_parent_policies(found.parents, policy, rules, config.output),
        *describe_default_rule(policy, bank.traits),
    ):
        listener(Noticed(notice))
    cards = [trait.card for trait in bank.traits.values()]
    sampled = measure_sample(found.sample, found.corpus, found.layout, cards, policy)
    sample, is_english = found.sample.describe(), needs_english(cards)
    for notice in describe_sample(sampled, sample, wants_english=is_english):
        listener(Noticed(notice))
    check_unread(sampled, policy.unread_budget)
    kind = parent.identity.computed_in
    check = parent.identity.digest_key
    return FilterPlan(
        config=config,
        policy=policy,
        corpus=found.corpus,
        layout=found.layout._replace(digest_key=None if check is None else DigestKey("", check)),
        sampled=sampled,
        bank=bank,
        rules=tuple(rules),
        tasks=found.tasks,
        encoder=settle_models(config, None),
        device=kind if kind == NO_MODEL else f"{NO_MODEL} loaded, {kind}",
        columns=found.columns,
        classifiers=parent.identity.classifiers,
        parents=found.list_parents(),
        earlier=parent,
        earlier_folder=make_absolute(run),
    )


def _settle_stored_input(
    config: FilterConfig, policy: Policy, parent: Manifest, listener: Listener
) -> SettledInput:
    """Survey a run's input files again under their names, and settle how they are read.

    Raises: InputError: a file is missing, or isn't the one that the run read.
    """
    pairs = zip(config.input, parent.inputs, strict=True)
    files = [NamedFile(uri, item.name) for uri, item in pairs]
    listener(Noticed(Notice(f"reading the input of run {parent.run_id}", is_recorded=False)))
    card = _find_card(files, parent)
    corpus = survey_named(files, config.shards, list_paths(config.corpus), card)
    _require_same_input(corpus, parent)
    found = settle_input(config, policy, corpus, listener)
    _require_same_shards(found.tasks, parent)
    return found


def find_stored_places(run: str, parent: Manifest, policy: Policy, folder: str | None) -> Policy:
    """Return a policy with the places of rows that it names by a column of a run's input.

    The input is read only if the policy has such a name.

    Raises: CardError: the corpus doesn't have the column, or several rows have the value.
    Raises: InputError: a file is missing, or isn't the one that the run read.
    """
    if all(item.row is None or item.row.key for item in policy.exceptions):
        return policy
    given = DecideConfig(run=run, input=folder, filter=FilterConfig(output=f"{run}.none"))
    config = restore_config(given, parent)
    files = list_inputs(given, parent)
    card = _find_card(files, parent)
    corpus = survey_named(files, config.shards, list_paths(config.corpus), card)
    _require_same_input(corpus, parent)
    return find_named_rows(policy, corpus, tuple(plan_shards(corpus.sources, config.shards)))


def _find_card(files: Sequence[NamedFile], parent: Manifest) -> DatasetCard | None:
    """Return the input's dataset card, if the run used one."""
    if parent.identity.dataset_card is None:
        return None
    uri, name = files[0]
    folder = uri.removesuffix(name)
    card = read_card(storage.join(folder, CARD)) if uri.endswith(name) else None
    if card is None or card.list_files() != parent.identity.dataset_card:
        raise InputError(
            "isn't the dataset card that the run read",
            where=storage.join(folder, CARD),
            remedy=CHANGED_REMEDY,
        )
    return card


def _require_same_input(corpus: Corpus, parent: Manifest) -> None:
    found = {source.name: (source.sha256, source.uri) for source in corpus.sources}
    for item in parent.inputs:
        digest, uri = found[item.name]
        if digest != item.sha256:
            raise InputError(
                f"isn't the file {item.name} that run {parent.run_id} read",
                where=uri,
                remedy=CHANGED_REMEDY,
            )


def _require_same_shards(tasks: Iterable[Sequence[ShardPlan]], parent: Manifest) -> None:
    """Refuse a run of a version that cut the same input into other shards.

    Raises: RunError: a shard of the plan isn't in the run.
    """
    known = {name for name, _ in parent.shards}
    planned = {shard.name for task in tasks for shard in task if shard.rows}
    if planned - known:
        raise RunError(
            "was written by a version of congener that joined small files in another way",
            where=f"run {parent.run_id}",
            remedy="filter the corpus again",
        )


def settle_again(
    plan: FilterPlan, run: str, parent: Manifest, encode: bool = False
) -> AgainSettings:
    """Settle how the shards of a run are decided again.

    Raises: RunError: a held row would have to show exemplars that the run didn't store, and models
        may not find them. Raises: ModelError: the models aren't those of the run.
    """
    repeats = {}
    if plan.policy.duplicates == "remove":
        priority = plan.policy.split_priority
        ranks = {shard.name: rank_splits(shard.splits, priority) for shard in plan.shards}
        repeats = _find_repeats(run, parent, plan.rules, ranks)
    again = AgainSettings(
        run,
        choose_destination(plan),
        plan.layout,
        plan.read_schema,
        plan.rules,
        plan.policy.exceptions,
        plan.span_floor,
        parent.span_floor,
        repeats,
    )
    if encode:
        return dataclasses.replace(again, scoring=_load_models(plan, parent))
    require_neighbours(run, parent, plan.bank, again)
    return again


def _load_models(plan: FilterPlan, parent: Manifest) -> ScoringConfig | None:
    """Load the models of a run's bank, or return None if it has none.

    Raises: ModelError: a model isn't that of the run, or computes in another type.
    """
    scorer = load_scorer(plan.bank, plan.config.for_launcher().build_encoder_config())
    if scorer.encoder is None:
        return None
    kind = describe_device(scorer.encoder, plan.config).rpartition(", ")[2]
    if kind != parent.identity.computed_in:
        raise ModelError(
            f"would compute in {kind}, and the run was computed in {parent.identity.computed_in}",
            where="--encode",
            remedy="use a device like that of the run",
        )
    models = settle_models(plan.config, scorer.encoder)
    scoring = dataclasses.replace(plan.scoring, encoder=models)
    keep_scorer(scoring, scorer)
    return scoring


def require_neighbours(run: str, parent: Manifest, bank: Bank, again: AgainSettings) -> None:
    """Check that the run stored the nearest exemplars that the new run has to show.

    Raises: RunError: some rows weren't held before. The error counts them by trait.
    """
    compared = {name for name, trait in bank.traits.items() if trait.positive_index is not None}
    if not compared:
        return
    counts: Counter[str] = Counter()
    for files in list_shard_files(run, parent).values():
        stored = read_stored_shard(files, list_row_names(again.exceptions))
        unknown = list_unknown_neighbours(
            stored, decide_stored(stored, again.rules, again.repeats), bank.traits
        )
        counts.update(reason.trait for reason in unknown)
    if counts:
        raise refuse_unknown(run, counts)


def list_shard_files(run: str, manifest: Manifest) -> dict[str, ShardFiles]:
    """Return a run's shards with a ledger, and their files by folder, in corpus order."""
    found: dict[str, dict[str, Output]] = {}
    for output in manifest.outputs:
        file = parse_path(output.path)
        if file.folder in SHARD_FOLDERS and output.path != CLEAN_CARD:
            found.setdefault(file.shard, {})[file.folder] = output
    return {
        name: ShardFiles(run, name, found[name])
        for name, _ in manifest.shards
        if "ledger" in found.get(name, {})
    }


def decide_run(run: str, policy: Policy) -> Iterator[ShardDecisions]:
    """Yield another policy's decisions on a finished run, shard by shard, in corpus order.

    The run's stored scores, spans and lots are enough. A new run with that policy would give the
    same decisions, reasons and masks. Nothing is written.

    Raises: CardError: the policy can't be applied to the run's traits and calibration scores.
    Raises: RunError: the run isn't finished, or a threshold is below the run's span floor.
    """
    manifest = load_manifest(run)
    rules = settle_recorded_rules(run, manifest, policy)
    repeats: dict[str, dict[int, tuple[Lot, ...]]] = {}
    if policy.duplicates == "remove":
        ranks = _rank_ledgers(run, manifest, policy.split_priority)
        repeats = _find_repeats(run, manifest, rules, ranks)
    names = list_row_names(_list_exceptions(rules))
    for name, files in list_shard_files(run, manifest).items():
        stored = read_stored_shard(files, names)
        decided, (scores, _, lots) = decide_stored(stored, rules, repeats), stored.evidence
        effects = measure_effects(scores, lots, decided.decisions, rules, policy.exceptions)
        yield ShardDecisions(name, decided, stored, effects)


def settle_recorded_rules(run: str, manifest: Manifest, policy: Policy) -> list[Rule]:
    """Work out another policy's rules from a finished run's records.

    Raises: CardError: the rules can't be worked out. Raises: RunError: a threshold is below the
    run's span floor.
    """
    require_places(policy, read_recorded_policy(manifest), run)
    rules = settle_rules(read_recorded_traits(run, manifest), policy)
    require_spans(run, manifest, rules)
    return rules


def require_spans(run: str, manifest: Manifest, rules: Sequence[Rule]) -> None:
    """Check that a run stored the spans of every score that may reach a threshold.

    Raises: RunError: a threshold is below the run's span floor.
    """
    for rule in rules:
        lowest = rule.find_lowest_threshold()
        if lowest < manifest.span_floor:
            raise RunError(
                f"trait {rule.trait} would fire at {lowest:.4f}, but the run stored only the spans "
                f"of scores from {manifest.span_floor:.4f} up",
                where=run,
                remedy="choose a higher threshold, or filter again with a lower span_floor",
            )


def _list_exceptions(rules: Sequence[Rule]) -> Iterator[LotException]:
    return (item for rule in rules for item in rule.exceptions)


def _find_repeats(
    run: str, manifest: Manifest, rules: Sequence[Rule], ranks: Mapping[str, int]
) -> dict[str, dict[int, tuple[Lot, ...]]]:
    """Return each shard's rows that repeat earlier rows, with the earlier rows' lots.

    Copies are ordered by the ranks of their shards, then by their place in the corpus. Row numbers
    leave out rejects.
    """
    copied = _find_copied(run, manifest)
    columns = ["record_id", "source", "row", "decision", "content_digest", *LOT_FIELDS]
    names = list_row_names(_list_exceptions(rules))
    seen: dict[str, Seen] = {}
    found: dict[str, dict[int, tuple[Lot, ...]]] = {}
    ledgers = list_outputs(manifest, "ledger")
    for output in sorted(ledgers, key=lambda item: ranks[parse_path(item.path).shard]):
        ledger = read_table(run, output, columns)
        good = ledger.filter(pc.not_equal(ledger.column("decision"), "reject"))
        digests = good.column("content_digest").to_pylist()
        rows = [row for row, digest in enumerate(digests) if digest in copied]
        lots = read_lots(good.take(pa.array(rows, pa.int64())), names)
        for row, lot in zip(rows, lots, strict=True):
            earlier = add_copy(seen.setdefault(digests[row], {}), lot, rules)
            if earlier is not None:
                found.setdefault(parse_path(output.path).shard, {})[row] = earlier
    return found


def _find_copied(run: str, manifest: Manifest) -> set[str]:
    """Return the content digests that several rows with text have."""
    ledger = scan_folder(run, manifest, "ledger").filter(pl.col("decision") != "reject")
    counts = ledger.group_by("content_digest").len().filter(pl.col("len") > 1)
    return set(counts.collect()["content_digest"]) - {EMPTY_DIGEST}


def _rank_ledgers(run: str, manifest: Manifest, priority: Sequence[str]) -> dict[str, int]:
    """Return the rank of each shard's split, from the names of the input files."""
    ranks = {}
    for output in list_outputs(manifest, "ledger"):
        source: str = read_table(run, output, ["source"]).column("source")[0].as_py()
        ranks[parse_path(output.path).shard] = rank_split(find_split(source), priority)
    return ranks
