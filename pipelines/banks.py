"""Banks on disk: saving, loading, and fitting what a run needs and has not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from classifiers.banks import INDEX_FILE, Bank, bank_files, read_bank
from classifiers.fitting import (
    CleanRow,
    CleanText,
    fit_bank,
    fit_key,
    library_background,
    limited,
    limited_bank,
    split,
    uses_encoder,
)
from classifiers.library import LoadedCard, find_cards
from classifiers.models.encoders import Encoder, Progress, load_encoder
from classifiers.scoring import needs_encoder
from pipelines.config import FilterConfig, on_disk
from pipelines.display.progress import Fitting, Reporter
from pipelines.runs.cache import cache_folder
from pipelines.version import VERSION
from schemas.corpora import CorpusConfig, ShardLimits
from schemas.digests import config_digest
from schemas.errors import CardError, InputError, ModelError
from schemas.policies import Policy
from transforms.decide import check_policy, require_clean_texts
from transforms.files import storage
from transforms.files.shards import read_task
from transforms.files.sources import plan_shards, survey
from transforms.records.formats import settle_layout
from transforms.records.segments import segments_of


def save_bank(bank: Bank, uri: str) -> None:
    """Write a bank's files, its index last."""
    files = bank_files(bank)
    for name in sorted(files, key=lambda name: (name == INDEX_FILE, name)):
        storage.write_bytes(storage.join(uri, name), files[name])


def load_bank(uri: str) -> Bank:
    """Read a bank, each file checked against its digest."""
    return read_bank(lambda name: storage.read_bytes(storage.join(uri, name)), uri)


def clean_text(background: Sequence[str], corpus: CorpusConfig) -> CleanText:
    """Gather the clean text that thresholds are calibrated on: the user's sample, or half of the library's background."""
    shipped = library_background(find_cards())
    if not background:
        return CleanText(shipped)
    rows = tuple(
        CleanRow(texts, "user", "clean") for texts in read_answers(background, corpus) if texts
    )
    if not rows:
        raise InputError(
            "holds no answer of an assistant",
            where=", ".join(background),
            remedy="check --background and its format",
        )
    return CleanText(shipped, rows, f"--background {', '.join(background)}")


def read_answers(patterns: Sequence[str], corpus: CorpusConfig) -> list[tuple[str, ...]]:
    """Read a corpus of any format; return each row's assistant texts."""
    limits = ShardLimits()
    found = survey(patterns, limits)
    layout = settle_layout(found.schema, _for_background(corpus, found.schema))
    rows: list[tuple[str, ...]] = []
    for task in plan_shards(found.sources, limits):
        for shard in read_task(task, found.schema):
            segments = segments_of(shard.table, layout)
            answers: list[list[str]] = [[] for _ in range(shard.table.num_rows)]
            for segment in segments.in_scope(("assistant",), ("answer", "thinking")):
                answers[segments.rows[segment]].append(segments.texts[segment])
            rows += map(tuple, answers)
    return rows


def _for_background(corpus: CorpusConfig, schema: pa.Schema) -> CorpusConfig:
    """Read the background in the corpus's format where its columns are there, else as detection finds it."""
    named = corpus.columns.values()
    return (
        CorpusConfig(format=corpus.format, columns=corpus.columns)
        if corpus.format and set(named) <= set(schema.names)
        else CorpusConfig()
    )


def prepare_bank(
    config: FilterConfig, policy: Policy | None = None, reporter: Reporter | None = None
) -> tuple[Bank, Encoder | None]:
    """Return the bank a run uses and its encoder.

    With a bank and no traits, the bank as it is; otherwise the traits' cards, of which a trait that the bank (or the
    cache, for the same cards, clean text and encoder) already holds isn't fitted again. With a policy, what can't be
    settled from it is told before anything is fitted.

    Raises: ModelError: The bank was fitted with another encoder than the one loaded.
    Raises: CardError: The policy, or a trait's level, can't be settled with these traits and this clean text.
    """
    given = load_bank(config.bank) if config.bank else None
    if given and not config.traits:
        if config.background:
            raise CardError(
                "--background calibrates what is fitted, and a --bank without --traits is used as it is",
                remedy="fit the bank with it: congener fit --background ...",
            )
        bank = limited_bank(given, config.signals) if config.signals else given
        return bank, _encoder(config, given, needs_encoder(bank))
    cards = chosen_cards(config)
    encoder = _encoder(config, given, any(uses_encoder(card.card) for card in cards))
    clean = clean_text(config.background, config.corpus)
    held = given.traits if given else {}
    kept = {
        card.id: held[card.id]
        for card in cards
        if card.id in held and held[card.id].card_digest == card.digest
    }
    if policy is not None:
        check_policy(policy, [card.card for card in cards])
        for card in (card for card in cards if card.id not in kept):
            require_clean_texts(
                card.card, policy.rule(card.id), len(split(card, clean)[1]), clean.name
            )
    progress = Fitting(reporter.say, len(cards) - len(kept)) if reporter else None
    if given:
        return fit_bank(cards, clean, encoder, config.encoder_config(), kept, progress), encoder
    return _cached(cards, clean, encoder, config, progress), encoder


def _encoder(config: FilterConfig, given: Bank | None, needed: bool) -> Encoder | None:
    encoder = load_encoder(config.encoder_config()) if needed else None
    if encoder and given and given.encoder:
        given.require_encoder(encoder.identity)
    return encoder


def _cached(
    cards: Sequence[LoadedCard],
    clean: CleanText,
    encoder: Encoder | None,
    config: FilterConfig,
    progress: Progress | None,
) -> Bank:
    """Fit, or take what an earlier run fitted from the very same cards, clean text and encoder."""
    key = config_digest(
        [
            VERSION,
            str(encoder.dtype) if encoder else None,
            [fit_key(card, clean, encoder.identity if encoder else None) for card in cards],
        ]
    )
    folder = cache_folder() / "banks" / key
    if (folder / INDEX_FILE).is_file():
        try:
            return load_bank(str(folder))
        except (
            ModelError
        ):  # a damaged cache is no error of the user's: it is fitted again and overwritten
            storage.remove_tree(str(folder / INDEX_FILE))
    bank = fit_bank(cards, clean, encoder, config.encoder_config(), progress=progress)
    save_bank(bank, str(folder))
    return bank


def chosen_cards(config: FilterConfig) -> list[LoadedCard]:
    """Return the traits of a run, limited to its signals; library traits left without any aren't run.

    Raises: ModelError: A trait that was named has none of the signals that the run is limited to.
    """
    cards = find_cards([str(on_disk(name)) for name in config.traits])
    if not config.signals:
        return cards
    able = [card for card in cards if set(card.card.signals.names()) & set(config.signals)]
    if config.traits and len(able) < len(cards):
        unable = next(card for card in cards if card not in able)
        raise ModelError(
            f"trait {unable.id} has none of the signals {', '.join(config.signals)}",
            remedy="leave it out of --traits, or allow more --signals",
        )
    return [replace(card, card=limited(card.card, config.signals)) for card in able]
