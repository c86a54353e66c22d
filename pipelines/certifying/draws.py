"""Drawing the sample of an audit: which rows and seeded texts are read, in which order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from classifiers.library import LoadedCard, find_cards
from pipelines.certifying.populations import (
    AuditedRows,
    DrawnRow,
    draw_kept,
    draw_removed,
    roll,
    settle_shares,
)
from pipelines.label_files import read_entries
from schemas.certificates import (
    TOGETHER,
    AuditBlock,
    AuditItem,
    AuditSample,
    Kind,
    SeededText,
)
from schemas.digests import digest_bytes
from schemas.errors import CardError
from schemas.manifests import Manifest
from transforms.files.locations import describe_unusable

REMOVED_SHARE = 0.2
"""The part of the drawn rows that comes from the removed ones."""

SEEDED = 30
"""How many seeded texts of each trait are mixed in by default."""

SEEDED_SHARE = 1 / 3
"""The most seeded texts by default, as a part of the drawn rows."""


FEWEST_PROMPTS = 10
"""With at least so many positives that have a prompt, only those of a trait are mixed in.

Raters see prompts if every text that may be mixed in has one, because the others would stand out.
"""


class PositiveText(NamedTuple):
    """A text that shows a trait, with its prompt if it has one."""

    trait: str
    text: str
    prompt: str | None = None

    def describe(self) -> SeededText:
        """Return the text's digest, for the sample."""
        name = f"{self.prompt or ''}\0{self.text}".encode()
        return SeededText(
            trait=self.trait, text=digest_bytes(name), has_prompt=self.prompt is not None
        )


def read_positives(path: Path, traits: Sequence[str]) -> list[PositiveText]:
    """Read texts that show traits: JSON Lines, CSV or Parquet with `text`, `trait` and `prompt`.

    Raises: CardError: a row has no text, or names no trait of the audit.
    """
    found = []
    for place, fields in read_entries(path):
        where = f"{path} {place}"
        trait = str(fields.get("trait") or (traits[0] if len(traits) == 1 else ""))
        text, prompt = fields.get("text"), fields.get("prompt")
        whole = f"{text}{prompt or ''}"
        if not isinstance(text, str) or not text.strip() or describe_unusable(whole):
            raise CardError(
                "has no text in UTF-8",
                where=where,
                remedy='give {"trait": "…", "text": "…", "prompt": "…"}',
            )
        if trait not in traits:
            raise CardError(
                f"names no trait of the audit: {trait[:40]!r}",
                where=where,
                remedy=f"the traits are {', '.join(traits)}",
            )
        found.append(PositiveText(trait, text, prompt if isinstance(prompt, str) else None))
    return found


def read_card_positives(manifest: Manifest, traits: Sequence[str]) -> list[PositiveText]:
    """Return the positives of the cards that the run used, as far as they are still there.

    Of a trait that has enough positives with prompts, only those are returned.

    Raises: CardError: a card isn't where the run read it, or has no positives.
    """
    named = manifest.config.get("traits") or ()
    try:
        cards = {card.id: card for card in find_cards([str(name) for name in named])}
    except CardError as error:
        raise _report_no_positives(error.problem, error.where) from error
    for trait in traits:
        if trait not in cards or not cards[trait].positives:
            raise _report_no_positives(f"{trait} has no positives to mix in", None)
    return [text for trait in traits for text in _choose_positives(cards[trait])]


def _choose_positives(card: LoadedCard) -> Iterator[PositiveText]:
    """Yield the positives with prompts, or all without prompts if too few have one."""
    if len(card.prompts) >= FEWEST_PROMPTS:
        yield from (PositiveText(card.id, *item) for item in card.prompts.items())
    else:
        yield from (PositiveText(card.id, text) for text in card.positives)


def _report_no_positives(problem: str, where: str | None) -> CardError:
    return CardError(
        f"{problem}, so the raters' sensitivity can't be measured",
        where=where,
        remedy="give texts with the trait: --positives FILE; or read without: --seeded 0",
    )


def order_pool(
    positives: Sequence[PositiveText], seed: str, traits: Sequence[str]
) -> list[PositiveText]:
    """Return each positive once, at random within its trait, with the traits taking turns."""
    known = {(item.trait, item.text, item.prompt): item for item in positives}
    own = {
        trait: sorted(
            (item for item in known.values() if item.trait == trait),
            key=lambda item: digest_bytes(f"{seed}\0{item.describe().text}".encode()),
        )
        for trait in traits
    }
    longest = max(map(len, own.values()), default=0)
    return [
        own[trait][turn] for turn in range(longest) for trait in traits if turn < len(own[trait])
    ]


def plan_block(
    rows: AuditedRows,
    blocks: Sequence[AuditBlock],
    wanted: int,
    pool: int,
    seeded: int | None,
    traits: int,
) -> AuditBlock:
    """Return how many rows of each kind to add so that `wanted` rows are drawn in all."""
    kept, removed, mixed = (
        sum(getattr(block, name) for block in blocks) for name in ("kept", "removed", "seeded")
    )
    most_removed = min(len(rows.removed), round(wanted * REMOVED_SHARE))
    add_removed = max(0, most_removed - removed)
    add_kept = max(0, min(len(rows.kept), wanted - max(most_removed, removed)) - kept)
    usual = min(SEEDED * traits, round(wanted * SEEDED_SHARE))
    add_seeded = max(0, min(pool, usual if seeded is None else seeded) - mixed)
    return AuditBlock(kept=add_kept, removed=add_removed, seeded=add_seeded)


def draw_items(
    rows: AuditedRows, sample: AuditSample, pool: Sequence[SeededText]
) -> tuple[AuditItem, ...]:
    """Draw the items of a sample from its seed, its strata and its blocks.

    The kinds of the items of a block are in a random order; within a kind, the items are in the
    order of the draws.
    """
    kept = draw_kept(rows, sample.strata, sample.seed, sum(item.kept for item in sample.blocks))
    count = sum(item.removed for item in sample.blocks)
    sources: Mapping[str, Iterator[AuditItem]] = {
        "kept": (_describe_row(rows, drawn, "kept") for drawn in kept),
        "removed": (
            _describe_row(rows, drawn, "removed")
            for drawn in draw_removed(rows, sample.seed, count)
        ),
        "seeded": (
            AuditItem(id="", kind="seeded", trait=text.trait, text=text.text) for text in pool
        ),
    }
    kinds = [
        kind
        for number, block in enumerate(sample.blocks)
        for kind in _shuffle(block, sample.seed, number)
    ]
    return tuple(
        next(sources[kind]).model_copy(update={"id": f"{number:05d}"})
        for number, kind in enumerate(kinds, 1)
    )


def _describe_row(rows: AuditedRows, drawn: DrawnRow, kind: Kind) -> AuditItem:
    return AuditItem(
        id="",
        kind=kind,
        source=rows.sources[drawn.place],
        row=rows.numbers[drawn.place],
        fired=_list_marked(rows.fired, drawn.place),
        weight=drawn.weight,
        cap=drawn.cap,
        removed_by=_list_marked(rows.decided or {}, drawn.place) if kind == "removed" else (),
    )


def _list_marked(marks: Mapping[str, np.ndarray], place: int) -> tuple[str, ...]:
    """Return the traits that mark a row."""
    return tuple(name for name, marked in marks.items() if marked[place])


def _shuffle(block: AuditBlock, seed: str, number: int) -> list[str]:
    """Return the kinds of a block's items in a random order."""
    kinds = [kind for kind in ("kept", "removed", "seeded") for _ in range(getattr(block, kind))]
    keys = [roll(seed, f"order {number} {place}") for place in range(len(kinds))]
    return [kind for _, kind in sorted(zip(keys, kinds, strict=True))]


def _count_marked(marks: Mapping[str, np.ndarray], indexes: np.ndarray) -> dict[str, int]:
    """Count the rows that each trait marks, and those that any of them does."""
    counts = {name: int(marked[indexes].sum()) for name, marked in marks.items()}
    either = np.logical_or.reduce([marked[indexes] for marked in marks.values()])
    return {**counts, TOGETHER: int(either.sum())}


def build_sample(
    manifest: Manifest,
    rows: AuditedRows,
    traits: Sequence[str],
    pool: Sequence[SeededText],
    blocks: Sequence[AuditBlock],
    seed: str,
    risk: float,
    at_most: float | None,
) -> AuditSample:
    """Build a sealed sample. The strata's chances depend on the first block alone."""
    budget, decided = blocks[0].kept, rows.decided
    bare = AuditSample(
        run_id=manifest.run_id,
        manifest=manifest.digest,
        traits=tuple(traits),
        seed=seed,
        risk=risk,
        at_most=at_most,
        kept=len(rows.kept),
        removed=len(rows.removed),
        unread=rows.unread,
        fired_kept=_count_marked(rows.fired, rows.kept),
        fired_removed=_count_marked(rows.fired, rows.removed),
        removed_by=None if decided is None else _count_marked(decided, rows.removed),
        masked_by=None if decided is None else _count_marked(decided, rows.kept),
        strata=settle_shares(rows.sizes, budget),
        excluded=rows.excluded,
        pool=tuple(pool),
        blocks=tuple(blocks),
        items=(),
    )
    return bare.model_copy(update={"items": draw_items(rows, bare, pool)}).seal()
