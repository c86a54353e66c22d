"""Canaries of a run: where known texts are planted, and what the run must find of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from classifiers.guarantees.calibration import bound_share
from classifiers.library import HELD_OUT, LoadedCard, find_cards
from pipelines.certifying.draws import read_positives
from pipelines.certifying.populations import roll
from pipelines.config import require_local_path
from pipelines.label_files import read_entries
from pipelines.labels import read_all_labels, read_files
from pipelines.plan import FilterPlan
from schemas.canaries import CanaryCount, CanaryRecord
from schemas.digests import digest_bytes, digest_config
from schemas.errors import BudgetError, CardError, InputError
from schemas.notices import Notice, format_count, list_names, warn
from schemas.policies import PUBLISHED
from schemas.shares import exceeds, format_exact, format_interval, to_exact
from transforms.canaries import CanaryOutcome, plant_texts, read_outcomes
from transforms.files.locations import describe_unusable
from transforms.files.shards import Shard, read_task

HELD_OUT_TEXTS = re.compile(r"heldout(?::([1-9]\d{0,5}))?")
"""What stands for the held-out texts of the cards instead of a file, or for so many of each."""

HOSTS = 4
"""In how many shards canaries are planted, at most. Each of them is read once more."""

KEEP = ""
"""The trait of a text that must be kept."""


class CanaryText(NamedTuple):
    """A text to plant: the trait that it shows, or `KEEP`."""

    trait: str
    text: str


class Planted(NamedTuple):
    """The canaries of a run: shards with their texts, the places, and a digest of all of it."""

    shards: tuple[Shard, ...]
    texts: tuple[tuple[CanaryText, ...], ...]
    places: tuple[tuple[str, int], ...]
    digests: dict[str, str]
    digest: str


def settle_canaries(plan: FilterPlan) -> Planted | None:
    """Choose random places for the canaries that a run asks for, the same for the same texts.

    A text takes the place of the answer of a row of the corpus, so it has that row's prompt, lot
    and form. The row itself isn't changed.

    Raises: CardError: a file of texts can't be used. Raises: InputError: no row has an answer.
    """
    texts, digests = read_texts(plan)
    if not texts:
        return None
    digest = digest_config([digests, [shard.name for shard in plan.shards]])
    tasks = sorted(plan.tasks, key=lambda task: roll(digest, task[0].name))[:HOSTS]
    count = min(len(tasks), len(texts))
    shards: list[Shard] = []
    planted: list[tuple[CanaryText, ...]] = []
    places: list[tuple[str, int]] = []
    for number, task in enumerate(tasks[:count]):
        host = next(read_task(task[:1], plan.read_schema))
        own = tuple(texts[number::count])
        rows = range(host.table.num_rows)
        order = sorted(rows, key=lambda row: roll(digest, f"{number} {row}"))
        made = plant_texts(host, plan.layout, [item.text for item in own], order, number)
        if made is None:
            continue
        shards.append(made[0])
        planted.append(own)
        places += [(host.sources[row], host.numbers[row]) for row in made[1]]
    if sum(map(len, planted)) < len(texts):
        raise InputError(
            "some shards have no row with a plain answer in which a canary could be planted",
            remedy="filter without --canaries and --keep-list, or rows with answers",
        )
    return Planted(tuple(shards), tuple(planted), tuple(places), digests, digest)


def read_texts(plan: FilterPlan) -> tuple[list[CanaryText], dict[str, str]]:
    """Read the texts of a run's canaries and of its keep-list, and their digests.

    Raises: CardError: a file can't be read, names a trait that the run doesn't have, or has a text
        that a trait was fitted with.
    """
    config, texts, digests = plan.config, list[CanaryText](), dict[str, str]()
    if config.canaries:
        texts, digests["canaries"] = _read_canaries(plan, config.canaries)
        require_unseen(plan, texts)
    if config.keep_list:
        path = Path(config.keep_list)
        texts += [CanaryText(KEEP, text) for text in _read_keep_list(path)]
        digests["keep_list"] = digest_bytes(path.read_bytes())
    return texts, digests


def _read_canaries(plan: FilterPlan, given: str) -> tuple[list[CanaryText], str]:
    """Read canaries from a file, or the held-out texts of the run's cards, and their digest."""
    traits = [rule.trait for rule in plan.rules]
    if found := HELD_OUT_TEXTS.fullmatch(given):
        most = int(found[1]) if found[1] else None
        texts = [
            text
            for name, card in sorted(find_own_cards(plan).items())
            for text in select_held_out(name, card.folder, most)
        ]
        if not texts:
            raise CardError(
                "no card of the run has held-out texts",
                where=f"--canaries {given}",
                remedy=f"write texts that show the trait to {HELD_OUT} in its folder, as "
                '{"text": "…", "label": true}, or give a file: --canaries FILE',
            )
        return texts, digest_config(texts)
    path = Path(given)
    own = [CanaryText(item.trait, item.text) for item in read_positives(path, traits)]
    return own, digest_bytes(path.read_bytes())


def find_own_cards(plan: FilterPlan) -> dict[str, LoadedCard]:
    """Return the cards from which the run's traits were fitted, as far as they are there.

    For a bank without cards, these are the library's, if the bank's traits were fitted from them.
    """
    return {
        card.id: card
        for card in find_cards(plan.config.traits)
        if card.id in plan.bank.traits and plan.bank.traits[card.id].card_digest == card.digest
    }


def select_held_out(trait: str, folder: Path, most: int | None = None) -> list[CanaryText]:
    """Return the held-out texts of a trait's folder that show it, or `most` of them at random.

    Texts that show the trait only after their own prompt are left out.

    Raises: CardError: the file can't be read, or a line has no label.
    """
    path = folder / HELD_OUT
    if not path.exists():
        return []
    texts = {
        CanaryText(trait, label.text)
        for label in read_all_labels(path)
        if label.text and label.shows and not label.prompt and label.trait in (None, trait)
    }
    return sorted(texts, key=lambda item: digest_bytes(item.text.encode()))[:most]


def require_unseen(plan: FilterPlan, texts: Sequence[CanaryText]) -> None:
    """Refuse canaries that are exemplars or labelled texts of the fit, which finds these easily.

    Raises: CardError: there is one.
    """
    cards = find_own_cards(plan)
    seen = {CanaryText(name, text) for name, card in cards.items() for text in card.positives}
    if plan.config.labels:
        labels = read_files(map(require_local_path, plan.config.labels))
        known = [label for label in labels if label.text]
        seen |= {
            CanaryText(name, label.text or "")
            for label in known
            for name in ([label.trait] if label.trait else plan.bank.traits)
        }
    if both := [item for item in texts if item in seen]:
        raise CardError(
            f"{format_count(len(both), 'text')} took part in the fit, so finding them shows "
            f"nothing, such as {both[0].text[:60]!r} of {both[0].trait}",
            where=f"--canaries {plan.config.canaries}",
            remedy="plant texts that aren't on the card and aren't labelled for the fit",
        )


def _read_keep_list(path: Path) -> Iterator[str]:
    for place, fields in read_entries(path):
        text = fields.get("text")
        if not isinstance(text, str) or not text.strip() or describe_unusable(text):
            raise CardError(
                "has no text in UTF-8", where=f"{path} {place}", remedy='give {"text": "…"}'
            )
        yield text


def find_outcomes(run: str, planted: Planted) -> list[tuple[CanaryText, CanaryOutcome]] | None:
    """Return what became of each text, or None if some weren't scored yet."""
    found = []
    for shard, texts in zip(planted.shards, planted.texts, strict=True):
        outcomes = read_outcomes(run, shard.plan.name, planted.digest)
        if outcomes is None:
            return None
        found += list(zip(texts, outcomes, strict=True))
    return found


def count_canaries(plan: FilterPlan, planted: Planted) -> CanaryRecord:
    """Count what became of a run's canaries.

    Raises: InputError: they weren't scored.
    """
    outcomes = find_outcomes(plan.config.output, planted)
    if outcomes is None:
        raise InputError("the canaries weren't scored", remedy="run the same command again")
    kept = [outcome for text, outcome in outcomes if text.trait == KEEP]
    traits = dict.fromkeys(text.trait for text, _ in outcomes if text.trait != KEEP)
    without = [rule.trait for rule in plan.rules if rule.trait not in traits]
    return CanaryRecord(
        unmeasured=tuple(without) if plan.config.canaries else (),
        digests=planted.digests,
        places=planted.places,
        counts=tuple(_count(trait, outcomes) for trait in traits),
        floor=plan.config.canary_floor,
        to_keep=len(kept),
        lost=sum(outcome.decision not in PUBLISHED for outcome in kept),
        budget=plan.config.keep_list_budget,
    )


def _count(trait: str, outcomes: Sequence[tuple[CanaryText, CanaryOutcome]]) -> CanaryCount:
    own = [outcome for text, outcome in outcomes if text.trait == trait]
    found = sum(trait in outcome.fired for outcome in own)
    low, high = bound_share(found, len(own))
    removed = sum(outcome.decision not in PUBLISHED for outcome in own)
    return CanaryCount(
        trait=trait, planted=len(own), found=found, removed=removed, low=low, high=high
    )


def describe_canaries(record: CanaryRecord) -> Iterator[Notice]:
    """Say how many canaries each trait found, and which texts of the keep-list were removed."""
    for item in record.counts:
        yield Notice(
            f"canaries: {item.trait} found {item.found} of {item.planted} "
            f"({format_interval(item.low, item.high, 0)})"
        )
    if record.unmeasured:
        yield warn(f"no canary of {list_names(record.unmeasured)}, so nothing is known of them")
    if record.to_keep:
        text = f"keep-list: {record.lost} of {format_count(record.to_keep, 'text')} removed"
        yield warn(text) if record.lost else Notice(text)


def check_canaries(record: CanaryRecord) -> None:
    """Refuse to publish a run that finds too few canaries, or removes too much of the keep-list.

    Raises: BudgetError: it does.
    """
    for item in record.counts:
        if record.floor is not None and item.found < to_exact(record.floor) * item.planted:
            raise BudgetError(
                f"{item.trait} found {item.found} of {item.planted} canaries, and the floor is "
                f"{format_exact(record.floor)}; nothing was published",
                remedy="congener inspect shows thresholds; lower the trait's threshold, improve "
                "its card, or lower --canary-floor",
            )
    if record.budget is not None and exceeds(record.lost, record.to_keep, record.budget):
        raise BudgetError(
            f"{record.lost} of {record.to_keep} texts of the keep-list would be removed, and the "
            f"budget is {format_exact(record.budget)}; nothing was published",
            remedy="raise the thresholds that remove them, or raise --keep-list-budget",
        )
