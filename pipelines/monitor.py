"""`congener monitor`: a new generation of a corpus against the earlier ones of its history."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, field_validator

from classifiers.lots.confirmation import bound_rate
from classifiers.lots.drift import Drift
from classifiers.lots.inventories import MOST_TEXTS, take_inventory
from classifiers.lots.samples import LotSample
from classifiers.lots.trends import WINDOW
from pipelines.auditing.corpora import LEVEL, AuditedCorpus, settle_corpus
from pipelines.config import make_absolute
from pipelines.engines.interface import Engine
from pipelines.engines.launch import build_engine_options, open_pipeline
from pipelines.monitoring.history import (
    Generation,
    add_generation,
    find_same,
    read_history,
    require_history,
    write_results,
)
from pipelines.monitoring.pages import render_page
from pipelines.monitoring.teacher_counts import count_by_teacher
from pipelines.monitoring.teachers import (
    Changed,
    GenerationComparison,
    compare_generations,
    describe_teachers,
)
from pipelines.runs.lock import lock_run
from pipelines.teacher_shares import name_teacher
from pipelines.version import VERSION
from schemas.cards import Strict
from schemas.corpora import CorpusConfig, ShardLimits
from schemas.digests import digest_bytes
from schemas.errors import CardError, InputError
from schemas.events import Listener, Noticed, ignore
from schemas.histories import CHANGES
from schemas.notices import Notice, format_count, list_names, warn
from schemas.runs import WORK
from transforms.files import object_stores, storage
from transforms.files.locations import describe_unusable, expand_home, expand_input
from transforms.identify import IdentifyRecords
from transforms.lot_records import LOT_NAMES
from transforms.lot_samples import GatherCorpus, Gathered, build_sample
from transforms.read import ReadShards
from transforms.records.formats import settle_layout

FEWEST_TEXTS = 16
"""The fewest texts that a generation needs."""

SAMPLE = f"{WORK}/sample.arrow"

LONGEST_NAME = 60

ABSENT = {"documents": None, "texts": 0, "rate": 0.0, "low": 0.0, "high": 1.0}
"""The rate in a generation that has no texts of the teacher within which was compared."""


class MonitorConfig(Strict):
    """The settings of `congener monitor`.

    `level` is the chance of reporting a change in the new generation where nothing changed. With
    `is_recorded`, the new generation becomes part of the history. If `only_teachers` names any,
    only their rows count.
    """

    corpus: tuple[str, ...]
    history: str
    name: str = Field(min_length=1, max_length=LONGEST_NAME)
    level: float = Field(LEVEL, gt=0, lt=1)
    is_recorded: bool = True
    only_teachers: tuple[str, ...] = ()
    layout: CorpusConfig = CorpusConfig()
    shards: ShardLimits = ShardLimits()
    engine: Engine = Engine()

    @field_validator("corpus")
    @classmethod
    def _expand_inputs(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(expand_input(path) for path in paths)

    @field_validator("history")
    @classmethod
    def _expand_history(cls, path: str) -> str:
        return expand_home(path)


class Monitored(NamedTuple):
    """A generation that was compared with the earlier ones.

    `generations` are all of them with the new one, which is the last. `is_new` says whether it was
    added to the history now. Without an earlier generation, `found` is None.
    """

    config: MonitorConfig
    generations: tuple[Generation, ...]
    found: GenerationComparison | None
    is_new: bool

    @property
    def changes(self) -> list[Drift]:
        """Return what changed, the most telling changes first."""
        return [item.drift for item in self.found.changes] if self.found else []

    @property
    def differs(self) -> bool:
        """Return whether anything changed."""
        return bool(self.changes)

    def to_json(self) -> dict[str, Any]:
        """Return everything for machines. It is also what the history keeps."""
        newest = self.generations[-1]
        compared = self.found.teachers if self.found else None
        return {
            "differs": self.differs,
            "level": self.config.level,
            "generation": newest.number,
            "name": newest.name,
            "generations": [
                {"number": item.number, "name": item.name, "texts": item.texts}
                for item in self.generations
            ],
            "notes": describe_teachers(self.generations, self.config.only_teachers),
            "within_teachers": None if compared is None else list(compared),
            "candidates": self.found.candidates if self.found else 0,
            "detectable": [item._asdict() for item in (self.found.reach if self.found else ())],
            "changes": [
                self._describe(item) for item in (self.found.changes if self.found else [])
            ],
            "version": VERSION,
        }

    def _describe(self, found: Changed) -> dict[str, Any]:
        drift = found.drift
        known = {
            item.number: describe_rate(item, count)
            for item, count in zip(found.generations, drift.counts, strict=True)
        }
        recent = self.generations[-WINDOW:]
        slope = drift.slope._asdict() if drift.slope else {"value": None, "low": None, "high": None}
        return {
            "change": drift.change,
            "kind": drift.kind,
            "text": drift.text,
            "p_value": drift.p_value,
            "q_value": drift.q_value,
            "slope": slope["value"],
            "slope_low": slope["low"],
            "slope_high": slope["high"],
            "log_odds_low": drift.rank,
            "variants": list(drift.variants),
            "rates": [
                known.get(item.number, ABSENT | {"generation": item.name}) for item in recent
            ],
            "teacher": found.teacher,
            "plain": found.is_plain,
        }


def describe_rate(generation: Generation, count: int) -> dict[str, Any]:
    """Return a rate in a generation's confirming half with its 95 % interval.

    A count of -1 is unknown, and below the fewest that the generation's inventory keeps.
    """
    texts = generation.inventory.totals[1]
    known = count >= 0
    low, high = bound_rate(count if known else min(generation.inventory.fewest - 1, texts), texts)
    return {
        "generation": generation.name,
        "documents": count if known else None,
        "texts": texts,
        "rate": max(count, 0) / max(texts, 1),
        "low": low if known else 0.0,
        "high": high,
    }


def suggest_name(corpus: Sequence[str]) -> str:
    """Return a name for a generation: that of its only file or folder.

    Raises: CardError: there are several, or the name has a wildcard or can't be printed.
    """
    name = PurePath(corpus[0].rstrip("/")).name.partition(".")[0]
    if len(corpus) != 1 or not name or any(sign in name for sign in "*?["):
        raise CardError("the generation has no name", remedy="give one with --name")
    return check_name(name[:LONGEST_NAME])


def check_name(name: str) -> str:
    """Return a generation's name.

    Raises: CardError: it is empty, too long, or can't be printed.
    """
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise CardError(
            f"{name[:LONGEST_NAME]!r} can't be a generation's name",
            remedy=f"give one to {LONGEST_NAME} printable characters: --name 2026-11",
        )
    return name


def check_teachers(names: Sequence[str]) -> None:
    """Refuse names of teachers that no corpus can have.

    Raises: CardError: a name can't be one in a corpus.
    """
    for name in names:
        if problem := describe_unusable(name):
            raise CardError(
                f"{problem}: {name!r}",
                where="--only-teacher",
                remedy="give a teacher of the corpus",
            )


def run_monitor(
    config: MonitorConfig, listener: Listener = ignore, beam_options: Sequence[str] = ()
) -> Monitored:
    """Compare a generation with those of the history, and add it.

    Raises: CongenerError: the corpus can't be read or has too few texts, the history can't be used,
    or it has another generation of this name.
    """
    check_teachers(config.only_teachers)
    object_stores.use_options(build_engine_options(config.engine, beam_options))
    require_history(config.history)
    with lock_run(config.history):
        try:
            earlier = read_history(config.history)
            gathered = _gather(config, listener, beam_options)
        finally:
            if storage.exists(path := storage.join(config.history, SAMPLE)):
                storage.remove_tree(path)
        return _compare(config, earlier, gathered, listener)


def _gather(config: MonitorConfig, listener: Listener, beam_options: Sequence[str]) -> Gathered:
    side = settle_corpus(config.corpus, config.layout, config.shards)
    _refuse_other_teacher(config, side)
    _say(listener, f"reading {format_count(side.rows, 'row')}")
    path = storage.join(make_absolute(config.history), SAMPLE)
    with open_pipeline(config.engine, beam_options, "congener-monitor") as pipeline:
        schema = side.corpus.select_schema(side.layout)
        shards = pipeline | ReadShards(list(side.tasks), schema) | IdentifyRecords(side.layout)
        shards | GatherCorpus(config.only_teachers) | "Write" >> beam.Map(_write, path)
    gathered = Gathered.decode(storage.read_bytes(path))
    _require_texts(config, gathered)
    if rejects := gathered.rejects[True]:
        listener(Noticed(warn(f"{format_count(rejects, 'row')} can't be read")))
    return gathered


def _require_texts(config: MonitorConfig, gathered: Gathered) -> None:
    """Refuse a generation with too few texts, or without one of the teachers that are watched.

    Raises: InputError: it is.
    """
    found = count_teachers(gathered)
    for name in config.only_teachers:
        if name not in found:
            raise InputError(
                f"has no row of the teacher {name!r}",
                where=list_names(config.corpus),
                remedy=f"its teachers are {list_names([*map(name_teacher, found)])}",
            )
    texts = sum(count_teachers(gathered, config.only_teachers).values())
    if texts < FEWEST_TEXTS:
        raise InputError(
            f"has {format_count(texts, 'row')} with an answer, and a generation needs "
            f"{FEWEST_TEXTS}",
            where=list_names(config.corpus),
            remedy="give a larger corpus; half of it is used to look for changes, and half to "
            "confirm them",
        )


def _refuse_other_teacher(config: MonitorConfig, side: AuditedCorpus) -> None:
    """Refuse one name for all rows of a corpus that names its teachers itself.

    Raises: CardError: the corpus has a column or folders of teachers.
    """
    given = config.layout.teacher
    if given is None or given.constant is None:
        return
    unnamed = config.layout.model_copy(update={"teacher": None})
    own = settle_layout(side.corpus.schema, unnamed, side.corpus.folder_columns).lots.get("teacher")
    if own is not None:
        raise CardError(
            f"the corpus names its teachers in {own.column!r}, and --teacher selects no rows: it "
            "would call all of them by one name",
            where="--teacher",
            remedy="leave it out; to read the rows of one teacher, use --only-teacher",
        )


def count_teachers(gathered: Gathered, chosen: Collection[str] = ()) -> dict[str, int]:
    """Return the number of texts of each teacher, or of each chosen one, in the order of names."""
    found: Counter[str] = Counter()
    for key, count in gathered.lots.items():
        found[key.fields[LOT_NAMES.index("teacher")]] += count
    return {name: found[name] for name in sorted(found) if not chosen or name in chosen}


def _write(gathered: Gathered, path: str) -> None:
    storage.write_bytes(path, gathered.encode())


def _compare(
    config: MonitorConfig, earlier: list[Generation], gathered: Gathered, listener: Listener
) -> Monitored:
    sample = build_sample(gathered, ())
    texts = sum(count_teachers(gathered, config.only_teachers).values())
    digest = digest_sample(sample)
    same = find_same(earlier, config.name, digest)
    if same is None:
        counted = min(len(sample), MOST_TEXTS)
        _say(listener, f"counting {format_count(counted, 'text')}")
        number = len(earlier) + 1
        inventory = take_inventory(sample)
        teachers = count_teachers(gathered, config.only_teachers)
        parts = count_by_teacher(sample, gathered.table.column("teacher").to_pylist())
        if parts is None:
            parts = dict.fromkeys(teachers, inventory)
        newest = Generation(
            number, config.name, texts, digest, inventory, "", None, teachers, parts
        )
        generations = (*earlier, newest)
    else:
        generations = tuple(earlier)
    found = compare_generations(generations, config.level) if len(generations) > 1 else None
    is_new = same is None and config.is_recorded
    monitored = Monitored(config, generations, found, is_new)
    if is_new:
        previous = earlier[-1].record if earlier else None
        add_generation(config.history, generations[-1], previous, monitored.to_json())
    if config.is_recorded:
        result = monitored.to_json()
        write_results(config.history, render_page(result), encode_changes(result["changes"]))
    return monitored


def digest_sample(sample: LotSample) -> str:
    """Return a digest of the sampled rows, in whichever files and order they are."""
    return digest_bytes(np.sort(sample.digests).astype("<u8").tobytes())


def encode_changes(changes: Sequence[dict[str, Any]]) -> bytes:
    """Return changes as Parquet, in their order."""
    stream = io.BytesIO()
    table = pa.Table.from_pylist(list(changes), schema=CHANGES)
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()


def _say(listener: Listener, text: str) -> None:
    listener(Noticed(Notice(text, is_recorded=False)))
