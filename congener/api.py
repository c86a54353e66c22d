"""The public API: score texts, filter a corpus, open a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from os import PathLike
from typing import Any

import polars as pl
import pyarrow as pa
from pydantic import ValidationError

from classifiers.scoring import Scores, load_scorer
from pipelines.banks import prepare_bank
from pipelines.config import FilterConfig
from pipelines.display.progress import TerminalReporter
from pipelines.filter import run_filter
from pipelines.runs.finished import read_folder, scan_folder
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.rates import compare_groups
from pipelines.version import VERSION
from schemas.corpora import CorpusConfig
from schemas.errors import CardError, CongenerError
from schemas.events import ignore
from schemas.manifests import Manifest
from schemas.policies import Policy
from schemas.problems import describe_problems
from schemas.scores import COMBINED, fires
from transforms.files.locations import expand_home
from transforms.records.formats import settle_layout
from transforms.records.labels import Labeller
from transforms.records.segments import Segments, extract_segments
from transforms.rules import Rule, settle_rules
from transforms.spans import build_spans, choose_evidence

__all__ = [
    "CongenerError",
    "Manifest",
    "Policy",
    "Run",
    "__version__",
    "filter_corpus",
    "open_run",
    "score_texts",
]

__version__ = VERSION

SCORED_TEXTS = pl.Schema(
    {
        "text": pl.Int64(),
        "trait": pl.String(),
        "score": pl.Float32(),
        "threshold": pl.Float64(),
        "fires": pl.Boolean(),
        "signal": pl.String(),
        "start": pl.Int64(),
        "end": pl.Int64(),
    }
)

Paths = str | PathLike[str] | Sequence[str | PathLike[str]]


def score_texts(
    texts: Sequence[str], *, policy: Policy | None = None, progress: bool = False, **settings: Any
) -> pl.DataFrame:
    """Score answers for traits, and return a row for each text and trait.

    The columns are `text` (the index in `texts`), `trait`, `score`, `threshold`, `fires`, and the
    best span's `signal`, `start` and `end` (in characters of the text). `score` is null for a text
    with nothing to score, such as white space. `settings` are settings from the YAML configuration:
    `traits`, `signals`, `bank`, `background`, `encoder` and `hardware`. Without `traits`, all
    library traits are used. The first call with new traits fits them, which takes minutes.

    Raises: CongenerError: a setting, a card or a model is wrong.
    """
    config = _read_settings(settings)
    with TerminalReporter() if progress else nullcontext(ignore) as listener:
        bank, encoder, _ = prepare_bank(config, policy or Policy(), listener)
        scorer = load_scorer(bank, config.build_encoder_config(), encoder)
    table = pa.table({"text": pa.array(list(texts), pa.string())})
    segments = extract_segments(table, settle_layout(table.schema, CorpusConfig(format="text")))
    scores = scorer.score(len(texts), segments)
    rules = settle_rules(bank.traits, policy or Policy())
    return _tabulate_scores(scores, segments, rules)


def _tabulate_scores(scores: Scores, segments: Segments, rules: Sequence[Rule]) -> pl.DataFrame:
    spans = build_spans(scores, segments, floor=0.0).to_pylist()
    rows: list[dict[str, Any]] = []
    for rule in rules:
        values = scores.get_scores(rule.trait, rule.signal)
        threshold = rule.threshold.value
        fired = fires(values, float("inf") if threshold is None else threshold)
        own = {name: item.scores for name, item in scores.signals[rule.trait].items()}
        signals = choose_evidence(own if rule.signal == COMBINED else {rule.signal: values})
        for text, value in enumerate(values.tolist()):
            row = {"text": text, "trait": rule.trait, "threshold": threshold}
            row |= {"score": None if math.isnan(value) else value, "fires": bool(fired[text])}
            rows.append(row | _find_span(spans[text], rule.trait, str(signals[text])))
    return pl.DataFrame(rows, schema=SCORED_TEXTS).sort("text", maintain_order=True)


def _find_span(spans: Sequence[Mapping[str, Any]], trait: str, signal: str) -> dict[str, Any]:
    for span in spans:
        if (span["trait"], span["signal"]) == (trait, signal):
            return {"signal": signal, "start": span["start"], "end": span["end"]}
    return {"signal": None, "start": None, "end": None}


def filter_corpus(
    input: Paths,  # noqa: A002 - the name of the option and of the setting
    output: str | PathLike[str],
    *,
    restart: bool = False,
    progress: bool = False,
    beam_options: Sequence[str] = (),
    **settings: Any,
) -> Run:
    """Filter a corpus into a run directory, like `congener filter`.

    `settings` are settings from the YAML configuration, such as `traits=["vendor-identity"]`,
    `policy="policy.yaml"` or `hardware={"device": "cuda"}`. `progress` prints notices and progress
    to stderr. Repeating the call resumes an interrupted run.

    Raises: CongenerError: a setting or an input is wrong, or the run exceeds its budgets.
    """
    paths = [input] if isinstance(input, str | PathLike) else list(input)
    named = {"input": tuple(map(str, paths)), "output": str(output)}
    config = _read_settings(settings | named)
    with TerminalReporter() if progress else nullcontext(ignore) as listener:
        manifest = run_filter(config, restart, beam_options=beam_options, listener=listener)
    return Run(config.output, manifest)


def _read_settings(settings: Mapping[str, Any]) -> FilterConfig:
    try:
        return FilterConfig.model_validate(dict(settings))
    except ValidationError as error:
        raise CardError(
            describe_problems(error),
            remedy=f"the settings are {', '.join(FilterConfig.model_fields)}",
        ) from error


def open_run(run: str | PathLike[str]) -> Run:
    """Open a finished run on a local disk or on a store.

    Raises: CongenerError: the run isn't finished, or its manifest can't be read.
    """
    path = expand_home(str(run))
    return Run(path, load_manifest(path))


@dataclass(frozen=True)
class Run:
    """A finished run: its manifest, and its tables as lazy Polars frames or as Arrow tables.

    The rows of `ledger`, `scores` and `spans` are aligned. docs/file-formats.md describes the
    columns. For JSON Lines input, `clean` and `quarantine` are JSON Lines too. Their tables show a
    field with values of several kinds as text, and a NaN or a lone surrogate is an error.
    """

    path: str
    manifest: Manifest

    def ledger(self) -> pl.LazyFrame:
        """Scan the ledger: one row for every input row, with its decision and its reasons."""
        return self.scan("ledger")

    def scores(self) -> pl.LazyFrame:
        """Scan the scores of every row, by trait and signal."""
        return self.scan("scores")

    def quarantine(self) -> pl.LazyFrame:
        """Scan the quarantined rows; the `congener` column gives the reasons.

        Raises: CongenerError: JSON Lines can't be read as a table.
        """
        return self.scan("quarantine")

    def clean(self) -> pl.LazyFrame:
        """Scan the cleaned corpus.

        Raises: CongenerError: JSON Lines can't be read as a table.
        """
        return self.scan("clean")

    def build_labeller(self, tokenizer: Any) -> Labeller:
        """Return an object whose `encode` turns a clean row into tokens without loss on masks.

        `tokenizer` is a fast transformers tokenizer with a chat template. `encode` returns
        `input_ids`, `attention_mask` and `labels`, and suits `datasets.Dataset.map`.
        """
        identity = self.manifest.identity
        return Labeller(tokenizer, identity.format, identity.columns)

    def rates(self) -> pl.DataFrame:
        """Return how often each trait fired, by teacher, lot and source, with 95 % intervals.

        docs/file-formats.md describes the columns, under `report/rates.parquet`.
        """
        return compare_groups(self.path, self.manifest).table

    def scan(self, folder: str) -> pl.LazyFrame:
        """Scan all files in one of the run's folders, or return an empty frame.

        JSON Lines files are first read once to find their schema.

        Raises: CongenerError: a file is missing, or JSON Lines can't be read as a table.
        """
        return scan_folder(self.path, self.manifest, folder)

    def read(self, folder: str) -> pa.Table:
        """Read all files in one of the run's folders as an Arrow table.

        Raises: CongenerError: the run has no files in that folder, a file is missing or damaged, or
            JSON Lines can't be read as a table.
        """
        return read_folder(self.path, self.manifest, folder)
