"""The two corpora of an audit, settled as a run settles its input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import Field, field_validator

from pipelines.engines.interface import Engine
from schemas.cards import Strict
from schemas.corpora import CorpusConfig, ShardLimits
from schemas.errors import InputError
from schemas.notices import list_names
from transforms.files.documents import explain_documents
from transforms.files.locations import expand_home, expand_input
from transforms.files.planning import ShardPlan, plan_shards
from transforms.files.samples import read_sample, take_values
from transforms.files.sources import Corpus, survey
from transforms.records.formats import Layout, list_paths, settle_layout
from transforms.records.sides import find_unread_labels, settle_labels, settle_sides
from transforms.records.transcripts import choose_columns, measure_transcripts

LEVEL = 0.05


class AuditConfig(Strict):
    """The settings of `congener audit`.

    `level` is the chance of finding anything where nothing differs.
    """

    corpus: tuple[str, ...]
    reference: tuple[str, ...]
    output: str
    level: float = Field(LEVEL, gt=0, lt=1)
    layout: CorpusConfig = CorpusConfig()
    """How the corpus is read."""
    reference_layout: CorpusConfig | None = None
    """How the reference is read; like the corpus, unless given."""
    shards: ShardLimits = ShardLimits()
    engine: Engine = Engine()

    @field_validator("corpus", "reference")
    @classmethod
    def _expand_inputs(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(expand_input(path) for path in paths)

    @field_validator("output")
    @classmethod
    def _expand_output(cls, path: str) -> str:
        return expand_home(path)


class AuditedCorpus(NamedTuple):
    """A corpus that can be read: its files, its layout and its shards."""

    corpus: Corpus
    layout: Layout
    tasks: tuple[tuple[ShardPlan, ...], ...]

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return sum(source.rows for source in self.corpus.sources)


def settle_corpus(
    patterns: Sequence[str], settings: CorpusConfig, limits: ShardLimits
) -> AuditedCorpus:
    """Survey a corpus, and settle its layout and its shards.

    Raises: InputError: the corpus can't be read, or no format fits.
    """
    corpus = survey(patterns, limits, list_paths(settings))
    try:
        layout = settle_layout(corpus.schema, settings, corpus.folder_columns)
    except InputError as error:
        if explained := explain_documents(corpus.sources, limits):
            raise explained from error
        raise InputError(error.problem, where=list_names(patterns), remedy=error.remedy) from error
    layout = settle_sides(corpus.schema, layout, settings.teacher is not None)
    sample = read_sample(corpus, layout, limits)
    layout = settle_labels(layout, take_values(sample, find_unread_labels(corpus.schema, layout)))
    shares = measure_transcripts([shard.table for shard in sample.shards], layout)
    layout = layout._replace(transcripts=choose_columns(shares, settings.transcripts))
    return AuditedCorpus(corpus, layout, tuple(plan_shards(corpus.sources, limits)))
