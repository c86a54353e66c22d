"""`congener filter`: a corpus in; clean shards, quarantine, rejects, ledger, scores and a manifest out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

import apache_beam as beam

from classifiers.banks import Bank
from classifiers.models.checkpoints import choose_device
from classifiers.models.encoders import Encoder, EncoderConfig
from classifiers.scoring import load_scorer
from classifiers.signals.sequence_classifiers import SequenceClassifier
from pipelines.banks import prepare_bank, save_bank
from pipelines.config import FilterConfig, read_policy
from pipelines.display.progress import Reporter
from pipelines.engines.dataflow import require_ready
from pipelines.engines.launch import engine_options, engine_pipeline, handed_over
from pipelines.runs import unfinished
from pipelines.runs.cache import cache_folder
from pipelines.runs.lock import claimed
from pipelines.runs.publication import (
    LIMITS,
    check_budgets,
    circumstances,
    conservation,
    first_rejects,
    in_order,
    input_files,
    publish,
    settled_thresholds,
    totals,
    withdraw,
)
from pipelines.version import VERSION, package_versions
from schemas.corpora import FORMATS
from schemas.digests import digest_config
from schemas.errors import BudgetError, CardError, HandedOver, InputError
from schemas.manifests import Identity, Manifest
from schemas.outputs import CLEAN_EXTRA
from schemas.policies import Policy
from transforms.decide import DecideRecords, Rule, settle_rules
from transforms.duplicates import FindDuplicates
from transforms.files import object_stores, storage
from transforms.files.sources import Corpus, ShardPlan, plan_shards, require_columns, survey
from transforms.identify import IdentifyRecords
from transforms.read import ReadShards
from transforms.records.formats import Layout, settle_layout
from transforms.score import ScoreRecords, ScoringConfig, keep_scorer
from transforms.write import Receipt, WriteShards

CACHE_SECONDS = 3600.0
"""Temporary files in the cache that are older belong to no process any more."""


@dataclass(frozen=True)
class FilterPlan:
    """A run settled before any work: everything that could be wrong with it has been looked at."""

    config: FilterConfig
    policy: Policy
    corpus: Corpus
    layout: Layout
    bank: Bank
    rules: tuple[Rule, ...]
    tasks: tuple[tuple[ShardPlan, ...], ...]
    scoring: ScoringConfig
    device: str
    classifiers: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def shards(self) -> list[ShardPlan]:
        """Return the shards in corpus order."""
        return [plan for task in self.tasks for plan in task]

    @property
    def extra_column(self) -> bool:
        """Say whether clean rows carry the `congener` column: some rule may flag or mask."""
        actions = {
            action
            for rule in self.rules
            for action in (rule.action, *(item.action for item in rule.exceptions))
        }
        return bool(actions & {"flag", "mask"})

    def begun(self) -> unfinished.Begun:
        """Return what the run is begun with."""
        settings = {
            "config": self.config.identity(),
            "policy": self.policy.model_dump(mode="json"),
            "traits": {name: trait.card_digest[:16] for name, trait in self.bank.traits.items()},
        }
        return unfinished.Begun(self.identity().model_dump(mode="json"), settings)

    def identity(self) -> Identity:
        """Return all that decides the run's bytes."""
        return Identity(
            code_version=VERSION,
            config_digest=digest_config(self.config.identity()),
            policy_digest=digest_config(self.policy.model_dump(mode="json")),
            bank_digest=self.bank.digest,
            encoder=self.bank.encoder,
            computed_in=self.device.rpartition(", ")[2],
            classifiers=self.classifiers,
            packages=package_versions(),
            format=self.layout.format,
            columns=self.layout.columns,
            inputs=tuple(
                (source.name, source.rows, source.sha256) for source in self.corpus.sources
            ),
        )


def plan(config: FilterConfig, reporter: Reporter) -> FilterPlan:
    """Settle a run: survey the input, fit or load the bank, load the models, choose the thresholds.

    Raises: CongenerError: Anything is wrong with any of them; nothing has been written then.
    """
    policy = read_policy(config.policy)
    reporter.say(f"reading {', '.join(config.input)}")
    corpus = survey(config.input, config.shards)
    _require_apart(config.output, corpus)
    layout = settle_layout(corpus.schema, config.corpus)
    require_columns(corpus.sources, [layout.columns[name] for name in FORMATS[layout.format][0]])
    reporter.surveyed(corpus, layout)
    here = config.on_launcher()
    choose_device(
        here.hardware.device
    )  # a GPU that was asked for has to be there, also for a run that turns out to need no model
    bank, encoder = prepare_bank(here, policy, reporter)
    rules = settle_rules(bank, policy)
    scorer = load_scorer(bank, here.encoder_config(), encoder)
    model = encoder or next(iter(scorer.classifiers.values()), None)  # all are loaded alike
    scoring = ScoringConfig(
        storage.join(config.output, unfinished.BANK), bank.digest, _on_workers(config, model)
    )
    keep_scorer(scoring, scorer)
    device = _device(model, config)
    reporter.settled(bank, rules, policy, device)
    models = {
        name: {
            "model": model.files.name,
            "revision": model.files.revision,
            "weights_sha256": model.files.weights_sha256,
        }
        for name, model in scorer.classifiers.items()
    }
    settled = FilterPlan(
        config,
        policy,
        corpus,
        layout,
        bank,
        tuple(rules),
        tuple(plan_shards(corpus.sources, config.shards)),
        scoring,
        device,
        models,
    )
    _require_free_name(settled)
    _require_vectors(settled, encoder)
    return settled


def _on_workers(config: FilterConfig, model: Encoder | SequenceClassifier | None) -> EncoderConfig:
    """Return the models' settings for the workers: with the device and precision that were settled here, so that none falls back."""
    asked = config.encoder_config()
    if (
        model is None or config.engine.runner == "dataflow"
    ):  # which names both, since its launcher has no GPU
        return asked
    return replace(
        asked,
        device="cuda" if model.device.type == "cuda" else "cpu",
        precision="bf16" if model.dtype.itemsize == 2 else "fp32",
    )


def _device(model: Encoder | SequenceClassifier | None, config: FilterConfig) -> str:
    if model is None:
        return "no model"
    kind = config.hardware.device if config.engine.runner == "dataflow" else model.device.type
    return f"{kind}, {str(model.dtype).removeprefix('torch.')}"


def _require_outside(run: str, inputs: Sequence[str]) -> None:
    """Refuse an output inside an input folder: the next attempt would take what this one wrote for a part of the corpus."""
    for given in inputs:
        if storage.is_local(run) != storage.is_local(given) or (
            storage.is_local(given) and not Path(given).is_dir()
        ):
            continue
        above, below = (
            PurePath(Path(path).resolve() if storage.is_local(path) else path)
            for path in (given, run)
        )
        if below.is_relative_to(above) and not any(
            part.startswith((".", "_")) for part in below.relative_to(above).parts
        ):
            raise InputError(
                f"lies inside the input {given}",
                where=run,
                remedy="choose an --output outside, or name the input's files",
            )


def _require_apart(run: str, corpus: Corpus) -> None:
    """Refuse an input inside the output: a run would read what it wrote, and --restart would remove what it reads."""
    if not storage.is_local(run):
        return
    folder = Path(run).resolve()
    if inside := next(
        (
            s.uri
            for s in corpus.sources
            if storage.is_local(s.uri) and Path(s.uri).resolve().is_relative_to(folder)
        ),
        None,
    ):
        raise InputError(
            f"lies inside the output {run}",
            where=inside,
            remedy="choose an --output apart from the input, or name the input's files",
        )


def _require_free_name(settled: FilterPlan) -> None:
    if CLEAN_EXTRA.name in settled.corpus.schema.names:
        raise InputError(
            f"the corpus has a column {CLEAN_EXTRA.name!r} already",
            remedy="rename or drop it; it is the column that congener adds",
        )


def _require_vectors(settled: FilterPlan, encoder: Encoder | None) -> None:
    if settled.config.vectors and encoder is None:
        raise CardError(
            "vectors are asked for, and no trait of this run needs the encoder",
            remedy="leave --vectors out, or add a trait with exemplars or head",
        )


def run_filter(
    config: FilterConfig,
    restart: bool = False,
    command: Sequence[str] = (),
    beam_options: Sequence[str] = (),
) -> Manifest:
    """Filter a corpus into a run directory and return its manifest.

    Raises: CongenerError: The run can't be settled, resumed, or published within its budgets.
    """
    if not config.input or not config.output:
        raise CardError(
            "input and output are needed", remedy="congener filter --input CORPUS --output RUN"
        )
    if config.engine.runner == "dataflow":
        require_ready(config)
    if config.private_quarantine and not storage.is_local(config.output):
        raise CardError(
            "private_quarantine is for local disks",
            where=config.output,
            remedy="set the rights of the store's folders there",
        )
    object_stores.use_options(engine_options(config.engine, beam_options))
    _require_outside(config.output, config.input)
    config = config.placed()
    with Reporter() as reporter, claimed(config.output):
        unfinished.require_unfinished(config.output, restart)
        settled = plan(config, reporter)
        begun = settled.begun()
        reporter.remark(unfinished.open_run(config.output, begun, restart))
        storage.sweep(str(cache_folder()), CACHE_SECONDS)
        save_bank(settled.bank, settled.scoring.bank_uri)
        if config.private_quarantine:
            unfinished.keep_private(config.output)
        began = time.monotonic()
        done, remarks = unfinished.progress(config.output, begun, settled.shards)
        reporter.remark(remarks)
        reporter.begin(settled.shards, done, config.output if config.engine.elsewhere else None)
        execute(settled, done, beam_options)
        receipts = in_order(
            settled.shards, unfinished.progress(config.output, begun, settled.shards).done
        )
        manifest = manifest_of(settled, receipts, time.monotonic() - began, command)
        reporter.finish(manifest)
        reporter.remark(first_rejects(config.output, manifest.outputs))
        unfinished.require_ours(config.output, begun)
        reporter.remark(
            f"removed {path}, which is no part of this run"
            for path in unfinished.remove_strays(config.output, receipts)
        )
        if config.private_quarantine:
            unfinished.keep_private(config.output)
        return publish_within_budget(settled, manifest)


def execute(
    settled: FilterPlan, done: dict[str, Receipt], beam_options: Sequence[str] = ()
) -> None:
    """Run the pipeline over the tasks that have shards left to do.

    Raises: HandedOver: Nobody waits for its end.
    """
    tasks = [task for task in settled.tasks if any(shard.name not in done for shard in task)]
    if not tasks:
        return
    run, bank_uri = settled.config.output, settled.scoring.bank_uri
    run_id, accelerator = settled.begun().run_id, settled.config.engine.accelerator
    hints = {"accelerator": accelerator} if accelerator else {}
    with engine_pipeline(settled.config.engine, beam_options, f"congener-{run_id}") as pipeline:
        rows = (
            pipeline
            | "Read" >> ReadShards(tasks, settled.corpus.schema)
            | "Identify" >> IdentifyRecords(settled.layout)
        )
        duplicates = _duplicates(settled, pipeline)
        scored = rows | "Score" >> ScoreRecords(settled.scoring).with_resource_hints(**hints)
        decided = scored | "Decide" >> DecideRecords(settled.rules, duplicates)
        decided | "Write" >> WriteShards(
            run, bank_uri, settled.extra_column, settled.config.vectors, run_id
        )
    if handed_over(pipeline.options):
        raise HandedOver(
            "the job goes on by itself",
            where=run,
            remedy="the same command, given when it has ended, publishes the run",
        )


def _duplicates(settled: FilterPlan, pipeline: beam.Pipeline) -> beam.PCollection | None:
    """Find duplicates over the whole corpus, also over the shards that an earlier attempt has done; the rows are read once more."""
    if settled.policy.duplicates == "keep":
        return None
    rows = pipeline | "ReadForDuplicates" >> ReadShards(settled.tasks, settled.corpus.schema)
    return (
        rows
        | "IdentifyForDuplicates" >> IdentifyRecords(settled.layout)
        | "Duplicates" >> FindDuplicates()
    )


def manifest_of(
    settled: FilterPlan, receipts: Sequence[Receipt], seconds: float, command: Sequence[str]
) -> Manifest:
    """Describe the finished run."""
    identity = settled.identity()
    return Manifest(
        run_id=unfinished.run_id(identity.model_dump(mode="json")),
        identity=identity,
        config=settled.config.identity(),
        policy=settled.policy.model_dump(mode="json"),
        thresholds=settled_thresholds(
            settled.rules,
            {name: trait.calibrated_on for name, trait in settled.bank.traits.items()},
        ),
        inputs=input_files(settled.corpus),
        conservation=conservation(settled.corpus, receipts),
        limits=LIMITS,
        circumstances=circumstances(seconds, receipts, settled.device, command),
        **totals(receipts),
    )


def publish_within_budget(settled: FilterPlan, manifest: Manifest) -> Manifest:
    """Publish a run, or take everything back if it goes over its budget.

    Raises: BudgetError: It does.
    """
    try:
        check_budgets(manifest.conservation, settled.policy)
    except BudgetError:
        withdraw(settled.config.output)
        raise
    return publish(settled.config.output, manifest)
