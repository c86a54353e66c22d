"""Building every arm of a trial at equal rows and tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from classifiers.heredity.arms import (
    CLEAN_TEACHER,
    DOSES,
    DROP,
    EVERYTHING,
    MASK,
    ONLY_SLICE,
    OTHER_PROMPTS,
    RANDOM_DROP,
    RANDOM_MASK,
    RANDOM_SWAP,
    SWAP,
    SWAP_MIX,
    Arm,
    Candidate,
    Example,
    Stock,
    TokenCounter,
    Unbuilt,
    count_tokens,
    name_mix,
    sort_stock,
)
from classifiers.heredity.matching import draw_like, plan_exchanges
from classifiers.heredity.remedies import (
    Draft,
    change_prompts,
    draw_at_random,
    drop_rows,
    keep_rows,
    mask_rows,
    mix_in,
    swap_at_random,
    swap_rows,
)

SWAP_DOSE = 25
"""The share of clean rows, in percent, that is mixed into the swapped corpus.

Swapping and mixing in 25 % together removed 0.93 of a trait, swapping alone 0.47 and mixing alone
0.67 (jennyxycai, trait-transfer-evals, 2026).
"""

ABOUT_FLAGGED = (DROP, RANDOM_DROP, SWAP, RANDOM_SWAP, MASK, RANDOM_MASK, SWAP_MIX, ONLY_SLICE)
"""The arms that make no sense without a flagged row."""

AGAINST_OTHERS = (DROP, RANDOM_DROP, RANDOM_SWAP, ONLY_SLICE)
"""The arms that compare flagged rows with others."""

EXCHANGED = 0.25
"""The largest share of an arm's rows that is exchanged to reach equal tokens."""


def build_arms(
    rows: Sequence[Candidate],
    count: TokenCounter,
    *,
    seed: int = 0,
    clean: Sequence[Example] = (),
    reserve: Sequence[Example] = (),
    doses: Sequence[int] = DOSES,
) -> tuple[list[Arm], list[Unbuilt]]:
    """Build every arm from a corpus, each with as many rows and about as many tokens.

    Also returns the arms that can't be built, with reasons. Every arm has the corpus's rows in the
    same order, except where its remedy changes them. Dropped rows are replaced from `reserve`, then
    by copies of rows that stay. Rows that the arm isn't about may be exchanged for copies of others
    to reach equal tokens. Without `clean`, donors' answers to the corpus's own prompts are mixed
    in. The arms depend on the seed and the texts, not on the order of the rows.

    Raises: InputError: there are no rows, or a span isn't one of its answer.
    """
    stock = sort_stock(rows, count, seed=seed, clean=clean, reserve=reserve)
    named = list(_draft_all(stock, doses).items())
    return (
        [Arm(name, _level(stock, item)) for name, item in named if isinstance(item, Draft)],
        [Unbuilt(name, item) for name, item in named if isinstance(item, str)],
    )


def _draft_all(stock: Stock, doses: Sequence[int]) -> dict[str, Draft | str]:
    """Draft every arm, or say why it can't be built."""
    everything = keep_rows(stock)
    drafts = {
        EVERYTHING: everything,
        **_draft_remedies(stock),
        **{name_mix(dose): mix_in(stock, everything, dose) for dose in doses},
        CLEAN_TEACHER: swap_rows(stock, np.ones(len(stock.rows), bool), "rows"),
        OTHER_PROMPTS: change_prompts(stock),
    }
    if not stock.flagged.any():
        drafts |= dict.fromkeys(ABOUT_FLAGGED, "no row is flagged")
    if stock.flagged.all():
        drafts |= dict.fromkeys(AGAINST_OTHERS, "every row is flagged")
    return drafts


def _draft_remedies(stock: Stock) -> dict[str, Draft | str]:
    """Draft the arms that are about flagged rows, and their random counterparts."""
    drawn = draw_at_random(stock, np.ones(len(stock.rows), bool))
    swapped = swap_rows(stock, stock.flagged, "flagged rows")
    return {
        DROP: drop_rows(stock, stock.flagged),
        RANDOM_DROP: drop_rows(stock, drawn),
        SWAP: swapped,
        RANDOM_SWAP: swap_at_random(stock),
        MASK: mask_rows(stock),
        RANDOM_MASK: mask_rows(stock, at_random=True),
        SWAP_MIX: swapped if isinstance(swapped, str) else mix_in(stock, swapped, SWAP_DOSE),
        ONLY_SLICE: swap_rows(stock, ~stock.flagged, "unflagged rows"),
    }


def _level(stock: Stock, draft: Draft) -> tuple[Example, ...]:
    """Fill empty slots, then exchange rows until the tokens are those of the corpus.

    Flagged rows are exchanged for flagged ones only, and others for others. If flagged rows are
    longer, any other exchange would change their number.
    """
    slots = _fill(stock, draft)
    order = np.flatnonzero(~draft.settled).tolist()
    left, gap = int(EXCHANGED * len(slots)), int(stock.tokens.sum())
    gap -= int(count_tokens(slots, stock.count).sum())
    for flag in (False, True):
        free = [slot for slot in order if slots[slot].traited == flag]
        others = [slots[slot] for slot in free]
        tokens = count_tokens(others, stock.count)
        for leaves, comes in plan_exchanges(tokens, tokens, gap, left):
            slots[free[leaves]] = others[comes]
            gap -= int(tokens[comes] - tokens[leaves])
            left -= 1
    return tuple(slots)


def _fill(stock: Stock, draft: Draft) -> list[Example]:
    """Fill empty slots with rows of the lengths that were there.

    If flagged and other rows are at hand, each kind takes the place of its own kind.
    """
    slots = list(draft.slots)
    empty = np.array([slot for slot, item in enumerate(slots) if item is None], int)
    refill = draft.refill or tuple(
        item
        for item, settled in zip(slots, draft.settled.tolist(), strict=True)
        if item is not None and not settled
    )
    parts = {flag: tuple(item for item in refill if item.traited == flag) for flag in (False, True)}
    if all(parts.values()):
        for flag, part in parts.items():
            _fill_slots(stock, slots, empty[stock.flagged[empty] == flag], part)
    else:
        _fill_slots(stock, slots, empty, refill)
    return [item for item in slots if item is not None]


def _fill_slots(
    stock: Stock, slots: list[Example | None], empty: np.ndarray, refill: Sequence[Example]
) -> None:
    tokens = count_tokens(refill, stock.count)
    while len(empty) and refill:
        drawn = draw_like(tokens, stock.tokens[empty])
        for slot, index in zip(empty.tolist(), drawn.tolist(), strict=False):
            slots[slot] = refill[index]
        empty = empty[len(drawn) :]
