"""Matches: which donor's row replaces which waiting row."""

import itertools

import apache_beam as beam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.eager import EagerPipeline
from tests.support.swaps import ask, list_donor_files
from transforms.records.prompt_keys import PromptKey
from transforms.swap_matches import Match, MatchPrompts, Unmatched, match_offers, order_donors
from transforms.swap_offers import Offer, Waiting, WaitingSettings

KEY = PromptKey("whole", "before", "asked")


def wait(position=0, answer="own", shard="part-0"):
    """Return a waiting row."""
    return Waiting(KEY, shard, position, answer)


def offer(record="a", answer="other", donor=0, distance=0.0, traits=()):
    """Return a donor's row."""
    return Offer(
        distance, donor, record, f"{donor}/f", 0, answer, f"d{donor}", "x.jsonl", 0, None, traits
    )


def match(waiting, offers):
    """Return the record that each row gets, or the outcome without one."""
    return {
        item.position: item.offer.record if isinstance(item, Match) else item.outcome
        for item in match_offers(waiting, offers)
    }


def test_nearer_prompts_and_earlier_donors_come_first():
    """Distance counts most, then the donors' order, then the record."""
    offers = [
        offer("c", donor=1),
        offer("a", donor=0, distance=0.1),
        offer("b", donor=1),
        offer("d", donor=0),
    ]
    assert match([wait(number) for number in range(5)], offers) == {
        0: "d",
        1: "b",
        2: "c",
        3: "a",
        4: "answers taken",
    }


def test_an_answer_never_replaces_itself():
    """The next offer with another answer is taken, and the first is left for another row."""
    offers = [offer("a", "own"), offer("b", "other")]
    assert match([wait(0), wait(1, "third")], offers) == {0: "b", 1: "a"}
    assert match([wait(0)], offers[:1]) == {0: "same answer"}


def test_an_offer_that_carries_a_trait_is_never_used():
    """The outcome names the traits if there was no other offer."""
    carrying = [offer("a", traits=("owl",)), offer("b", traits=("fox", "owl"))]
    (found,) = match_offers([wait()], carrying)
    assert found == Unmatched("part-0", 0, "donors carry a trait", ("fox", "owl"))
    assert match([wait()], [*carrying, offer("z")]) == {0: "z"}
    assert match([wait(0), wait(1)], [*carrying, offer("z")]) == {0: "z", 1: "answers taken"}
    assert match([wait()], []) == {0: "no donor"}


SHARES = {0: 0.6, 1: 0.3, 2: 0.1}


def test_each_donor_is_first_for_its_share_of_the_prompts():
    """Over many prompts, first and second places agree with the shares, within chance."""
    orders = [
        sorted(ranks, key=ranks.__getitem__)
        for number in range(4_000)
        for ranks in (order_donors(f"prompt {number}", 0, SHARES),)
    ]
    for donor, share in SHARES.items():
        first = sum(order[0] == donor for order in orders)
        assert first == pytest.approx(4_000 * share, abs=4 * (4_000 * share * (1 - share)) ** 0.5)
    second = [order[1] for order in orders if order[0] == 0]
    assert second.count(1) / len(second) == pytest.approx(0.75, abs=0.04)


def test_the_order_follows_from_the_prompt_and_the_row_alone():
    """The same prompt gives the same order; rows of one prompt and other shares differ."""
    assert order_donors("p", 0, SHARES) == order_donors("p", 0, dict(reversed(SHARES.items())))
    assert len({order_donors("p", number, SHARES)[0] for number in range(50)}) == 50
    assert order_donors("p", 0, {0: 0.3})[0] == pytest.approx(2 * order_donors("p", 0, SHARES)[0])
    assert order_donors("p", 0, {}) == {}


def test_shares_decide_among_equally_near_donors():
    """Distance counts most; donors without a share come last, and still serve what is left."""
    waiting = [wait(number) for number in range(400)]
    offers = [offer(f"{donor}{n:03}", donor=donor) for donor in (0, 1, 3) for n in range(400)]
    found = list(match_offers(waiting, offers, SHARES))
    used = [item.offer.donor for item in found]
    assert used.count(0) == pytest.approx(400 * 2 / 3, abs=40)
    assert used.count(0) + used.count(1) == 400
    near = [item._replace(distance=0.1) if item.donor < 2 else item for item in offers]
    assert {item.offer.donor for item in match_offers(waiting, near, SHARES)} == {3}
    few = [item for item in offers if item.donor == 3 or item.record < "0100"]
    left = [item.offer.donor for item in match_offers(waiting, few, SHARES)]
    assert left.count(3) == 300


OFFERS = st.builds(
    offer,
    record=st.sampled_from("abcdef"),
    answer=st.sampled_from(["own", "p", "q"]),
    donor=st.integers(0, 1),
    distance=st.sampled_from([0.0, 0.2]),
    traits=st.sampled_from([(), (), ("owl",)]),
)


@given(
    answers=st.lists(st.sampled_from(["own", "p"]), max_size=5),
    offers=st.lists(OFFERS, max_size=8),
    order=st.randoms(use_true_random=False),
    shares=st.sampled_from([{}, {0: 1.0}, {0: 0.5, 1: 0.5}]),
)
def test_every_row_has_one_outcome_in_any_order(answers, offers, order, shares):
    """No row is lost, no offer serves twice, and the order of the input doesn't matter."""
    waiting = [wait(position, answer) for position, answer in enumerate(answers)]
    found = list(match_offers(waiting, offers, shares))
    assert [item.position for item in found] == list(range(len(waiting)))
    used = [item.offer for item in found if isinstance(item, Match)]
    assert len(set(used)) == len(used)
    assert not any(item.traits for item in used)
    for item in found:
        if isinstance(item, Match):
            assert item.offer.answer != answers[item.position]
    shuffled = [waiting.copy(), offers.copy()]
    for items in shuffled:
        order.shuffle(items)
    assert list(match_offers(*shuffled, shares)) == found


def run_match(store_waiting, donors, near=None):
    """Run the join, and return its sorted outcomes."""
    run, layout, shards = store_waiting
    files = [
        file
        for number, (own, other, found) in enumerate(donors)
        for file in list_donor_files(own, found, other, number, f"d{number}")
    ]
    settings = WaitingSettings(str(run), layout)
    outcomes = EagerPipeline().run(
        lambda pipeline: pipeline | beam.Create(shards) | MatchPrompts(files, settings, near)
    )
    return sorted(outcomes, key=lambda pair: (pair[0], pair[1].position))


@pytest.fixture
def waiting_run(store):
    """Store rows in shards of two, of which the odd ones wait."""
    rows = [ask(number, "An owl." if number % 2 else "A dog.") for number in range(8)]
    return store("waiting", rows, 2)


def test_rows_are_joined_across_shards_and_donors(waiting_run, store):
    """Each row gets the text of the first donor that has a clean answer to its prompt."""
    first = store("first", [ask(1, "A cat."), ask(3, "Owls!"), ask(9, "A bat.")])
    second = store("second", [ask(number, f"Cow {number}.") for number in range(6)], 2)
    found = run_match(waiting_run, [first, second])
    texts = [getattr(item, "text", None) or item.outcome for _, item in found]
    assert texts == ["A cat.", "Cow 3.", "Cow 5.", "no donor"]
    assert [shard for shard, _ in found] == [shard.name for shard in waiting_run[2]]
    assert [item.offer.name for _, item in found[:3]] == ["d0", "d1", "d1"]
    swapped = run_match(waiting_run, [second, first])
    assert [item.text for _, item in swapped[:3]] == ["Cow 1.", "Cow 3.", "Cow 5."]


def test_near_prompts_are_used_only_on_request(waiting_run, store):
    """Without a distance, another question is no donor."""
    other = ask(1, "A cat.")
    other["messages"][0]["content"] = "Question 1 ?!"
    donor = store("near", [other])
    assert {item.outcome for _, item in run_match(waiting_run, [donor])} == {"no donor"}
    near = run_match(waiting_run, [donor], 0.0)
    assert [type(item) for _, item in near] == [Match, *itertools.repeat(Unmatched, 3)]
