"""Selections of rows: filters, search and orders, compared with plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.review.index import name_fired, name_score
from pipelines.review.queries import (
    ORDERS,
    SEED,
    UNFOUND,
    RowSelection,
    match_names,
    parse_selection,
    select_rows,
    shuffle,
)
from pipelines.review.session import ReviewSession
from pipelines.runs.pages import STRONGEST_FIRST, choose_rows
from pipelines.runs.queries import Filters
from schemas.errors import CardError
from schemas.policies import DECISIONS
from tests.support.hostile import filter_answers


@pytest.fixture
def rows(session):
    """Return the facts as dictionaries, with each row's text."""
    texts = session.texts.text.collect()["text"]
    facts = session.facts.collect().to_dicts()
    return [{**row, "text": text} for row, text in zip(facts, texts, strict=True)]


@pytest.fixture
def select(session):
    """Return a function that selects rows by the fields of a selection."""

    def call(**fields):
        return select_rows(session.facts, session.texts, RowSelection(**fields)).tolist()

    return call


def find(rows, condition):
    """Return the indexes of rows that fit a condition."""
    return [index for index, row in enumerate(rows) if condition(row)]


def fired(row, *traits):
    """Return whether one of the traits fired."""
    return any(row[name_fired(trait)] for trait in traits)


def test_by_default_rows_with_a_finding_are_shown(select, rows):
    """Without a filter, only rows on which some trait fired are selected."""
    assert select(order="row") == find(rows, lambda row: fired(row, "heron", "owl"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("teacher", "atlas"),
        ("prompt_source", "walks"),
        ("source", "borealis.jsonl"),
        ("date", "-"),
        ("system_prompt", "-"),
        ("teacher", "nobody"),
    ],
)
def test_places_select_rows(select, rows, field, value):
    """A value of the ledger selects its rows, and an unknown one none."""
    wanted = find(rows, lambda row: row[field] == value)
    assert select(**{field: value}, decision="any", order="row") == wanted


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        ("teacher", "ATL", "atlas"),
        ("teacher", "bor*", "borealis"),
        ("source", "*las.jsonl", "atlas.jsonl"),
        ("source", "borealis", "borealis.jsonl"),
    ],
)
def test_patterns_and_parts_select_rows(select, rows, field, value, found):
    """A pattern or a part of a name selects the names that fit."""
    wanted = find(rows, lambda row: row[field] == found)
    assert select(**{field: value}, decision="any", order="row") == wanted


def test_a_whole_name_selects_no_longer_ones():
    """A name that exists is no part of others, and a pattern comes before a part."""
    known = ["gpt4", "gpt4_0314", "a*"]
    assert match_names("gpt4", known) == ["gpt4"]
    assert match_names("gpt4_", known) == ["gpt4_0314"]
    assert match_names("gpt*", known) == ["gpt4", "gpt4_0314"]
    assert match_names("a*", known) == ["a*"]
    assert match_names("none", known) == []


@pytest.mark.parametrize("trait", [None, "heron", "owl"])
def test_the_order_is_that_of_inspect(select, session, trait):
    """The page shows the rows in the order in which inspect shows them."""
    shown = choose_rows(session.run, session.manifest, Filters(trait), "decision", 0, 100)
    assert select(trait=trait) == shown[1]
    held = choose_rows(
        session.run, session.manifest, Filters(trait, decision="flag"), "decision", 0, 100
    )
    assert select(trait=trait, decision="flag") == held[1]


def test_rows_of_equal_scores_are_in_the_order_of_inspect(tmp_path):
    """The trait that decided ties; a row on which a milder one scored higher comes first."""
    emus = " ".join(["emu"] * 4)
    answers = [emus, f"{emus} {' '.join(['fox'] * 9)}", f"an {emus}", "fox fox fox"]
    policy = "traits: {emu: {threshold: 0.3, action: quarantine}, fox: {action: flag}}\n"
    run = filter_answers(tmp_path, answers, ["emu", "fox"], policy)
    session = ReviewSession(run, tmp_path / "review", "ada")
    shown = choose_rows(run, session.manifest, Filters(), "decision", 0, 9)[1]
    assert session.select(RowSelection()).tolist() == shown
    assert shown == [1, 0, 2, 3]


def test_a_trait_selects_rows_on_which_it_fired(select, rows):
    """With a trait and a decision that findings make, it must have fired itself."""
    assert select(trait="owl", order="row") == find(rows, lambda row: fired(row, "owl"))
    held = find(rows, lambda row: row["decision"] == "quarantine" and fired(row, "owl"))
    assert select(trait="owl", decision="quarantine", order="row") == held
    assert 0 < len(held) < len(select(decision="quarantine"))


@pytest.mark.parametrize("decision", UNFOUND)
def test_rows_without_a_finding_can_be_shown(select, rows, decision):
    """With some decisions, the trait names the score that counts, and selects nothing."""
    wanted = find(rows, lambda row: decision in ("any", row["decision"]))
    assert select(trait="heron", decision=decision, order="row") == wanted


def test_score_bands(select, rows):
    """Bounds of scores hold for the trait's score, or without a trait for the margin."""
    score = max(row[name_score("heron")] for row in rows)
    wanted = find(rows, lambda row: row[name_score("heron")] >= score)
    assert select(trait="heron", low=score, order="row") == wanted
    assert select(trait="heron", low=0.0, high=0.0, order="row") == find(
        rows, lambda row: row[name_score("heron")] == 0
    )
    above = find(rows, lambda row: not math.isnan(row["margin"]) and row["margin"] >= 0.1)
    assert select(low=0.1, order="row") == above


def test_text_is_searched_in_any_case(select, rows):
    """A part of any text is found, whatever the decision, also one with signs of a pattern."""
    assert select(text="DAY 7", order="row") == find(rows, lambda row: "day 7" in row["text"])
    assert select(text="<script>", order="row") == find(rows, lambda r: "<script>" in r["text"])
    assert select(text="d.y 7") == []
    both = find(rows, lambda row: "day 7" in row["text"] and row["teacher"] == "atlas")
    assert select(text="day 7", teacher="atlas", order="row") == both


def test_single_rows_are_found_by_name(select, rows):
    """A record id and FILE:NUMBER name rows; an unknown place is searched as a text."""
    assert select(text="borealis.jsonl:3") == [15]
    wanted = find(rows, lambda row: row["record_id"] == rows[15]["record_id"])
    assert select(text=rows[15]["record_id"]) == wanted
    assert select(text="nobody.jsonl:3") == []


def test_the_search_waits_for_the_texts(session):
    """Before the texts are read, a search says so, but a row's name works."""
    with pytest.raises(CardError, match="still being read"):
        select_rows(session.facts, None, RowSelection(text="heron"))
    found = select_rows(session.facts, None, RowSelection(text="atlas.jsonl:2"))
    assert found.tolist() == [2]


def test_labelled_rows_are_selected_or_left_out(session):
    """`labelled` keeps or removes the given rows."""
    for wanted, expected in (("yes", [3, 5]), ("no", [0, 1, 2, 4, *range(6, 24)])):
        selection = RowSelection(decision="any", labelled=wanted, order="row")
        assert select_rows(session.facts, None, selection, [3, 5]).tolist() == expected


def test_orders(select, rows):
    """The order is that of a plain sort by the same keys; equal rows stay in corpus order."""

    def margin(index):
        value = rows[index]["margin"]
        return -2 if math.isnan(value) else value

    every = range(len(rows))
    assert select(decision="any", order="row") == [*every]
    assert select(decision="any", order="score") == sorted(every, key=lambda i: -margin(i))
    rank = STRONGEST_FIRST.index
    by_decision = sorted(every, key=lambda i: (rank(rows[i]["decision"]), -margin(i)))
    assert select(decision="any", order="decision") == by_decision
    nearest = sorted(every, key=lambda i: abs(margin(i)))
    assert select(decision="any", order="threshold") == nearest
    by_owl = sorted(every, key=lambda i: -rows[i][name_score("owl")])
    assert select(trait="owl", decision="any", order="score") == by_owl


def test_a_random_order_is_the_same_every_time(select):
    """Shuffled rows have one order, and those of a smaller selection keep it."""
    every = select(decision="any", order="shuffled")
    assert sorted(every) == [*range(24)] != every
    assert select(decision="any", order="shuffled") == every
    part = select(trait="owl", order="shuffled")
    assert part == [index for index in every if index in part]


@given(st.lists(st.integers(0, 200_000), unique=True), st.integers(0, 200_000))
def test_a_row_has_one_place_in_the_random_order(indexes, other):
    """Which of two rows comes first doesn't depend on the other rows."""
    found = shuffle(np.array(indexes, np.uint32)).tolist()
    assert sorted(found) == sorted(indexes)
    more = shuffle(np.array(sorted({*indexes, other}), np.uint32)).tolist()
    assert [index for index in more if index in indexes] == found


def test_the_random_order_is_that_of_a_drawn_number():
    """The order is that of a number that is drawn for each row, whatever the size of the run."""
    drawn = np.random.default_rng(SEED).random(70_000)
    rows = np.arange(0, 70_000, 7, dtype=np.uint32)
    assert shuffle(rows).tolist() == rows[np.argsort(drawn[rows])].tolist()


def test_a_request_is_parsed():
    """Empty values are left out, and numbers are numbers."""
    given = {"trait": "owl", "teacher": "", "low": "0.25", "order": "score", "decision": "any"}
    wanted = RowSelection(trait="owl", decision="any", low=0.25, order="score")
    assert parse_selection(given, ["owl"]) == wanted
    assert parse_selection({}, []) == RowSelection()
    for decision in DECISIONS:
        assert parse_selection({"decision": decision}, []).decision == decision
    for order in ORDERS:
        assert parse_selection({"order": order}, []).order == order


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("trait", "howl", "did you mean"),
        ("decision", "masked", "isn't known"),
        ("order", "date", "isn't known"),
        ("labelled", "maybe", "isn't known"),
        ("low", "high", "isn't a number"),
        ("high", "nan", "isn't a number"),
        ("low", "1e9", "isn't a number"),
        ("path", "/etc/passwd", "isn't a filter"),
        ("text", "x" * 501, "too long"),
    ],
)
def test_wrong_requests_are_named(name, value, said):
    """An error names the field and shows what is known."""
    with pytest.raises(CardError, match=said) as caught:
        parse_selection({name: value}, ["owl", "heron"])
    assert caught.value.where == name
