"""Find the rows that labels name, and give each card its labels."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, groupby
from typing import NamedTuple

import polars as pl

from classifiers.clean_text import CleanText
from classifiers.labelled_rows import JudgedRow, Texts, split_labels
from classifiers.library import LoadedCard
from pipelines.config import FilterConfig, require_local_path
from pipelines.labels import (
    Label,
    RowKey,
    choose_label,
    digest_definition,
    read_all_labels,
    read_files,
    require_definition,
    require_traits,
)
from pipelines.runs.finished import MISFITS, report_damage, scan_folder
from pipelines.runs.manifest_file import load_manifest
from schemas.cards import Scope
from schemas.corpora import CorpusConfig
from schemas.errors import CardError
from schemas.notices import choose_form, format_count, list_names
from transforms.digest_keys import settle_key
from transforms.files import storage
from transforms.files.planning import plan_shards
from transforms.files.samples import read_sample, take_values
from transforms.files.shards import read_task
from transforms.files.sources import Corpus, survey
from transforms.poison import keep_rows
from transforms.records.formats import Layout, list_paths, settle_layout
from transforms.records.segments import Segments
from transforms.records.sides import find_unread_labels, settle_labels, settle_sides
from transforms.records.transcripts import choose_columns, measure_transcripts

KEYS_SHOWN = 3

NEEDS_CORPUS = "name the rows' corpus with --on, or a finished run with --run"
"""What `congener fit` needs to look rows up."""

NEEDS_RUN = "name a finished run that has the rows with --labels-run"
"""What `congener filter` needs to look rows up that aren't in its input."""


class FoundRow(NamedTuple):
    """The trained texts of a row with their roles and channels, or a text without a row."""

    segments: tuple[tuple[str, str, str], ...]
    prompt: str

    def select_texts(self, scope: Scope) -> Texts:
        """Return the texts in a trait's scope."""
        return tuple(
            text
            for role, channel, text in self.segments
            if not role or (role in scope.roles and channel in scope.channels)
        )


def attach_labels(
    cards: Sequence[LoadedCard], config: FilterConfig, clean: CleanText
) -> list[LoadedCard]:
    """Return the cards with their labels, split into halves.

    Raises: CardError: a label is wrong, is about an unknown trait, contradicts another one, or was
        given by another definition, or a labelled row can't be found.
    """
    if not config.labels:
        return list(cards)
    paths = [require_local_path(path) for path in config.labels]
    for path in paths:
        require_traits(read_all_labels(path), [card.id for card in cards], path)
    labels = read_files(paths)
    found = _find_rows(labels, config)
    measured = set(chain.from_iterable(row.texts for row in clean.user))
    given: list[LoadedCard] = []
    for card in cards:
        own = [label for label in labels if label.trait in (None, card.id)]
        if not config.accept_definition:
            words = card.card.model_dump(include={"title", "description"})
            require_definition(own, card.id, digest_definition(words), "")
        rows = _gather_rows(card, own, found)
        given.append(replace(card, labels=split_labels(rows, measured)) if rows else card)
    return given


def _gather_rows(
    card: LoadedCard,
    labels: Sequence[Label],
    found: Mapping[RowKey, Sequence[FoundRow]],
) -> list[JudgedRow]:
    """Return the different labelled rows of a card. Rows with the same texts have one label."""
    chosen: dict[Texts, tuple[Label, str]] = {}
    for label in labels:
        for row in _list_found(label, found):
            if not (texts := row.select_texts(card.card.scope)):
                raise CardError(
                    f"the row has no text that {card.id} reads",
                    where=label.place,
                    remedy="leave the label out, or widen the scope of the card",
                )
            before, prompt = chosen.get(texts, (label, row.prompt))
            chosen[texts] = (choose_label(before, label, ""), prompt)
    return [JudgedRow(texts, prompt, label.shows) for texts, (label, prompt) in chosen.items()]


def _list_found(label: Label, found: Mapping[RowKey, Sequence[FoundRow]]) -> Sequence[FoundRow]:
    """Return the rows that a label names, or else its own text."""
    rows = () if label.key is None else found.get(label.key, ())
    if rows or label.text is None:
        return rows
    return [FoundRow((("", "", label.text),), label.prompt)]


def _find_rows(
    labels: Sequence[Label], config: FilterConfig
) -> Mapping[RowKey, Sequence[FoundRow]]:
    """Find the rows that labels name, if the labels need it or the user says where they are."""
    keys = {label.key for label in labels if label.key is not None}
    needed = {label.key for label in labels if label.key is not None and label.text is None}
    patterns = config.labels_on or (config.input if needed else ())
    if not keys or not (patterns or config.labels_run):
        if needed:
            raise CardError(
                f"{format_count(len(needed), 'label')} {choose_form(len(needed), 'has', 'have')} "
                "no text",
                where=list_names(config.labels),
                remedy=f"{_name_options(config)}; or give each label its `text`",
            )
        return {}
    if config.labels_run:
        found = find_in_run(config.labels_run, config, keys)
        where = config.labels_run
    else:
        found, where = find_in_corpus(patterns, config, keys), list_names(patterns)
    if missing := [label for label in labels if label.key in needed - found.keys()]:
        raise _report_missing(missing, len(needed), where, config)
    return found


def _name_options(config: FilterConfig) -> str:
    """Say with which options a command looks rows up; only `filter` has an input."""
    return NEEDS_RUN if config.input else NEEDS_CORPUS


def _report_missing(
    missing: Sequence[Label], needed: int, where: str, config: FilterConfig
) -> CardError:
    places = [f"{label.place} ({_describe_key(label)})" for label in missing[:KEYS_SHOWN]]
    more = len(missing) - len(places)
    return CardError(
        f"{len({label.key for label in missing}):,} of {format_count(needed, 'labelled row')} "
        f"can't be found in {where}: {', '.join(places)}" + (f" and {more:,} more" if more else ""),
        where=list_names(config.labels),
        remedy=f"{_name_options(config)}. A run has no text of rows that it dropped, and not the "
        "whole text of rows that it masked",
    )


def _describe_key(label: Label) -> str:
    return label.key if isinstance(label.key, str) else f"{label.source} row {label.row}"


def find_in_corpus(
    patterns: Sequence[str], config: FilterConfig, keys: Collection[RowKey]
) -> dict[RowKey, list[FoundRow]]:
    """Read a corpus, and return the named rows. The files are named as in a run's ledger.

    Raises: InputError: the corpus can't be read.
    """
    corpus, layout = _settle_corpus(patterns, config, config.corpus)
    found: dict[RowKey, list[FoundRow]] = {}
    for names, row in _read_rows(corpus, layout, config, keys):
        for name in names:
            found.setdefault(name, []).append(row)
    return found


def _settle_corpus(
    patterns: Sequence[str], config: FilterConfig, settings: CorpusConfig
) -> tuple[Corpus, Layout]:
    """Survey a corpus, and settle its layout as a run does."""
    corpus = survey(patterns, config.shards, list_paths(settings))
    layout = settle_layout(corpus.schema, settings, corpus.folder_columns)
    layout = settle_sides(corpus.schema, layout, settings.teacher is not None)
    layout = layout._replace(digest_key=settle_key(config.digest_key))
    sample = read_sample(corpus, layout, config.shards)
    layout = settle_labels(layout, take_values(sample, find_unread_labels(corpus.schema, layout)))
    shares = measure_transcripts([shard.table for shard in sample.shards], layout)
    return corpus, layout._replace(transcripts=choose_columns(shares, settings.transcripts))


def _read_rows(
    corpus: Corpus, layout: Layout, config: FilterConfig, keys: Collection[RowKey]
) -> Iterator[tuple[set[RowKey], FoundRow]]:
    """Yield the rows with one of these names, and which of the names each one has."""
    from transforms.identify import identify  # loads Beam, which is slow

    wanted, by_id = set(keys), any(isinstance(key, str) for key in keys)
    for task in plan_shards(corpus.sources, config.shards):
        for shard in read_task(task, corpus.select_schema(layout)):
            pairs = enumerate(zip(shard.sources, shard.numbers, strict=True))
            rows = [row for row, pair in pairs if by_id or pair in wanted]
            if not rows:
                continue
            part = identify(keep_rows(shard, rows), layout)
            texts = part.segments.select_side("trained")
            named = zip(part.sources, part.numbers, part.record_ids, strict=True)
            for row, (source, number, record_id) in enumerate(named):
                own: set[RowKey] = {(source, number), record_id}
                if own := own & wanted:
                    yield own, _take_row(texts, row)


def _take_row(segments: Segments, row: int) -> FoundRow:
    texts = tuple(
        (segments.roles[index], segments.channels[index], segments.texts[index])
        for index in segments.find_in_row(row)
    )
    return FoundRow(texts, next((text for role, _, text in texts if role == "user"), ""))


def find_in_run(
    run: str, config: FilterConfig, keys: Collection[RowKey]
) -> dict[RowKey, list[FoundRow]]:
    """Return the named rows that a finished run holds as they were read.

    Raises: RunError: the run isn't finished, or a file is missing or damaged.
    """
    with report_damage(run, *MISFITS):
        manifest = load_manifest(run)
        settings = CorpusConfig.model_validate(manifest.config["corpus"])
        pairs = [f"{key[0]}\0{key[1]}" for key in keys if isinstance(key, tuple)]
        place = pl.concat_str("source", pl.col("row").cast(pl.String), separator="\0")
        ids = [key for key in keys if isinstance(key, str)]
        ledger = scan_folder(run, manifest, "ledger").filter(
            (place.is_in(pairs) | pl.col("record_id").is_in(ids))
            & pl.col("output").is_not_null()
            & (pl.col("decision") != "mask")
        )
        columns = ("output", "output_row", "source", "row", "record_id")
        entries = sorted(ledger.select(columns).collect().iter_rows())
    found: dict[RowKey, list[FoundRow]] = {}
    wanted = set(keys)
    for output, group in groupby(entries, key=lambda entry: entry[0]):
        named = {number: {(source, row), record_id} for _, number, source, row, record_id in group}
        corpus, layout = _settle_corpus([storage.join(run, output)], config, settings)
        (file,) = corpus.sources
        places = [(file.name, number) for number in named]
        for names, row in _read_rows(corpus, layout, config, places):
            numbers = [name[1] for name in names if isinstance(name, tuple)]
            for key in (key for number in numbers for key in named[number] if key in wanted):
                found.setdefault(key, []).append(row)
    return found
