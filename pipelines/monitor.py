"""`congener monitor`: a new generation of a corpus against the earlier ones of its history."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, field_validator

from classifiers.lots.confirmation import bound_rate
from classifiers.lots.drift import Drift, Drifts, find_drifts
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
from pipelines.runs.lock import lock_run
from pipelines.teacher_shares import describe_shares
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
from transforms.files.locations import expand_home, expand_input
from transforms.identify import IdentifyRecords
from transforms.lot_records import LOT_NAMES
from transforms.lot_samples import GatherCorpus, Gathered, build_sample
from transforms.read import ReadShards
from transforms.records.formats import settle_layout

FEWEST_TEXTS = 16
"""The fewest texts that a generation needs."""

SAMPLE = f"{WORK}/sample.arrow"

LONGEST_NAME = 60


class MonitorConfig(Strict):
    """The settings of `congener monitor`.

    `level` is the chance of reporting a change in the new generation where nothing changed. With
    `is_recorded`, the new generation becomes part of the history.
    """

    corpus: tuple[str, ...]
    history: str
    name: str = Field(min_length=1, max_length=LONGEST_NAME)
    level: float = Field(LEVEL, gt=0, lt=1)
    is_recorded: bool = True
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
    found: Drifts | None
    is_new: bool

    @property
    def changes(self) -> list[Drift]:
        """Return what changed, the most telling changes first."""
        return self.found.changes if self.found else []

    @property
    def differs(self) -> bool:
        """Return whether anything changed."""
        return bool(self.changes)

    def to_json(self) -> dict[str, Any]:
        """Return everything for machines. It is also what the history keeps."""
        newest = self.generations[-1]
        note = describe_teachers(self.generations)
        return {
            "differs": self.differs,
            "level": self.config.level,
            "generation": newest.number,
            "name": newest.name,
            "generations": [
                {"number": item.number, "name": item.name, "texts": item.texts}
                for item in self.generations
            ],
            "notes": [note] if note else [],
            "candidates": self.found.candidates if self.found else 0,
            "changes": [self._describe(item) for item in self.changes],
            "version": VERSION,
        }

    def _describe(self, drift: Drift) -> dict[str, Any]:
        compared = self.generations[-len(drift.counts) :]
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
                describe_rate(item, count)
                for item, count in zip(compared, drift.counts, strict=True)
            ],
        }


def describe_teachers(generations: Sequence[Generation]) -> str | None:
    """Say if the newest generation has other shares of teachers than the earlier ones together.

    Return None if the shares are alike, or if the history doesn't say who wrote any earlier one.
    """
    *earlier, newest = generations[-WINDOW:]
    before: Counter[str] = Counter()
    for item in earlier:
        before.update(item.teachers or {})
    return describe_shares(before, newest.teachers or {})


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


def run_monitor(
    config: MonitorConfig, listener: Listener = ignore, beam_options: Sequence[str] = ()
) -> Monitored:
    """Compare a generation with those of the history, and add it.

    Raises: CongenerError: the corpus can't be read or has too few texts, the history can't be used,
    or it has another generation of this name.
    """
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
        shards | GatherCorpus() | "Write" >> beam.Map(_write, path)
    gathered = Gathered.decode(storage.read_bytes(path))
    if (texts := gathered.count_texts(own=True)) < FEWEST_TEXTS:
        raise InputError(
            f"has {format_count(texts, 'row')} with an answer, and a generation needs "
            f"{FEWEST_TEXTS}",
            where=list_names(config.corpus),
            remedy="give a larger corpus; half of it is used to look for changes, and half to "
            "confirm them",
        )
    if rejects := gathered.rejects[True]:
        listener(Noticed(warn(f"{format_count(rejects, 'row')} can't be read")))
    return gathered


def _refuse_other_teacher(config: MonitorConfig, side: AuditedCorpus) -> None:
    """Refuse one name for all rows of a corpus that names its teachers itself.

    Raises: CardError: the corpus has a column or folders of teachers.
    """
    given = config.layout.teacher
    if given is None or given.constant is None:
        return
    unnamed = config.layout.model_copy(update={"teacher": None})
    own = settle_layout(side.corpus.schema, unnamed, side.corpus.partitions).lots.get("teacher")
    if own is not None:
        raise CardError(
            f"the corpus names its teachers in {own.column!r}, and --teacher selects no rows: it "
            "would call all of them by one name",
            where="--teacher",
            remedy="leave it out; to watch one teacher, give a file with only its rows, and keep "
            "a history for it",
        )


def count_teachers(gathered: Gathered) -> dict[str, int]:
    """Return the number of texts of each teacher, in the order of the names."""
    found: Counter[str] = Counter()
    for key, count in gathered.lots.items():
        found[key.fields[LOT_NAMES.index("teacher")]] += count
    return dict(sorted(found.items()))


def _write(gathered: Gathered, path: str) -> None:
    storage.write_bytes(path, gathered.encode())


def _compare(
    config: MonitorConfig, earlier: list[Generation], gathered: Gathered, listener: Listener
) -> Monitored:
    sample = build_sample(gathered, ())
    texts, digest = gathered.count_texts(own=True), digest_sample(sample)
    same = find_same(earlier, config.name, digest)
    if same is None:
        counted = min(len(sample), MOST_TEXTS)
        _say(listener, f"counting {format_count(counted, 'text')}")
        number = len(earlier) + 1
        inventory = take_inventory(sample)
        teachers = count_teachers(gathered)
        newest = Generation(number, config.name, texts, digest, inventory, "", None, teachers)
        generations = (*earlier, newest)
    else:
        generations = tuple(earlier)
    inventories = [item.inventory for item in generations]
    found = find_drifts(inventories, config.level) if len(generations) > 1 else None
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
