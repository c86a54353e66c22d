"""The plan of a run, whose settings are checked before any work begins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from classifiers.banks import Bank
from classifiers.models.interface import EncoderConfig
from classifiers.scoring import load_scorer
from pipelines.banks import choose_traits, fit_traits
from pipelines.chosen_traits import require_vectors
from pipelines.config import FilterConfig, is_blank, read_policy
from pipelines.corpus_sample import draw_answers
from pipelines.coverage import check_unread, describe_sample, measure_sample, needs_english
from pipelines.label_effects import describe_labels
from pipelines.named_rows import find_named_rows
from pipelines.notices import (
    describe_comparison,
    describe_corpus,
    describe_long_texts,
    describe_settings,
    describe_sides,
    describe_single_rows,
    describe_speakers,
    describe_split_priority,
    describe_transcripts,
    describe_unknown_teachers,
)
from pipelines.runs.parent_policies import describe_parent_policies
from pipelines.runs.parents import describe_parents, find_parents, require_notes
from pipelines.runs.unfinished import RunRecord, compute_run_id
from pipelines.sentences import describe_limit
from pipelines.version import INTERPRETER, VERSION, find_package_versions
from pipelines.worth import CHECK, FIT_AGAIN, describe_worth
from schemas.corpora import FORMATS
from schemas.coverage import Coverage
from schemas.digests import digest_config
from schemas.errors import InputError, RunError
from schemas.events import Listener, Noticed
from schemas.manifests import Identity, Manifest
from schemas.notices import Notice, list_names, warn
from schemas.policies import Policy, list_row_names
from schemas.runs import BANK, WORK
from transforms.digest_keys import settle_key
from transforms.files import storage
from transforms.files.conversions import settle_columns
from transforms.files.documents import explain_documents
from transforms.files.kinds import TABLES
from transforms.files.locations import ignores_case
from transforms.files.planning import ShardPlan, plan_shards
from transforms.files.samples import Sample, read_sample, take_values
from transforms.files.sources import Corpus, limit_rows, require_columns, survey
from transforms.files.stems import find_folders_alike
from transforms.records.formats import Layout, list_paths, settle_layout
from transforms.records.sides import find_unread_labels, settle_labels, settle_sides
from transforms.records.transcripts import choose_columns, measure_transcripts
from transforms.rules import Rule, find_span_floor, settle_rules
from transforms.score import ScoringConfig, keep_scorer

if TYPE_CHECKING:
    from classifiers.models.encoders import Encoder
    from classifiers.signals.sequence_classifiers import SequenceClassifier


@dataclass(frozen=True)
class FilterPlan:
    """A settled run."""

    config: FilterConfig
    policy: Policy
    corpus: Corpus
    layout: Layout
    sampled: Coverage
    """The text that the traits read in a sample."""
    bank: Bank
    rules: tuple[Rule, ...]
    tasks: tuple[tuple[ShardPlan, ...], ...]
    encoder: EncoderConfig
    """The workers' model settings, with the launcher's device and precision."""
    device: str
    columns: pa.Schema | None = None
    """The columns of Parquet output for JSON Lines input."""
    classifiers: dict[str, dict[str, Any]] = field(default_factory=dict)
    parents: tuple[str, ...] = ()
    """The ids of the runs whose clean rows are the input."""
    earlier: Manifest | None = None
    """The run whose scores and counts of text are used again, or None for rows to score."""
    earlier_folder: str | None = None
    """Where that run is."""

    @property
    def shards(self) -> list[ShardPlan]:
        """Return the shards in corpus order."""
        return [plan for task in self.tasks for plan in task]

    @property
    def row_names(self) -> frozenset[str]:
        """Return the names of the rows that the policy names."""
        return list_row_names(self.policy.exceptions)

    @property
    def extra_column(self) -> bool:
        """Return whether some rule can flag or mask, which needs the `congener` column."""
        sides = self.layout.sides
        return any(rule.list_actions(sides) & {"flag", "mask"} for rule in self.rules)

    @property
    def read_schema(self) -> pa.Schema:
        """Return the schema for reading rows.

        For JSON Lines, the schema has only the needed columns.
        """
        return self.corpus.select_schema(self.layout)

    @property
    def span_floor(self) -> float:
        """Return the lowest score whose spans are stored."""
        return find_span_floor(self.config.span_floor, self.rules)

    @property
    def record(self) -> RunRecord:
        """Return the identity and the settings that a run records at its start."""
        settings = {
            "config": self.config.select_identity(),
            "policy": self.policy.model_dump(mode="json"),
            "traits": {name: trait.card_digest[:16] for name, trait in self.bank.traits.items()},
        }
        return RunRecord(self.identity.model_dump(mode="json"), settings)

    @cached_property
    def identity(self) -> Identity:
        """Return everything that determines the run's bytes."""
        return Identity(
            code_version=VERSION,
            config_digest=digest_config(self.config.select_identity()),
            policy_digest=digest_config(self.policy.model_dump(mode="json")),
            bank_digest=self.bank.digest,
            encoder=self.bank.encoder,
            computed_in=self.device.rpartition(", ")[2],
            classifiers=self.classifiers,
            packages={**find_package_versions(), **INTERPRETER},
            format=self.layout.format,
            columns=self.layout.columns,
            transcripts=self.layout.transcripts,
            digest_key=None if self.layout.digest_key is None else self.layout.digest_key.check,
            dataset_card=None if self.corpus.card is None else self.corpus.card.list_files(),
            inputs=tuple((item.name, item.rows, item.sha256) for item in self.corpus.sources),
        )

    @cached_property
    def run_id(self) -> str:
        """Return the run's id."""
        return compute_run_id(self.identity.model_dump(mode="json"))

    @property
    def scoring(self) -> ScoringConfig:
        """Return a worker's configuration for scoring."""
        return ScoringConfig(
            bank_uri=storage.join(self.config.output, BANK),
            bank_digest=self.bank.digest,
            encoder=self.encoder,
            span_floor=self.span_floor,
            channel=self.run_id,
        )


class SettledInput(NamedTuple):
    """A surveyed corpus, and how its rows are read.

    `policy` has the places of the rows that it names.
    """

    policy: Policy
    corpus: Corpus
    layout: Layout
    sample: Sample
    tasks: tuple[tuple[ShardPlan, ...], ...]
    columns: pa.Schema | None
    """The columns of Parquet output for JSON Lines input."""
    parents: dict[str, str]
    """The folders and ids of the runs whose clean rows are the input."""

    def list_parents(self) -> tuple[str, ...]:
        """Return the ids of the runs whose clean rows are the input."""
        return tuple(dict.fromkeys(self.parents.values()))


def settle(config: FilterConfig, listener: Listener) -> FilterPlan:
    """Settle a run: survey the input, fit or load the bank, load the models, settle thresholds.

    What can be refused is refused before a model is loaded and anything is fitted.

    Raises: CongenerError: a step fails. Nothing has been written to the output.
    """
    policy = read_policy(config.policy)
    if config.policy and is_blank(config.policy):
        text = f"the policy {config.policy} is empty, so every trait follows its card"
        listener(Noticed(warn(text)))
    listener(Noticed(Notice(f"reading {list_names(config.input)}", is_recorded=False)))
    paths = list_paths(config.corpus)
    found = settle_input(config, policy, survey(config.input, config.shards, paths), listener)
    policy, tasks = found.policy, found.tasks
    corpus, layout, sample = found.corpus, found.layout, found.sample
    if config.teacher_answers:
        from pipelines.ancestry.declared import check_teachers

        _send(listener, check_teachers(config.teacher_answers, corpus, layout, tasks))
    here = config.for_launcher()
    if here.hardware.device == "cuda":
        _require_gpu()  # a missing GPU is an error even if the run needs no model
    draw = partial(draw_answers, corpus, layout, tasks)
    chosen = choose_traits(here, policy, listener, draw)
    require_vectors(config, chosen.list_cards())
    sampled = measure_sample(sample, corpus, layout, chosen.list_cards(), policy)
    is_english = needs_english(chosen.list_cards())
    _send(listener, describe_sample(sampled, sample.describe(), wants_english=is_english))
    check_unread(sampled, policy.unread_budget)
    bank, encoder, fit = fit_traits(chosen, here, listener)
    require_vectors(config, [trait.card for trait in bank.traits.values()])  # a fit may drop one
    rules = settle_rules(bank.traits, policy)
    scorer = load_scorer(bank, here.build_encoder_config(), encoder)
    model = encoder or next(iter(scorer.classifiers.values()), None)  # all use the same device
    settled = FilterPlan(
        config=config,
        policy=policy,
        corpus=corpus,
        layout=layout,
        sampled=sampled,
        bank=bank,
        rules=tuple(rules),
        tasks=tasks,
        encoder=settle_models(config, model),
        device=describe_device(model, config),
        columns=found.columns,
        classifiers={name: model.files.identity for name, model in scorer.classifiers.items()},
        parents=found.list_parents(),
    )
    keep_scorer(settled.scoring, scorer)
    _send(listener, describe_parent_policies(found.parents, policy, rules, config.output))
    _send(listener, describe_settings(bank, rules, policy, settled.device))
    command = FIT_AGAIN if config.background else CHECK
    _send(listener, describe_worth(rules, scorer, fit, config.traits, command))
    _send(listener, describe_labels(bank))
    return settled


def settle_input(
    config: FilterConfig, policy: Policy, corpus: Corpus, listener: Listener
) -> SettledInput:
    """Settle how a surveyed corpus is read: its rows, columns, turns and shards.

    Raises: CongenerError: the corpus doesn't fit the configuration.
    """
    corpus, layout = _settle_corpus(config, corpus)
    _send(listener, describe_corpus(corpus, layout))
    _send(listener, describe_unknown_teachers(corpus, layout))
    if part := describe_limit(corpus):
        listener(Noticed(Notice(f"limit: {part}")))
    sample = read_sample(corpus, layout, config.shards)
    require_notes(corpus, sample)
    parents = find_parents(corpus.sources)
    _send(listener, describe_parents(parents, corpus, sample))
    layout = _settle_turns(config, corpus, layout, sample, listener)
    if policy.duplicates == "remove":
        listener(Noticed(describe_comparison(corpus, layout)))
        _send(listener, describe_split_priority(corpus, policy))
    tasks = tuple(plan_shards(corpus.sources, config.shards))
    _require_distinct_folders(config.output, tasks)
    policy = find_named_rows(policy, corpus, tasks)
    columns = _settle_columns(config, corpus, layout, tasks)
    return SettledInput(policy, corpus, layout, sample, tasks, columns, parents)


def _settle_turns(
    config: FilterConfig, corpus: Corpus, layout: Layout, sample: Sample, listener: Listener
) -> Layout:
    """Settle from a sample which labels decide and which columns are cut, and describe both."""
    unread = take_values(sample, find_unread_labels(corpus.schema, layout))
    layout = settle_labels(layout, unread)
    _send(listener, describe_sides(corpus, layout, sample))
    _send(listener, describe_speakers(corpus, layout, sample))
    shares = measure_transcripts([shard.table for shard in sample.shards], layout)
    layout = layout._replace(transcripts=choose_columns(shares, config.corpus.transcripts))
    _send(listener, describe_transcripts(shares, layout, sample))
    _send(listener, describe_single_rows(layout, sample))
    _send(listener, describe_long_texts(layout, sample))
    return layout


def _settle_columns(
    config: FilterConfig, corpus: Corpus, layout: Layout, tasks: Sequence[Sequence[ShardPlan]]
) -> pa.Schema | None:
    if config.output_format != "parquet" or corpus.sources[0].kind in TABLES:
        return None
    return settle_columns(tasks, corpus.select_schema(layout))


def _send(listener: Listener, notices: Iterator[Notice]) -> None:
    for notice in notices:
        listener(Noticed(notice))


def _settle_corpus(config: FilterConfig, corpus: Corpus) -> tuple[Corpus, Layout]:
    if config.limit is not None:
        corpus = limit_rows(corpus, config.limit)
    _require_apart(config.output, corpus)
    layout = _settle_layout(config, corpus)
    layout = settle_sides(corpus.schema, layout, config.corpus.teacher is not None)
    layout = layout._replace(digest_key=settle_key(config.digest_key))
    require_columns(corpus.sources, [layout.columns[name] for name in FORMATS[layout.format][0]])
    return corpus, layout


def _settle_layout(config: FilterConfig, corpus: Corpus) -> Layout:
    """Settle the layout. An error names the files.

    Raises: InputError: no format fits, or a file is a single object that contains the rows.
    """
    try:
        return settle_layout(corpus.schema, config.corpus, corpus.folder_columns)
    except InputError as error:
        if explained := explain_documents(corpus.sources, config.shards):
            raise explained from error
        first, *more = (source.uri for source in corpus.sources)
        where = f"{first} and {len(more)} more" if more else first
        raise InputError(error.problem, where=where, remedy=error.remedy) from error


def _require_gpu() -> None:
    from classifiers.models.loading import choose_device

    choose_device("cuda")


def settle_models(
    config: FilterConfig, model: Encoder | SequenceClassifier | None
) -> EncoderConfig:
    """Record the device and precision in use, so that workers can't use others."""
    asked = config.build_encoder_config()
    if model is None or config.engine.runner == "dataflow":
        return asked  # a Dataflow run sets both, because the launcher may lack the GPU
    return replace(
        asked,
        device="cuda" if model.device.type == "cuda" else "cpu",
        precision="bf16" if model.dtype.itemsize == 2 else "fp32",
    )


def describe_device(model: Encoder | SequenceClassifier | None, config: FilterConfig) -> str:
    """Name the models' device and floating-point type."""
    if model is None:
        return "no model"
    on_dataflow = config.engine.runner == "dataflow"
    kind = config.hardware.device if on_dataflow else model.device.type
    return f"{kind}, {str(model.dtype).removeprefix('torch.')}"


def _require_apart(run: str, corpus: Corpus) -> None:
    """Refuse an input inside the output, which a run could read again or remove."""
    if not storage.is_local(run):
        return
    folder = Path(run).resolve()
    for source in corpus.sources:
        if storage.is_local(source.uri) and Path(source.uri).resolve().is_relative_to(folder):
            raise InputError(
                f"is inside the output {run}",
                where=source.uri,
                remedy="choose an --output outside the input, or name the input's files",
            )


def _require_distinct_folders(run: str, tasks: Iterable[Sequence[ShardPlan]]) -> None:
    """Refuse folders of `clean/` that would be one folder on the output's disk.

    `verify` would miss one of them, and a split would take in the rows of another.

    Raises: RunError: the disk ignores case, and two folders differ only in case.
    """
    alike = find_folders_alike(shard.stem for task in tasks for shard in task)
    if alike and storage.is_local(run) and ignores_case(storage.join(run, WORK)):
        raise RunError(
            f"is on a disk that ignores case, where the input's folders {alike[0]!r} and "
            f"{alike[1]!r} would be one folder",
            where=run,
            remedy="rename one of the two folders, or choose an --output on another disk",
        )
