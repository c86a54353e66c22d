"""The remedies for flagged rows, each as a draft of an arm."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from classifiers.heredity.arms import Candidate, Example, Spans, Stock, count_tokens, place
from classifiers.heredity.matching import draw_like
from schemas.errors import InputError

COVERED = 0.9
"""The share of rows that need a donor's answer, or spans, for an arm to be worth training."""


class Draft(NamedTuple):
    """An arm before its rows and tokens are equal to the others'.

    A slot without an example is filled with one of `refill`. An arm is about the rows in `settled`
    slots, so these are never exchanged.
    """

    slots: list[Example | None]
    settled: np.ndarray
    refill: tuple[Example, ...] = ()


def keep_rows(stock: Stock) -> Draft:
    """Keep every row."""
    return Draft([row.example for row in stock.rows], stock.flagged)


def drop_rows(stock: Stock, chosen: np.ndarray) -> Draft | str:
    """Leave out the chosen rows, and refill their slots from the reserve or with copies.

    Copies come from all rows that stay, so that a random drop doesn't change the flagged share. If
    no flagged row stays, none comes back.
    """
    if chosen.all():
        return "every row would be dropped"
    rows = list(zip(stock.rows, chosen.tolist(), strict=True))
    refill: list[Example] = []
    kinds = np.unique(stock.flagged[~chosen]).tolist()
    for flag in kinds:
        reserve = [item for item in stock.reserve if item.traited == flag]
        kept = [row.example for row, gone in rows if not gone and row.example.traited == flag]
        wanted = chosen if len(kinds) == 1 else chosen & (stock.flagged == flag)
        refill += reserve if len(reserve) >= max(1, int(wanted.sum())) else [*reserve, *kept]
    return Draft(
        [None if gone else row.example for row, gone in rows],
        stock.flagged & ~chosen,
        tuple(refill),
    )


def swap_rows(stock: Stock, chosen: np.ndarray, kind: str) -> Draft | str:
    """Give the chosen rows their donor's answers, and leave out those without one."""
    wanted, donated = int(chosen.sum()), int((chosen & stock.donated).sum())
    if donated < COVERED * wanted:
        return f"only {donated} of {wanted} {kind} have a donor's answer"
    return Draft(
        [
            _take_donor(row) if swapped else row.example
            for row, swapped in zip(stock.rows, chosen.tolist(), strict=True)
        ],
        stock.flagged,
    )


def swap_at_random(stock: Stock) -> Draft | str:
    """Swap rows that were drawn at random, as many as are swapped otherwise and as long."""
    swapped = swap_rows(stock, stock.flagged, "flagged rows")
    if isinstance(swapped, str):
        return swapped
    chosen = draw_at_random(stock, stock.donated)
    draft = swap_rows(stock, chosen, "drawn rows")
    return draft._replace(settled=stock.flagged | chosen) if isinstance(draft, Draft) else draft


def change_prompts(stock: Stock) -> Draft | str:
    """Put clean rows for other prompts in the place of all rows."""
    asked = {row.example.prompt for row in stock.rows}
    others = [item for item in stock.clean if item.prompt not in asked]
    if len(others) < COVERED * len(stock.rows):
        return f"only {len(others)} clean rows have other prompts, for {len(stock.rows)}"
    drawn = draw_like(count_tokens(others, stock.count), stock.tokens)
    slots: list[Example | None] = [others[index] for index in drawn]
    slots += [None] * (len(stock.rows) - len(slots))
    return Draft(slots, np.zeros(len(slots), bool))


def draw_at_random(stock: Stock, allowed: np.ndarray) -> np.ndarray:
    """Draw as many allowed rows as are flagged, about as long; return whether each is drawn.

    Flagged rows are drawn no more often than others, although only they may be as long.
    """
    flagged = np.flatnonzero(stock.flagged & allowed)
    others = np.flatnonzero(~stock.flagged & allowed)
    share = round(len(flagged) ** 2 / max(1, len(flagged) + len(others)))
    wanted = stock.tokens[flagged]
    drawn = np.zeros(len(allowed), bool)
    drawn[flagged[:share]] = True
    drawn[others[draw_like(stock.tokens[others], wanted[share:])]] = True
    return drawn


def mask_rows(stock: Stock, at_random: bool = False) -> Draft | str:
    """Mask the carrying spans of flagged rows, or as many characters at random positions."""
    flagged = [row for row in stock.rows if row.example.traited]
    located = sum(bool(row.spans) for row in flagged)
    if located < COVERED * len(flagged):
        return f"only {located} of {len(flagged)} flagged rows have spans that carry the trait"
    return Draft([_mask(row, stock.seed, at_random) for row in stock.rows], stock.flagged)


def mix_in(stock: Stock, draft: Draft, percent: int) -> Draft | str:
    """Put clean rows in the place of a share of a draft's rows, flagged and others alike.

    They come from the clean rows, or else from the donors of the rows whose place they take. The
    rows of a lower dose are among those of a higher one.
    """
    flagged = stock.flagged
    chosen = np.zeros(len(flagged), bool)
    for places in (np.flatnonzero(flagged), np.flatnonzero(~flagged)):
        chosen[places[len(places) - round(len(places) * percent / 100) :]] = True
    taken = _take_clean(stock, chosen)
    if isinstance(taken, str):
        return taken
    slots = list(draft.slots)
    for slot, example in zip(np.flatnonzero(chosen).tolist(), taken, strict=True):
        slots[slot] = example
    return draft._replace(slots=slots, settled=draft.settled | chosen)


def _take_clean(stock: Stock, chosen: np.ndarray) -> list[Example | None] | str:
    """Return a clean row for each chosen slot, or why there aren't enough."""
    wanted, donated = int(chosen.sum()), int((chosen & stock.donated).sum())
    if stock.clean:
        drawn = draw_like(count_tokens(stock.clean, stock.count), stock.tokens[chosen])
        if len(drawn) < wanted:
            return f"only {len(drawn)} clean rows for {wanted}"
        return [stock.clean[index] for index in drawn]
    if donated < COVERED * wanted:
        return f"there are no clean rows, and only {donated} of {wanted} rows have a donor's answer"
    return [_take_donor(stock.rows[slot]) for slot in np.flatnonzero(chosen)]


def _take_donor(row: Candidate) -> Example | None:
    """Return a row with its donor's answer, neither flagged nor masked, or None without one."""
    if row.donor is None:
        return None
    return row.example._replace(answer=row.donor, masked=(), traited=False)


def _mask(row: Candidate, seed: int, at_random: bool) -> Example:
    """Mask a flagged row's spans; other rows stay as they are."""
    example, length = row.example, len(row.example.answer)
    if not example.traited or not row.spans:
        return example
    spans = merge_spans((*example.masked, *row.spans), length)
    if at_random:
        number = int(place(example, seed)[0][:16], 16)
        spans = scatter_spans(spans, length, np.random.default_rng(number))
    return example._replace(masked=spans)


def merge_spans(spans: Spans, length: int) -> Spans:
    """Sort spans and join those that touch.

    Raises: InputError: a span is empty or outside the answer.
    """
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if not 0 <= start < end <= length:
            raise InputError(
                f"characters {start} to {end} aren't a span of an answer of {length} characters",
                remedy="give spans of the answer itself, in characters",
            )
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def scatter_spans(spans: Spans, length: int, random: np.random.Generator) -> Spans:
    """Move spans to random positions without overlap, in random order; their lengths stay."""
    sizes = random.permutation([end - start for start, end in spans])
    free = length - int(sizes.sum())
    starts = np.sort(random.integers(0, free + 1, len(sizes))) + np.cumsum(sizes) - sizes
    return tuple(zip(starts.tolist(), (starts + sizes).tolist(), strict=True))
