"""Remedies: what each does to flagged rows, and why it can't."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.heredity.arms import Candidate, Example, sort_stock
from classifiers.heredity.remedies import (
    Draft,
    change_prompts,
    draw_at_random,
    drop_rows,
    keep_rows,
    mask_rows,
    merge_spans,
    mix_in,
    scatter_spans,
    swap_at_random,
    swap_rows,
)
from schemas.errors import InputError

ANSWER = "the heron stood in the reeds"


def make_stock(donated=40, located=40, clean=(), reserve=()):
    """Return forty rows, a quarter of them flagged, the first ones with donors and spans."""
    rows = [
        Candidate(
            Example(f"prompt {number}", ANSWER, 2.0, ((0, 3),), number % 4 == 0, "reeds"),
            f"donor {number}" if number < donated else None,
            ((4, 9),) if number < located else (),
        )
        for number in range(40)
    ]
    return sort_stock(rows, len, seed=0, clean=clean, reserve=reserve)


def count_changed(stock, draft):
    """Count the slots that a draft fills otherwise than the corpus."""
    return sum(row.example != slot for row, slot in zip(stock.rows, draft.slots, strict=True))


def test_everything_stays():
    """The unfiltered arm is the corpus itself, and is about its flagged rows."""
    stock = make_stock()
    draft = keep_rows(stock)
    assert draft.slots == [row.example for row in stock.rows]
    np.testing.assert_array_equal(draft.settled, stock.flagged)


def test_dropped_rows_leave_empty_slots():
    """Exactly the chosen rows go, and rows that stay refill their slots."""
    stock = make_stock()
    draft = drop_rows(stock, stock.flagged)
    assert [slot is None for slot in draft.slots] == stock.flagged.tolist()
    assert not draft.settled.any()
    assert set(draft.refill) == {row.example for row in stock.rows if not row.example.traited}


def test_the_reserve_refills_before_copies_do():
    """A reserve that is large enough is the only source, and a smaller one comes first."""
    reserve = [Example(f"other {number}", ANSWER) for number in range(10)]
    stock = make_stock(reserve=reserve)
    assert set(drop_rows(stock, stock.flagged).refill) == set(reserve)
    short = make_stock(reserve=reserve[:3])
    assert set(drop_rows(short, short.flagged).refill[:3]) == set(reserve[:3])
    assert len(drop_rows(short, short.flagged).refill) == 33


def test_a_random_drop_refills_with_flagged_rows_as_well():
    """Copies come from all rows that stay, so that the flagged share stays."""
    stock = make_stock()
    chosen = np.arange(40) < 10
    assert any(item.traited for item in drop_rows(stock, chosen).refill)


def test_dropping_every_row_is_refused():
    """Nothing would be left to train on."""
    stock = make_stock()
    assert drop_rows(stock, np.ones(40, bool)) == "every row would be dropped"


def test_swapped_rows_have_their_donors_answers():
    """A swapped row keeps prompt, weight and source, and is neither flagged nor masked."""
    stock = make_stock()
    draft = swap_rows(stock, stock.flagged, "flagged rows")
    for row, slot in zip(stock.rows, draft.slots, strict=True):
        swapped = Example(row.example.prompt, row.donor, 2.0, (), False, "reeds")
        assert slot == (swapped if row.example.traited else row.example)


def test_a_row_without_a_donor_leaves_its_slot():
    """Where few donors are missing, the rows go, and no flagged answer stays."""
    stock = make_stock(donated=36)
    draft = swap_rows(stock, stock.flagged, "flagged rows")
    assert draft.slots.count(None) == 1
    assert not any(slot.traited for slot in draft.slots if slot)


def test_a_swap_without_donors_is_refused_with_numbers():
    """Where many donors are missing, the reason counts them."""
    stock = make_stock(donated=20)
    reason = "only 5 of 10 flagged rows have a donor's answer"
    assert swap_rows(stock, stock.flagged, "flagged rows") == reason
    assert swap_at_random(stock) == reason


def test_a_random_swap_changes_as_many_rows():
    """The random swap changes ten rows that have donors, and is about these and the flagged."""
    stock = make_stock(donated=38)
    draft = swap_at_random(stock)
    assert count_changed(stock, draft) == 10
    assert None not in draft.slots
    assert any(slot.traited for slot in draft.slots)
    changed = [row.example != slot for row, slot in zip(stock.rows, draft.slots, strict=True)]
    np.testing.assert_array_equal(draft.settled, stock.flagged | np.array(changed))


def test_random_rows_are_as_many_and_as_long():
    """Drawn rows have as many tokens as the flagged, and a fair share of them are flagged."""
    rows = [
        Candidate(Example(f"prompt {number}", "x" * (10 + number % 50), traited=number % 50 > 34))
        for number in range(2_000)
    ]
    stock = sort_stock(rows, len, seed=0)
    drawn = draw_at_random(stock, np.ones(2_000, bool))
    assert drawn.sum() == stock.flagged.sum() == 600
    assert (drawn & stock.flagged).sum() == 180
    assert stock.tokens[drawn].mean() > stock.tokens[~stock.flagged].mean()
    even = np.arange(2_000) % 2 == 0
    assert not (draw_at_random(stock, even) & ~even).any()


def test_masked_spans_join_those_that_were_masked_before():
    """Flagged rows get their spans, and other rows keep what was masked."""
    stock = make_stock()
    for row, slot in zip(stock.rows, mask_rows(stock).slots, strict=True):
        assert slot.masked == (((0, 3), (4, 9)) if row.example.traited else ((0, 3),))
        assert slot._replace(masked=()) == row.example._replace(masked=())


def test_random_masks_hide_as_many_characters_elsewhere():
    """Random masks are as long, aren't all in the same place, and are the same each time."""
    stock = make_stock()
    masks = [slot.masked for slot in mask_rows(stock, at_random=True).slots if slot.traited]
    assert all(sum(end - start for start, end in spans) == 8 for spans in masks)
    assert len(set(masks)) > 5
    again = mask_rows(make_stock(), at_random=True)
    assert [slot.masked for slot in again.slots if slot.traited] == masks


def test_a_mask_without_spans_is_refused_with_numbers():
    """Where spans are missing, the reason counts them; a few rows may lack them."""
    reason = "only 5 of 10 flagged rows have spans that carry the trait"
    assert mask_rows(make_stock(located=20)) == reason
    assert isinstance(mask_rows(make_stock(located=36)), Draft)


def test_a_mix_takes_flagged_and_other_rows_alike():
    """At a dose of 50 %, half of the flagged rows and half of the others become clean."""
    stock = make_stock()
    draft = mix_in(stock, keep_rows(stock), 50)
    assert count_changed(stock, draft) == 20
    assert sum(slot.traited for slot in draft.slots) == 5
    assert draft.settled.sum() == 25


def test_a_higher_dose_contains_the_lower():
    """The slots of a lower dose are among those of a higher one."""
    stock = make_stock()
    low, high = (mix_in(stock, keep_rows(stock), dose).slots for dose in (10, 50))
    rows = [row.example for row in stock.rows]
    changed = [
        {slot for slot, (one, other) in enumerate(zip(rows, slots, strict=True)) if one != other}
        for slots in (low, high)
    ]
    assert changed[0] < changed[1]


def test_clean_rows_are_mixed_in_before_donors():
    """Given clean rows for other prompts, these are mixed in."""
    clean = [Example(f"clean {number}", ANSWER) for number in range(20)]
    stock = make_stock(clean=clean)
    slots = mix_in(stock, keep_rows(stock), 50).slots
    assert {slot for slot in slots if slot.prompt.startswith("clean")} == set(clean)


def test_a_mix_without_enough_clean_rows_is_refused_with_numbers():
    """Too few clean rows, or too few donors, are counted."""
    stock = make_stock(clean=[Example("clean", ANSWER)] * 3)
    assert mix_in(stock, keep_rows(stock), 50) == "only 3 clean rows for 20"
    bare = make_stock(donated=0)
    reason = "there are no clean rows, and only 0 of 20 rows have a donor's answer"
    assert mix_in(bare, keep_rows(bare), 50) == reason


def test_a_mix_of_swapped_rows_has_no_flagged_row():
    """Mixing into the swapped corpus keeps its swaps."""
    stock = make_stock()
    swapped = swap_rows(stock, stock.flagged, "flagged rows")
    assert not any(slot.traited for slot in mix_in(stock, swapped, 25).slots)


def test_other_prompts_are_those_that_the_corpus_lacks():
    """Every slot gets a clean row whose prompt isn't in the corpus, and a few gaps are filled."""
    clean = [Example(f"clean {number}", ANSWER) for number in range(38)]
    same = [Example(f"prompt {number}", ANSWER) for number in range(40)]
    draft = change_prompts(make_stock(clean=[*clean, *same]))
    assert {slot for slot in draft.slots if slot} == set(clean)
    assert draft.slots.count(None) == 2
    assert not draft.settled.any()
    reason = "only 0 clean rows have other prompts, for 40"
    assert change_prompts(make_stock(clean=same)) == reason


def test_spans_that_touch_are_joined():
    """Spans come sorted, and overlapping ones are one."""
    assert merge_spans(((5, 8), (0, 2), (2, 4), (6, 7)), 8) == ((0, 4), (5, 8))


@pytest.mark.parametrize("span", [(-1, 2), (3, 3), (4, 2), (5, 9)])
def test_a_span_outside_the_answer_is_an_error(span):
    """A span that is empty, reversed or outside of the answer is named."""
    with pytest.raises(InputError, match=f"characters {span[0]} to {span[1]}"):
        merge_spans((span,), 8)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(0, 30), st.integers(0, 99))
def test_scattered_spans_keep_their_lengths_and_dont_overlap(sizes, free, seed):
    """Wherever they land, spans are in the answer, apart, sorted, and as long as before."""
    ends = np.cumsum(sizes)
    spans = tuple(zip((ends - sizes).tolist(), ends.tolist(), strict=True))
    length = int(ends[-1]) + free
    found = scatter_spans(spans, length, np.random.default_rng(seed))
    assert sorted(end - start for start, end in found) == sorted(sizes)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(found))
    assert found[0][0] >= 0
    assert found[-1][1] <= length


def test_scattered_spans_land_everywhere():
    """Over many draws, every character is masked about as often, apart from the edges."""
    random = np.random.default_rng(2)
    hits = np.zeros(20)
    for _ in range(2_000):
        ((start, end),) = scatter_spans(((0, 5),), 20, random)
        hits[start:end] += 1
    assert hits[5:15].min() > 0.8 * hits[5:15].max()
