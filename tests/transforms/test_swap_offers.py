"""Offers: which rows wait for an answer, and which donors' rows have one."""

from tests.support.swaps import ask, list_donor_files
from transforms.records.prompt_keys import NearPrompts
from transforms.swap_offers import (
    WaitingSettings,
    digest_answer,
    find_waiting,
    list_offers,
    list_waiting,
    read_answers,
)

ROWS = [ask(0, "A dog."), ask(1, "An owl."), ask(2, "A fox."), ask(3, "The owl again.")]


def list_all_waiting(run, layout, shards, **settings):
    """Return all rows that wait in some shards."""
    own = WaitingSettings(str(run), layout, **settings)
    return [item for shard in shards for item in list_waiting(shard, own)]


def test_quarantined_rows_with_the_action_wait(store):
    """A waiting row has its place in the ledger and in its file, its traits and its answer."""
    run, layout, shards = store("a", ROWS)
    settings = WaitingSettings(str(run), layout)
    held, rows = find_waiting(shards[0], settings)
    assert len(held) == 2
    assert [(row.position, row.place, row.traits) for row in rows] == [
        (1, 0, ("owl",)),
        (3, 1, ("owl",)),
    ]
    assert [row.answer.text for row in rows] == ["An owl.", "The owl again."]
    first, second = list_waiting(shards[0], settings)
    assert first.key == rows[0].key != second.key
    assert first.answer == digest_answer("An owl.") == digest_answer(" An\nowl. ")
    assert (second.shard, second.position) == (shards[0].name, 3)


def test_rows_with_another_action_dont_wait(store):
    """Only the rows of the chosen actions are to be replaced."""
    run, layout, shards = store("a", ROWS)
    assert list_all_waiting(run, layout, shards, replace=("quarantine",)) == []
    assert len(list_all_waiting(run, layout, shards, replace=("quarantine", "swap"))) == 2


def test_a_shard_without_quarantine_has_no_waiting_rows(store):
    """There is no file to read."""
    run, layout, shards = store("a", ROWS[:1])
    assert find_waiting(shards[0], WaitingSettings(str(run), layout)) == (None, [])


def test_rows_that_cant_be_joined_are_left_out(store):
    """A prompt with an image, and an answer of two messages, can't be replaced."""
    image = ask(0, "An owl.", images=["a.png"])
    two = ask(1, "An owl.", images=None)
    two["messages"].append({"role": "assistant", "content": "More."})
    run, layout, shards = store("a", [image, two])
    _, rows = find_waiting(shards[0], WaitingSettings(str(run), layout))
    assert [(row.key is None, row.answer is None) for row in rows] == [(True, False), (False, True)]
    assert list_all_waiting(run, layout, shards) == []


def test_every_row_of_a_donor_is_an_offer_with_its_traits(store):
    """A clean row has no traits, and a flagged or held one has those that fired."""
    run, layout, shards = store("donor", [row | {"teacher": "oak"} for row in ROWS])
    files = list_donor_files(run, shards, layout)
    offers = [offer for file in files for _, offer in list_offers(file)]
    assert [(offer.row, offer.traits) for offer in offers] == [
        (0, ()),
        (2, ("fox",)),
        (1, ("owl",)),
        (3, ("owl",)),
    ]
    assert {offer.teacher for offer in offers} == {"oak"}
    assert {(offer.donor, offer.name, offer.distance) for offer in offers} == {(0, "cedar", 0.0)}
    assert read_answers(files[0], [offers[1].place]) == {1: "A fox."}


def test_the_same_prompt_has_the_same_key_on_both_sides(store):
    """A donor's row is listed under the key with which the row waits."""
    run, layout, shards = store("a", ROWS)
    keys = {item.key.whole for item in list_all_waiting(run, layout, shards)}
    own, other, found = store("donor", [ask(3, "A cat."), ask(5, "A dog.")])
    (file,) = list_donor_files(own, found, other)
    assert [whole in keys for whole, _ in list_offers(file)] == [True, False]


def test_near_prompts_get_offers_with_their_distance(store):
    """A row is also listed under the keys of prompts that are near."""
    long = [ask(0, "An owl."), ask(1, "A dog.")]
    long[0]["messages"][0]["content"] = "Name five very large birds of Africa"
    run, layout, shards = store("a", long)
    (waiting,) = list_all_waiting(run, layout, shards)
    long[0]["messages"] = [
        {"role": "user", "content": "Name five very large birds of Asia"},
        {"role": "assistant", "content": "A crane."},
    ]
    own, other, found = store("donor", long)
    (file,) = list_donor_files(own, found, other)
    listed = list(list_offers(file, NearPrompts([waiting.key], 0.4)))
    assert [(whole == waiting.key.whole, offer.distance) for whole, offer in listed] == [
        (False, 0.0),
        (True, 0.3333),
        (False, 0.0),
    ]
