"""`congener filter`: turn a corpus into a run with clean shards, quarantine, ledger and manifest.

The command has four steps: settle (pipelines/plan.py), open, execute, publish.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam

from pipelines.banks import save_bank
from pipelines.canaries import (
    Planted,
    check_canaries,
    count_canaries,
    describe_canaries,
    find_outcomes,
    settle_canaries,
)
from pipelines.config import FilterConfig, require_local_path
from pipelines.coverage import check_unread, complete_coverage, describe_rest, needs_english
from pipelines.disputed_rows import describe_disputed, find_disputed
from pipelines.early_checks import check_folder, check_settings
from pipelines.engines.launch import build_engine_options, is_handed_over, open_pipeline
from pipelines.labels import read_files
from pipelines.notices import warn_of_unscored
from pipelines.plan import FilterPlan, settle
from pipelines.runs import clean_cards, publication, remarks, unfinished
from pipelines.runs.cache import sweep_cache
from pipelines.runs.foreign_files import remove_strays, require_no_foreign_data
from pipelines.runs.idle_exceptions import warn_of_idle
from pipelines.runs.likeness import warn_of_unlike
from pipelines.runs.lock import lock_run
from pipelines.runs.parents import find_parents
from pipelines.runs.run_inputs import require_corpus
from pipelines.runs.taken_again import describe_taken_again
from pipelines.runs.watching import plan_rows, watch_receipts
from pipelines.sentences import list_code_limits, list_limits
from schemas.cards import TraitCard
from schemas.coverage import Coverage
from schemas.errors import BudgetError, HandedOver
from schemas.events import Event, Listener, Noticed, RunSummarised, ignore
from schemas.manifests import Manifest
from schemas.notices import Notice, choose_form, format_count
from schemas.receipts import Output, Receipt
from schemas.swaps import PARENT_FOLDER
from transforms.canaries import CountCanaries, is_canary, is_of_corpus
from transforms.decide import DecideRecords
from transforms.duplicates import FindDuplicates
from transforms.files import object_stores
from transforms.identify import IdentifyRecords
from transforms.listeners import listen_to
from transforms.read import ReadShards
from transforms.score import ScoreRecords
from transforms.write import Destination, WriteShards


class NoticeRecorder:
    """Passes events on to a listener, and keeps the notices for the manifest."""

    def __init__(self, listener: Listener) -> None:
        self.notices: list[Notice] = []
        self._listener = listener

    def __call__(self, event: Event) -> None:
        """Handle an event."""
        if isinstance(event, Noticed):
            self.notices.append(event.notice)
        self._listener(event)


NOTHING_DONE = "resuming: no shard of up to {limit} was finished, so it starts at the first row"
"""What is said of an interrupted run that was stopped inside its first shards."""


class OpenedRun(NamedTuple):
    """A settled run with an open directory.

    `done` maps finished shards to receipts. `began` is when work began. `planted` are the canaries.
    """

    plan: FilterPlan
    done: dict[str, Receipt]
    began: float
    planted: Planted | None = None


Build = Callable[[beam.Pipeline, FilterPlan, Sequence[Any]], None]
"""A function that adds the stages for some tasks to a pipeline."""


def run_filter(
    config: FilterConfig,
    restart: bool = False,
    command: Sequence[str] = (),
    beam_options: Sequence[str] = (),
    listener: Listener = ignore,
) -> Manifest:
    """Filter a corpus into a run directory, and return the manifest.

    `listener` receives notices and progress. The manifest records `command`.

    Raises: CongenerError: the run can't be settled, resumed, or published within its budgets.
    """
    config = _prepare_settings(config, beam_options)
    recorder = NoticeRecorder(listener)
    with lock_run(config.output):
        unfinished.require_unfinished(config.output, restart, config)
        check_folder(config, restart)
        settled = settle(config, recorder)
        planted = settle_canaries(settled)
        opened = open_run(settled, restart, recorder)._replace(planted=planted)
        execute(opened, beam_options, recorder)
        return publish(opened, command, recorder)


def plan_run(
    config: FilterConfig, beam_options: Sequence[str] = (), listener: Listener = ignore
) -> FilterPlan:
    """Settle a run without writing anything.

    Raises: CongenerError: the run can't be settled.
    """
    return settle(_prepare_settings(config, beam_options), listener)


def _prepare_settings(config: FilterConfig, beam_options: Sequence[str]) -> FilterConfig:
    """Check the settings, and make paths absolute for workers."""
    check_settings(config, beam_options)
    require_corpus(config.input)
    object_stores.use_options(build_engine_options(config.engine, beam_options))
    return config.with_absolute_paths()


def open_run(plan: FilterPlan, restart: bool, listener: Listener) -> OpenedRun:
    """Begin or resume a run, and store the bank there.

    Raises: RunError: the directory holds a different run or foreign folders.
    """
    run = plan.config.output
    is_begun = not restart and unfinished.is_begun(run)
    _send(listener, unfinished.open_run(run, plan.record, restart))
    sweep_cache()
    save_bank(plan.bank, plan.scoring.bank_uri)
    if plan.config.private_quarantine:
        unfinished.keep_private(run)
    began = time.monotonic()
    done, notices = unfinished.find_finished_shards(run, plan.record, plan.shards)
    _send(listener, notices)
    if done:
        shards = format_count(len(plan.shards), "shard")
        verb = choose_form(len(done), "is", "are")
        listener(Noticed(Notice(f"resuming: {len(done)} of {shards} {verb} done")))
    elif is_begun:
        limit = format_count(plan.config.shards.rows, "row")
        listener(Noticed(Notice(NOTHING_DONE.format(limit=limit))))
    return OpenedRun(plan, done, began)


def _send(listener: Listener, notices: Iterable[Notice]) -> None:
    for notice in notices:
        listener(Noticed(notice))


def execute(
    opened: OpenedRun,
    beam_options: Sequence[str] = (),
    listener: Listener = ignore,
    build: Build | None = None,
) -> None:
    """Run the pipeline on the tasks with unfinished shards.

    `build` adds the stages, by default those of `filter`.

    Raises: HandedOver: the job continues without this process.
    """
    plan, done, _, planted = opened
    tasks = [task for task in plan.tasks if any(shard.name not in done for shard in task)]
    listener(plan_rows(plan.shards, done, (shard for task in tasks for shard in task)))
    waiting = planted if planted and find_outcomes(plan.config.output, planted) is None else None
    if not (tasks or waiting):
        return
    run, engine = plan.config.output, plan.config.engine
    is_elsewhere = engine.runner != "local"
    with (
        listen_to(plan.run_id, listener),
        watch_receipts(run, plan.shards, listener, done) if is_elsewhere else nullcontext(),
        open_pipeline(engine, beam_options, f"congener-{plan.run_id}") as pipeline,
    ):
        (build or partial(build_pipeline, planted=waiting))(pipeline, plan, tasks)
    if is_handed_over(pipeline.options):
        raise HandedOver(
            "the job is running without this process",
            where=run,
            remedy="when it has ended, the same command publishes the run",
        )


def build_pipeline(
    pipeline: beam.Pipeline,
    plan: FilterPlan,
    tasks: Sequence[Any],
    planted: Planted | None = None,
) -> None:
    """Add the stages to a pipeline: read, identify, score, decide, write.

    Canaries pass through the same stages as the rows of the corpus, and are counted at the end.
    """
    to = choose_destination(plan)
    accelerator = plan.config.engine.accelerator
    hints = {"accelerator": accelerator} if accelerator else {}
    rows = pipeline | "Read" >> ReadShards(tasks, plan.read_schema)
    if planted is not None:
        rows = (rows, pipeline | "Plant" >> beam.Create(planted.shards)) | beam.Flatten()
    identified = rows | "Identify" >> IdentifyRecords(plan.layout, plan.row_names)
    repeats = _find_duplicates(plan, pipeline)
    scored = identified | "Score" >> ScoreRecords(plan.scoring).with_resource_hints(**hints)
    decided = scored | "Decide" >> DecideRecords(plan.rules, repeats, plan.policy.exceptions)
    if planted is not None:
        canaries = decided | "Canaries" >> beam.Filter(is_canary)
        canaries | "Count" >> CountCanaries(to.run, planted.digest)
        decided = decided | "Corpus" >> beam.Filter(is_of_corpus)
    decided | "Write" >> WriteShards(to)


def choose_destination(plan: FilterPlan) -> Destination:
    """Return where and how a run's shards are written."""
    return Destination(
        run=plan.config.output,
        bank_uri=plan.scoring.bank_uri,
        extra_column=plan.extra_column,
        vectors=plan.config.vectors,
        run_id=plan.run_id,
        output_format=plan.config.output_format,
        schema=plan.columns,
    )


def _find_duplicates(plan: FilterPlan, pipeline: beam.Pipeline) -> beam.PCollection | None:
    """Find duplicates in the whole corpus, including finished shards."""
    if plan.policy.duplicates == "keep":
        return None
    rows = pipeline | "ReadForDuplicates" >> ReadShards(plan.tasks, plan.read_schema)
    identified = rows | "IdentifyForDuplicates" >> IdentifyRecords(plan.layout, plan.row_names)
    return identified | "Duplicates" >> FindDuplicates(plan.rules, plan.policy.split_priority)


def publish(opened: OpenedRun, command: Sequence[str], listener: NoticeRecorder) -> Manifest:
    """Write the manifest if every row is accounted for and the budgets hold.

    Raises: BudgetError: the run is over a budget, or an input file has only rejects. The run is
    removed. Raises: RunError: shards are missing, another process has replaced the run, or there is
    foreign data in its folders.
    """
    plan, run = opened.plan, opened.plan.config.output
    receipts = publication.order_receipts(
        plan.shards, unfinished.find_finished_shards(run, plan.record, plan.shards).receipts
    )
    outputs = [output for receipt in receipts for output in receipt.outputs]
    outputs += publication.list_bank(plan.bank)
    outputs += publication.write_calibration(run, plan.bank)
    card = clean_cards.write_card(run, plan.corpus, plan.shards, outputs, receipts)
    outputs += card.outputs
    manifest = describe_run(opened, receipts, outputs, command)
    if opened.planted is not None:
        record = count_canaries(plan, opened.planted)
        manifest = manifest.model_copy(update={"canaries": record})
        _send(listener, describe_canaries(record))
    calibration = {name: trait.calibration for name, trait in plan.bank.traits.items()}
    unlike = list(warn_of_unlike(run, manifest, calibration))
    listener(RunSummarised(publication.record_notices(manifest, unlike)))
    _report_outcome(plan, manifest, receipts, listener)
    _send(listener, [*unlike, *card.notices])
    unfinished.require_ours(run, plan.record)
    strays = remove_strays(run, manifest.outputs)
    _send(listener, (Notice(f"removed {path}, which isn't part of this run") for path in strays))
    require_no_foreign_data(run, manifest.outputs)
    if plan.config.private_quarantine:
        unfinished.keep_private(run)
    try:
        shortened = [item.name for item in plan.corpus.sources if item.rows_left_out]
        publication.check_sources(run, manifest.inputs, manifest.outputs, shortened)
        publication.check_budgets(manifest.conservation, plan.policy)
        check_unread(manifest.coverage, plan.policy.unread_budget)
        if manifest.canaries is not None:
            check_canaries(manifest.canaries)
    except BudgetError as error:
        stopped = manifest.model_copy(update={"withdrawn": publication.explain_withdrawal(error)})
        stopped = publication.record_notices(stopped, listener.notices)
        _send(listener, publication.withdraw_run(run, stopped))
        raise
    many_rejects = list(publication.warn_of_many_rejects(manifest))
    manifest = publication.record_notices(manifest, [*listener.notices, *many_rejects])
    sealed = publication.publish_manifest(run, manifest)
    _send(listener, many_rejects)
    _send(listener, publication.remove_work(run))
    return sealed


def _report_outcome(
    plan: FilterPlan, manifest: Manifest, receipts: Sequence[Receipt], listener: Listener
) -> None:
    """Say what a person must know about a run whose rows are all decided."""
    run = plan.config.output
    _send(listener, warn_of_unscored(manifest))
    is_english = needs_english(map(TraitCard.model_validate, manifest.cards.values()))
    counts = manifest.conservation
    rows = counts.rows_in - counts.by_decision.get("reject", 0)
    _send(listener, describe_rest(plan.sampled, manifest.coverage, rows, wants_english=is_english))
    _send(listener, publication.describe_rejects(run, manifest.outputs))
    _send(listener, publication.warn_of_lost_splits(plan.shards, manifest.outputs))
    _send(listener, remarks.describe_prompts(receipts))
    _send(listener, publication.warn_of_unmatched(run, manifest, plan.policy))
    _send(listener, warn_of_idle(run, manifest, plan.policy))
    _send(listener, remarks.describe_still_masked(manifest))
    _send(listener, describe_taken_again(run, manifest, find_parents(plan.corpus.sources)))
    _send(listener, _describe_disputed(plan, manifest))
    _send(listener, publication.describe_findings(run, manifest))
    _send(listener, remarks.describe_doubts(manifest))


def _describe_disputed(plan: FilterPlan, manifest: Manifest) -> Iterator[Notice]:
    """Count the findings that the labels deny, and that count all the same."""
    config = plan.config
    if not config.labels:
        return
    labels = read_files(map(require_local_path, config.labels))
    is_elsewhere = config.labels_on or config.labels_run
    found = find_disputed(config.output, manifest, labels, "", by_place=not is_elsewhere)
    yield from describe_disputed(found, config.output, config.labels)


def describe_run(
    opened: OpenedRun,
    receipts: Sequence[Receipt],
    outputs: Sequence[Output],
    command: Sequence[str],
) -> Manifest:
    """Describe the finished run in a manifest."""
    plan = opened.plan
    calibrated_on = {name: trait.calibrated_on for name, trait in plan.bank.traits.items()}
    seconds = time.monotonic() - opened.began
    sums = publication.sum_receipts(receipts, plan.policy)
    circumstances = publication.describe_circumstances(
        seconds, receipts, plan.device, command, plan.config.operator, opened.done
    )
    limits = list_limits(plan.corpus, plan.bank.traits, sums["notes"].masked)
    if plan.earlier is not None:
        circumstances |= {"decided_from": plan.earlier.run_id, PARENT_FOLDER: plan.earlier_folder}
        limits = (*limits, *list_code_limits(plan.earlier, plan.identity))
    return Manifest(
        run_id=plan.run_id,
        identity=plan.identity,
        config=plan.config.select_identity(),
        policy=plan.policy.model_dump(mode="json"),
        thresholds=publication.describe_thresholds(plan.rules, calibrated_on),
        inputs=publication.describe_inputs(plan.corpus),
        outputs=tuple(outputs),
        conservation=publication.count_decisions(plan.corpus, receipts),
        coverage=_count_coverage(plan, receipts),
        span_floor=plan.span_floor,
        cards={
            name: trait.card.model_dump(mode="json", exclude_none=True)
            for name, trait in plan.bank.traits.items()
        },
        limits=limits,
        parents=plan.parents,
        circumstances=circumstances,
        **sums,
    )


def _count_coverage(plan: FilterPlan, receipts: Sequence[Receipt]) -> Coverage:
    """Return the coverage of all rows, counted now or by the run whose scores are used again."""
    if plan.earlier is None:
        return complete_coverage(plan.sampled, receipts)
    counted = plan.earlier.coverage
    names = ("turns", "languages", "characters")
    return plan.sampled.model_copy(update={name: getattr(counted, name) for name in names})
