"""Save and load banks, and prepare the bank of a run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from classifiers.banks import (
    INDEX_FILE,
    Bank,
    TraitModel,
    list_bank_files,
    read_bank,
    serialise_bank,
)
from classifiers.clean_text import (
    CleanRow,
    CleanText,
    collect_background,
    require_known_texts,
)
from classifiers.fitting import (
    compute_fit_key,
    fit_bank,
    limit_bank,
)
from classifiers.library import LoadedCard, find_cards
from classifiers.models.checkpoints import find_model
from pipelines.chosen_traits import (
    advise_bank,
    check_cards,
    choose_cards,
    find_chosen,
    require_traits,
    require_useful_background,
    require_useful_labels,
)
from pipelines.config import OWN_CORPUS, FilterConfig
from pipelines.corpus_sample import CORPUS_SAMPLE
from pipelines.label_effects import drop_idle_labels, measure_labels, record_effects
from pipelines.labelled_rows import attach_labels
from pipelines.runs.cache import CACHE_REMEDY, get_cache_folder
from pipelines.runs.vector_cache import VectorCache
from pipelines.shipped_bank import explain_problem, find_shipped_traits
from pipelines.version import VERSION
from schemas.cards import TraitCard
from schemas.corpora import CorpusConfig, ShardLimits
from schemas.digests import digest_config
from schemas.errors import CardError, InputError, ModelError, StorageError
from schemas.events import FitStarted, Listener, Noticed, ignore
from schemas.notices import Notice, choose_form, format_count, list_names, warn
from schemas.outputs import CALIBRATION_SCORES
from schemas.policies import Policy
from schemas.runs import BANK
from transforms.files import storage
from transforms.files.planning import plan_shards
from transforms.files.samples import read_sample
from transforms.files.shards import read_task
from transforms.files.sources import survey
from transforms.listeners import ModelProgress
from transforms.records.columns import find_type
from transforms.records.formats import list_paths, settle_layout
from transforms.records.segments import extract_segments
from transforms.records.transcripts import choose_columns, measure_transcripts
from transforms.rules import check_policy, settle_rules

if TYPE_CHECKING:
    from classifiers.models.encoders import Encoder

BACKGROUND_REMEDY = (
    "give the clean sample in the format of the corpus or in one that congener detects, such as "
    'lines of {"text": ...}'
)


SAMPLE_HEX = 12
"""How many hex digits of its digest name a clean sample."""


class ChosenTraits(NamedTuple):
    """The traits that a run looks for, before a model is loaded and anything is fitted.

    Either the traits of a bank are used as they are, or `cards` are fitted on `clean`, except those
    that are in `fitted` because the given bank has them with the same card.
    """

    given: Bank | None
    bank: Bank | None
    """The given bank, limited to the signals of the run, if its traits are used as they are."""
    cards: Sequence[LoadedCard] = ()
    clean: CleanText = CleanText(())
    fitted: Mapping[str, TraitModel] = MappingProxyType({})

    def list_cards(self) -> list[TraitCard]:
        """Return the card of every trait."""
        if self.bank is not None:
            return [trait.card for trait in self.bank.traits.values()]
        return [card.card for card in self.cards]


class FitPlan(NamedTuple):
    """The basis of a run's bank: cards, clean text, the encoder and earlier fitted traits."""

    cards: Sequence[LoadedCard]
    clean: CleanText
    encoder: Encoder | None
    fitted: Mapping[str, TraitModel]


class PreparedBank(NamedTuple):
    """A run's bank, the encoder if a trait needs one, and the plan unless the bank was given."""

    bank: Bank
    encoder: Encoder | None
    plan: FitPlan | None = None


def save_bank(bank: Bank, uri: str) -> None:
    """Write a bank's files, with the index last."""
    files = serialise_bank(bank)
    for name in sorted(files, key=lambda name: (name == INDEX_FILE, name)):
        storage.write_bytes(storage.join(uri, name), files[name])


def load_bank(uri: str) -> Bank:
    """Read a bank, checking every file's digest.

    Raises: ModelError: it is damaged or no bank; the remedy names the bank of a run's folder.
    """
    try:
        return read_bank(lambda name: storage.read_bytes(storage.join(uri, name)), uri)
    except ModelError as error:
        if _has_index(uri) or not _has_index(storage.join(uri, BANK)):
            raise
        raise ModelError(
            "is not a trait bank, but a run with one",
            where=uri,
            remedy=advise_bank(uri, INDEX_FILE),
        ) from error


def _has_index(uri: str) -> bool:
    return storage.exists(storage.join(uri, INDEX_FILE))


def remove_bank(uri: str) -> None:
    """Remove a bank's files, and folders that become empty.

    Other files in the folder, such as the user's cards, are kept.

    Raises: ModelError: the index is damaged or has a different format.
    """
    names = list_bank_files(lambda name: storage.read_bytes(storage.join(uri, name)), uri)
    for name in names:  # the index goes first, so that a half-removed bank doesn't look whole
        storage.remove_tree(storage.join(uri, name))
    if storage.is_local(uri):
        for folder in {Path(uri, name).parent for name in names[1:]}:
            with suppress(OSError):  # the folder still holds other files
                folder.rmdir()


def tabulate_scores(bank: Bank, group: str) -> pa.Table:
    """Return one group of a bank's scores (`SCORE_GROUPS`), sorted by trait and signal."""
    batches = [
        pa.record_batch(
            [[name] * len(scores), [signal] * len(scores), pa.array(scores, pa.float32())],
            schema=CALIBRATION_SCORES,
        )
        for name, trait in sorted(bank.traits.items())
        for signal, scores in sorted(getattr(trait, group).items())
    ]
    return pa.Table.from_batches(batches, CALIBRATION_SCORES)


def prepare_bank(
    config: FilterConfig, policy: Policy | None = None, listener: Listener = ignore
) -> PreparedBank:
    """Return a run's bank and encoder: choose its traits, and fit those that need it.

    Raises: CongenerError: see `choose_traits` and `fit_traits`.
    """
    return fit_traits(choose_traits(config, policy, listener), config, listener)


def choose_traits(
    config: FilterConfig,
    policy: Policy | None = None,
    listener: Listener = ignore,
    draw: Callable[[], list[tuple[str, ...]]] | None = None,
) -> ChosenTraits:
    """Choose a run's traits without loading a model.

    If the configuration names a bank but no traits, that bank is used unchanged. Otherwise the
    configured traits are fitted, except those that the given bank already has with the same card.
    If there is a policy, thresholds that can't be worked out are reported. `draw` draws answers of
    the corpus for a run that is calibrated on them.

    Raises: CardError: the policy names an unknown trait or signal, or there is too little clean
        text for a level.
    """
    require_useful_background(config)
    require_useful_labels(config)
    given = load_bank(config.bank) if config.bank else None
    if given and not config.traits:
        bank = limit_bank(given, config.signals) if config.signals else given
        require_traits(len(bank.traits), config.signals)
        _announce_left_out(given.traits.values(), bank.traits, config, listener)
        if policy is not None:
            settle_rules(bank.traits, policy)
        return ChosenTraits(given, bank)
    cards = choose_cards(config)
    _announce_left_out(find_chosen(config.traits), [card.id for card in cards], config, listener)
    clean = gather_clean_text(config, draw)
    for card in cards:
        require_known_texts(card, clean.shipped)
    cards = attach_labels(cards, config, clean)
    held = given.traits if given else {}
    fitted = {
        card.id: held[card.id]
        for card in cards
        if card.id in held and _is_fitted_from(held[card.id], card)
    }
    if policy is not None:
        check_policy(policy, [card.card for card in cards])
        check_cards([card for card in cards if card.id not in fitted], policy, clean)
    return ChosenTraits(given, None, cards, clean, fitted)


def _is_fitted_from(trait: TraitModel, card: LoadedCard) -> bool:
    """Return whether a trait was fitted from this card, and from its labels if it has any."""
    same = card.labels is None or (trait.labels or {}).get("digest") == card.labels.digest
    return trait.card_digest == card.digest and same


def fit_traits(
    chosen: ChosenTraits, config: FilterConfig, listener: Listener = ignore
) -> PreparedBank:
    """Load the encoder if a trait needs it, and fit the traits that aren't fitted yet.

    The library's traits are shipped fitted with the default encoder and background. Traits that an
    earlier run fitted from the same card, clean text and encoder are taken from the cache.

    Raises: ModelError: the given bank was fitted with a different model from the one loaded.
    """
    given = chosen.given
    needed = any(card.uses_encoder for card in chosen.list_cards())
    encoder = _load_encoder(config) if needed else None
    if encoder and given and given.encoder:
        given.require_encoder(encoder.identity)
    if chosen.bank is not None:
        return PreparedBank(chosen.bank, encoder)
    for name, trait in chosen.fitted.items():
        if given and (options := trait.card.signals.classifier):
            given.require_classifier(name, find_model(options.model, options.revision).identity)
    plan = FitPlan(chosen.cards, chosen.clean, encoder, chosen.fitted)
    return PreparedBank(_fit_missing(plan, config, listener), encoder, plan)


def _load_encoder(config: FilterConfig) -> Encoder:
    from classifiers.models.encoders import load_encoder

    return load_encoder(config.build_encoder_config())


def _announce_left_out(
    traits: Iterable[LoadedCard | TraitModel],
    used: Collection[str],
    config: FilterConfig,
    listener: Listener,
) -> None:
    if left := [trait.card.id for trait in traits if trait.card.id not in used]:
        verb, whose = ("is", "its") if len(left) == 1 else ("are", "their")
        listener(
            Noticed(
                Notice(
                    f"{list_names(left)} {verb} left out: none of {whose} signals is among "
                    f"--signals {', '.join(config.signals)}"
                )
            )
        )


def _fit_missing(plan: FitPlan, config: FilterConfig, listener: Listener) -> Bank:
    """Fit and cache the traits that neither the given bank nor the cache has.

    Labels that only measure a trait are added to the trait as it is fitted without them.
    """
    cards, clean, encoder, given = plan
    wanted = [card if card.id in given else drop_idle_labels(card, clean) for card in cards]
    bank, missing = _fit_cards(plan._replace(cards=wanted), config, listener)
    idle = [card for card, other in zip(cards, wanted, strict=True) if card is not other]
    if kept := [card.id for card in idle if card.id not in missing]:
        listener(Noticed(_announce_idle(kept)))
    settings = config.build_encoder_config()
    for card in idle:
        bank.traits[card.id] = measure_labels(card, bank.traits[card.id], encoder, settings)
    if idle:
        record_effects(bank, idle, clean, settings)
    return bank


def _announce_idle(names: Sequence[str]) -> Notice:
    whose, verb = ("its", "it isn't") if len(names) == 1 else ("their", "they aren't")
    return Notice(
        f"the labels of {list_names(names)} only measure, and change nothing in {whose} fit, so "
        f"{verb} fitted again"
    )


def _fit_cards(
    plan: FitPlan, config: FilterConfig, listener: Listener
) -> tuple[Bank, Collection[str]]:
    """Fit and cache the traits that nothing has, and return the bank and their names."""
    cards, clean, encoder, given = plan
    unknown = [card for card in cards if card.id not in given]
    shipped, problem = find_shipped_traits(unknown, clean, encoder)
    folders = {card.id: _find_cached(card, plan) for card in unknown if card.id not in shipped}
    cached = {name: trait for name in folders if (trait := _read_cached(name, folders[name]))}
    missing = [name for name in folders if name not in cached]
    if missing:
        if problem:
            needs_encoder = any(card.card.uses_encoder for card in cards if card.id in missing)
            notice = _announce_fit(len(missing), problem, needs_encoder)
            listener(Noticed(Notice(notice)))
        listener(FitStarted(len(missing)))
    progress = ModelProgress(listener)
    known = {**given, **shipped, **cached}
    bank = fit_bank(
        cards, clean, _remember(encoder), config.build_encoder_config(), known, progress
    )
    record_effects(
        bank, [card for card in cards if card.id in missing], clean, config.build_encoder_config()
    )
    problems = [
        _save_cached(Bank({name: bank.traits[name]}, bank.encoder, bank.background), folders[name])
        for name in missing
    ]
    for problem in dict.fromkeys(filter(None, problems)):
        listener(Noticed(warn(f"the fitted traits aren't kept for other runs: {problem}")))
    return bank, missing


def _announce_fit(count: int, problem: str, needs_encoder: bool) -> str:
    """Say why traits of the library are fitted, how long that takes, and how often."""
    time = "minutes on a CPU because of the encoder" if needs_encoder else "seconds without encoder"
    once = "; later runs take what was fitted from the cache" if get_cache_folder() else ""
    traits = f"{format_count(count, 'trait')} {choose_form(count, 'is', 'are')}"
    return (
        f"not all traits of the library can be used as they are shipped: "
        f"{explain_problem(problem)}. So {traits} fitted first, which takes {time}{once}"
    )


def _remember(encoder: Encoder | None) -> Encoder | None:
    """Return an encoder that keeps the vectors of a fit in the cache, if there is a cache."""
    cache = get_cache_folder()
    if encoder is None or cache is None:
        return encoder
    from classifiers.models.remembered_vectors import remember

    return remember(encoder, VectorCache(cache / "vectors", VERSION))


def _find_cached(card: LoadedCard, plan: FitPlan) -> Path | None:
    """Return the cache folder for one of a plan's traits, or None if there is no cache."""
    encoder = plan.encoder if card.card.uses_encoder else None
    key = compute_fit_key(card, plan.clean, encoder.identity if encoder else None)
    key = digest_config([VERSION, str(encoder.dtype) if encoder else None, key])
    cache = get_cache_folder()
    return cache / "banks" / key if cache else None


def _read_cached(trait: str, folder: Path | None) -> TraitModel | None:
    """Return a fitted trait from the cache, or None if it is missing or damaged."""
    with suppress(OSError, InputError):  # the cache can't be searched or read
        if folder and (folder / INDEX_FILE).is_file():
            try:
                return load_bank(str(folder)).traits.get(trait)
            except ModelError:
                with suppress(StorageError):
                    storage.remove_tree(str(folder / INDEX_FILE))
    return None


def _save_cached(bank: Bank, folder: Path | None) -> str | None:
    """Write a bank to the cache. If this fails, return the reason and the remedy."""
    if folder is None:
        return f"this user has no home folder ({CACHE_REMEDY})"
    try:
        save_bank(bank, str(folder))
    except StorageError as error:
        return f"{folder} {error.problem} ({CACHE_REMEDY})"
    return None


def gather_clean_text(
    config: FilterConfig, draw: Callable[[], list[tuple[str, ...]]] | None = None
) -> CleanText:
    """Gather the clean text for calibrating thresholds.

    It is the user's sample, a sample of the corpus itself, or else the held-out half of the
    library's background.

    Raises: CardError: the corpus should be sampled, but there is none. Raises: InputError: no row
    of the sample has an assistant's answer.
    """
    shipped = collect_background(find_cards())
    if not config.background:
        return CleanText(shipped)
    if not config.calibrates_on_input:
        answers = read_answers(config.background, config.corpus, config.shards)
        name = "--background"
    elif draw is not None:
        answers, name = draw(), CORPUS_SAMPLE
    else:
        raise CardError(
            f"--background {OWN_CORPUS} needs a corpus, and this command has none",
            remedy="congener filter --input CORPUS --background corpus, or name files of clean "
            "text (./corpus, if that is the name of yours)",
        )
    rows = tuple(CleanRow(texts, "user", "clean") for texts in answers if texts)
    if not rows:
        raise InputError(
            "has no assistant's answer",
            where=list_names(config.background),
            remedy="check --background and its format",
        )
    # a path would give equal samples different banks, and so runs with different ids
    return CleanText(shipped, rows, f"{name} {digest_config(rows)[:SAMPLE_HEX]}")


def read_answers(
    patterns: Sequence[str], corpus: CorpusConfig, limits: ShardLimits | None = None
) -> list[tuple[str, ...]]:
    """Read a corpus in any format, and return each row's assistant texts."""
    limits = limits or ShardLimits()
    found = survey(patterns, limits, list_paths(corpus))
    try:
        layout = settle_layout(found.schema, _choose_background_format(corpus, found.schema))
    except InputError as error:
        where = f"--background {list_names(patterns)}"
        raise InputError(error.problem, where=where, remedy=BACKGROUND_REMEDY) from error
    tables = [shard.table for shard in read_sample(found, layout, limits).shards]
    shares = measure_transcripts(tables, layout)
    layout = layout._replace(transcripts=choose_columns(shares, corpus.transcripts))
    rows: list[tuple[str, ...]] = []
    for task in plan_shards(found.sources, limits):
        for shard in read_task(task, found.select_schema(layout)):
            segments = extract_segments(shard.table, layout)
            answers: list[list[str]] = [[] for _ in range(shard.table.num_rows)]
            for segment in segments.find_in_scope(("assistant",), ("answer", "thinking")):
                answers[segments.rows[segment]].append(segments.texts[segment])
            rows += map(tuple, answers)
    return rows


def _choose_background_format(corpus: CorpusConfig, schema: pa.Schema) -> CorpusConfig:
    """Return the corpus's layout if it fits the background, or else an empty layout.

    With an empty layout, the background's own layout is detected.
    """
    if corpus.format and all(find_type(schema, name) for name in corpus.columns.values()):
        return CorpusConfig(format=corpus.format, columns=corpus.columns)
    return CorpusConfig()
