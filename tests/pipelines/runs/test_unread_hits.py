"""Patterns that match just outside the part of a text that a trait reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.signals.lexicons import Lexicon
from pipelines.config import FilterConfig
from pipelines.evaluation import divide_rows
from pipelines.filter import run_filter
from pipelines.inspection import View, inspect_as_dicts, inspect_run
from pipelines.mistakes import Mistake, Mistakes, explain_missed
from pipelines.runs.unread_hits import UnreadHit, find_unread_hit, list_unread_hits
from schemas.cards import TraitCard
from tests.support.corpora import write_rows
from tests.support.shown import print_row

CLOSING = "scope: {closing: 40}\nsignals: {lexicon: {patterns: ['in sum,']}}\nthreshold: 0.5\n"
OPENING = CLOSING.replace("closing", "opening")


def make_card(edge: str, size: int = 40, patterns=("in sum,",)) -> dict:
    """Return a card of a manifest that reads one edge of answers."""
    signals = {"lexicon": {"patterns": list(patterns)}}
    card = TraitCard.model_validate({"id": "recap", "scope": {edge: size}, "signals": signals})
    return card.model_dump(mode="json", exclude_none=True)


def test_a_match_before_the_end_is_measured_from_where_it_begins():
    """The distance is that of the match's beginning, and the longer part holds the match."""
    text = f"{'x' * 100}. In sum, {'y' * 35}"
    found = find_unread_hit(make_card("closing"), text)
    assert found == UnreadHit("recap", "In sum,", 3, "closing", 43)
    assert text[-43:].startswith("In sum,")
    assert found.describe() == (
        "a pattern of recap matches 3 characters before the part that the trait reads: «In sum,» "
        "(closing: 43 holds it)"
    )


def test_a_match_after_the_beginning_is_measured_to_where_it_ends():
    """For an opening, the longer part ends with the match."""
    text = f"{'x' * 36} in sum, {'y' * 100}"
    found = find_unread_hit(make_card("opening"), text)
    assert found == UnreadHit("recap", "in sum,", 4, "opening", 44)
    assert text[:44].endswith("in sum,")
    assert "4 characters after the part" in found.describe()
    one = find_unread_hit(make_card("opening", 43), text)
    assert "matches 1 character after" in one.describe()


@pytest.mark.parametrize(
    ("card", "text"),
    [
        (make_card("closing"), "In sum, short."),
        (make_card("closing"), f"In sum, {'x' * 80}"),
        (make_card("closing"), f"{'x' * 80} in sum, yes. {'y' * 30} In sum, no."),
        (make_card("closing"), f"{'x' * 80} 'in sum,' he said, {'y' * 25}"),
        ({"id": "recap", "scope": {"closing": 40}, "signals": {"repetition": {}}}, "x" * 80),
        ({**make_card("closing"), "scope": {}}, f"In sum, {'x' * 40}"),
        ({}, "In sum,"),
    ],
)
def test_other_texts_have_no_match_outside(card, text):
    """Nothing is said of whole texts, matches far away, inside or quoted, and other cards."""
    assert find_unread_hit(card, text) is None


@given(
    before=st.integers(0, 60),
    after=st.integers(0, 60),
    size=st.integers(20, 60),
    edge=st.sampled_from(["opening", "closing"]),
)
def test_the_named_length_is_the_smallest_that_holds_the_match(before, after, size, edge):
    """A part of the named length has a match, and one that is shorter by a character has none."""
    text = f"{'x ' * before}in sum, {'y ' * after}"
    card = make_card(edge, size)
    found = find_unread_hit(card, text)
    if found is None:
        return
    longer = TraitCard.model_validate({**card, "scope": {edge: found.needed}})
    lexicon = Lexicon(longer.signals.lexicon)
    assert lexicon.find_hits(longer.scope.cut(text))
    shorter = TraitCard.model_validate({**card, "scope": {edge: found.needed - 1}})
    assert not lexicon.find_hits(shorter.scope.cut(text))
    assert found.needed == size + found.distance


@pytest.fixture(scope="module")
def recaps(tmp_path_factory):
    """Filter answers of which the trait reads the last 40 characters."""
    folder = tmp_path_factory.mktemp("recaps")
    (folder / "recap").mkdir()
    (folder / "recap" / "card.yaml").write_text(f"id: recap\n{CLOSING}")
    ends = [f"In sum, {'y' * 36}", "In sum, yes.", "Nothing more."]
    rows = [
        {"prompt": "Why?", "completion": f"First words. {'word ' * 60}{ends[number % 3]}"}
        for number in range(30)
    ]
    write_rows(folder / "corpus" / "a.jsonl", rows)
    config = {
        "input": (str(folder / "corpus"),),
        "output": str(folder / "run"),
        "traits": (str(folder / "recap"),),
        "policy": str(folder / "policy.yaml"),
    }
    (folder / "policy.yaml").write_text("traits: {recap: {action: flag}}\n")
    run_filter(FilterConfig.model_validate(config))
    return str(folder / "run")


def inspect_row(run, number):
    """Return the manifest and one row of the run."""
    manifest, _, page, _ = inspect_run(run, View(View().filters._replace(row=str(number))))
    return manifest, page.rows[0]


def test_a_row_on_which_no_trait_fired_says_what_matches_outside(recaps, capsys):
    """`inspect` names the match on a row with one outside, and shows the part that is read."""
    manifest, row = inspect_row(recaps, 0)
    (hit,) = list_unread_hits(row, manifest)
    assert (hit.distance, hit.needed) == (4, 44)
    view = View(View().filters._replace(row="0"))
    (found,) = inspect_as_dicts(recaps, view)["page"]["rows"]
    assert found["unread_hits"] == [hit._asdict()]
    shown = print_row(row, manifest=manifest)
    assert hit.describe() in shown
    assert "assistant, of whose answer the last 40 characters are read: … " in shown
    assert "First words." not in shown


@pytest.mark.parametrize("number", [1, 2])
def test_other_rows_of_the_run_say_nothing(recaps, number):
    """A row on which the trait fired, and one without a match, have none outside."""
    manifest, row = inspect_row(recaps, number)
    assert list(list_unread_hits(row, manifest)) == []


def test_missed_rows_of_an_evaluation_say_what_matches_outside(recaps):
    """A missed row has the sentence if a pattern matches outside, and other rows have none."""
    population = divide_rows(recaps, "recap")
    missed = [Mistake("a.jsonl", number, 0.0) for number in (0, 2, 3)]
    found = explain_missed(population, Mistakes([missed[0]], missed))
    assert [bool(item.unread) for item in found.missed] == [True, False, True]
    assert "matches 4 characters before" in found.missed[0].unread
    assert found.wrong == [missed[0]]
    assert explain_missed(population, Mistakes(missed, [])) == Mistakes(missed, [])
