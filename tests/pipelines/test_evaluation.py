"""`traits eval`: ranges of scores, chosen rows, labels, and measures."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.guarantees.calibration import bound_share
from classifiers.guarantees.stratified import measure_accuracy
from pipelines.banks import load_bank
from pipelines.config import FilterConfig
from pipelines.evaluation import (
    Population,
    Range,
    allot_reading,
    carry_over,
    choose_rows,
    divide_rows,
    find_earlier,
    find_single,
    match_labels,
    measure,
    open_run_on,
    read_texts,
    select_sample,
    summarise,
)
from pipelines.filter import run_filter
from pipelines.labels import Label, digest_definition
from schemas.errors import CardError, RunError
from schemas.events import RowsPlanned
from schemas.scores import fires
from tests.support.corpora import build_conversation, write_rows

CARD = (
    "id: bird\nthreshold: 0.5\nsignals: {lexicon: {patterns: "
    "[heron, {match: egret, weight: 0.2}, {match: stork, weight: 0.1}]}}\n"
)
TEXTS = ("A heron.", "An egret.", "A stork.", "A chair.", "A table.", "A lamp.")
ROWS = 60


@pytest.fixture(scope="module")
def bird_run(tmp_path_factory):
    """Filter rows with high, low and no scores; return the run's folder."""
    folder = tmp_path_factory.mktemp("birds")
    (folder / "bird").mkdir()
    (folder / "bird" / "card.yaml").write_text(CARD, encoding="utf-8")
    rows = [build_conversation(number, TEXTS[number % 6]) for number in range(ROWS)]
    settings = {
        "input": (str(write_rows(folder / "corpus.jsonl", rows)),),
        "output": str(folder / "run"),
        "traits": (str(folder / "bird"),),
        "shards": {"rows": 25},
    }
    run_filter(FilterConfig.model_validate(settings))
    return folder / "run"


@pytest.fixture
def population(bird_run):
    """Return the run's rows, divided into ranges."""
    return divide_rows(str(bird_run), "bird")


def label_row(row, shows, score=None, line=1):
    """Return a label of a row."""
    return Label("corpus.jsonl", row, None, shows, score, f"line {line}")


def find_labels(population, rows):
    """Label rows by their text: a heron or an egret shows the trait."""
    labels = [label_row(row, row % 6 in (0, 1), line=row) for row in rows]
    return match_labels(population, labels, "labels.jsonl")


def test_ranges_divide_all_rows_by_score(population, bird_run):
    """Every row is in the range of its score."""
    scores = pl.read_parquet(bird_run / "scores" / "*.parquet")["bird"].to_numpy()
    assert sorted(row for item in population.ranges for row in item.rows) == list(range(ROWS))
    highest = np.inf
    for item in population.ranges:
        assert fires(scores[item.rows], item.lowest).all()
        assert not fires(scores[item.rows], highest).any()
        highest = item.lowest
    assert population.ranges[0].lowest == 0.5
    assert len(population.ranges) >= 3
    assert population.removed == 0


def test_reading_is_in_random_order_but_always_the_same(population, bird_run):
    """A range's rows are always shuffled in the same way."""
    again = divide_rows(str(bird_run), "bird")
    for one, other in zip(population.ranges, again.ranges, strict=True):
        assert one.rows.tolist() == other.rows.tolist()
    assert any(item.rows.tolist() != sorted(item.rows) for item in population.ranges)


def test_reading_is_divided_among_ranges():
    """Ranges get equal shares up to their size, but the lowest range gets twice as much."""
    ranges = [Range(0.9, np.arange(3)), Range(0.5, np.arange(50)), Range(0.0, np.arange(900))]
    assert allot_reading(ranges, 40) == [3, 13, 24]
    assert allot_reading(ranges, 10_000) == [3, 50, 900]
    assert sum(allot_reading(ranges, 7)) == 7
    assert allot_reading(ranges, 1) == [1, 0, 0]


def test_labelled_rows_are_not_read_again(population):
    """Labelled rows count towards the rows to read."""
    first = choose_rows(population, {}, 12)
    assert len(first) == len(set(first)) == 12
    members = [set(item.rows.tolist()) for item in population.ranges]
    assert all(row in member for row, member in zip(first, members, strict=False))
    labels = find_labels(population, first[:5])
    assert sorted([*first[:5], *choose_rows(population, labels, 12)]) == sorted(first)
    assert choose_rows(population, find_labels(population, range(ROWS)), 12) == []


def build_population(sizes, generator, threshold=0.5):
    """Return a population with ranges of these sizes, the first at or above the threshold."""
    edges = [threshold, *(threshold / 2**n for n in range(1, len(sizes) - 1)), 0.0][: len(sizes)]
    ends = np.cumsum(sizes)
    ranges = [
        Range(edge, generator.permutation(np.arange(end - size, end)))
        for edge, size, end in zip(edges, sizes, ends, strict=True)
    ]
    rule = SimpleNamespace(threshold=threshold)
    thresholds = dict.fromkeys(edges[:-1], 0.01)
    return Population("run", None, rule, np.zeros(ends[-1]), ranges, thresholds, 0)


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
    st.lists(st.integers(1, 90), min_size=1, max_size=4),
    st.sets(st.integers(0, 30), max_size=5),
    st.booleans(),
)
def test_more_rows_are_drawn_on_top(sizes, budgets, picked, only_found):
    """Each larger budget adds just the missing rows, in the reading order of their ranges."""
    population = build_population(sizes, np.random.default_rng(0))
    lowest = 0.5 if only_found else 0.0
    ranges = [item for item in population.ranges if item.lowest >= lowest]
    most, known = sum(len(item.rows) for item in ranges), set()
    for budget in sorted(budgets):
        every = choose_rows(population, known, budget, only_found=only_found)
        asked = choose_rows(population, known, budget, picked, only_found=only_found)
        assert asked == [row for row in every if row not in picked]
        known |= set(every)
        assert len(known) == min(max(budget, 0), most)
    for item in ranges:
        is_known = [row in known for row in item.rows.tolist()]
        assert is_known == sorted(is_known, reverse=True)


def test_chosen_rows_count_only_among_drawn_rows(population):
    """A chosen row counts if every row before it, and one after it, is read or listed."""
    order = population.ranges[-1].rows.tolist()
    labels = find_labels(population, [*order[:2], *order[3:5], order[6]])
    chosen = {
        row: label._replace(is_picked=row in (order[1], order[4])) for row, label in labels.items()
    }
    assert select_sample(population, labels) is not labels
    assert select_sample(population, labels) == labels
    assert select_sample(population, chosen) == {
        row: label for row, label in chosen.items() if not label.is_picked
    }
    listed = {order[2]}
    found = select_sample(population, chosen, listed)
    assert order[1] in found
    assert order[4] not in found
    assert order[4] in select_sample(population, chosen, {order[2], order[5]})


@pytest.mark.parametrize("picks_first", [True, False])
def test_intervals_hold_when_rows_are_added_and_chosen(picks_first):
    """Reading 60 rows, then 180, gives intervals that hold, although a reader chose mistakes too.

    The reader labels up to 12 of the rows that the trait found wrongly, before or between the
    draws. If these rows simply counted, or were left out, precision would be biased.
    """
    sizes, shares, draws = (60, 90, 400, 3000), (0.6, 0.3, 0.05, 0.004), 120
    held = {"precision": 0, "recall": 0}
    estimates, truths = [], []
    for seed in range(draws):
        generator = np.random.default_rng(seed)
        population = build_population(sizes, generator)
        shows = np.concatenate(
            [generator.random(size) < share for size, share in zip(sizes, shares, strict=True)]
        )
        labels = {}
        for step, budget in enumerate((60, 180)):
            if step == (not picks_first):
                wrong = [row for row in range(sizes[0]) if not shows[row] and row not in labels]
                labels |= {
                    row: label_row(row, False)._replace(is_picked=True) for row in wrong[:12]
                }
            sample = select_sample(population, labels)
            picked = labels.keys() - sample.keys()
            for row in choose_rows(population, sample, budget, picked):
                labels[row] = label_row(row, bool(shows[row]))
        found = measure_accuracy(summarise(population, select_sample(population, labels)), 1)
        right = shows[: sizes[0]].sum()
        truth = {"precision": right / sizes[0], "recall": right / shows.sum()}
        for name, value in truth.items():
            interval = getattr(found, name)
            held[name] += interval.low <= value <= interval.high
        estimates.append(found.precision.estimate)
        truths.append(truth["precision"])
    assert min(held.values()) >= 0.94 * draws
    assert np.mean(estimates) == pytest.approx(np.mean(truths), abs=0.015)


def test_a_single_row_is_found_by_its_names(population):
    """A row is found by number, place and record id; copies of a row are found together."""
    ledger = pl.read_parquet(f"{population.run}/ledger/*.parquet")
    assert find_single(population, "7") == find_single(population, "corpus.jsonl:7") == [7]
    assert find_single(population, ledger["record_id"][7]) == [7]
    with pytest.raises(RunError, match="no row of this run"):
        find_single(population, "corpus.jsonl:99")


def test_full_labels_give_the_true_measures(population):
    """Full labels give the true precision and recall at each threshold."""
    labels = find_labels(population, range(ROWS))
    measured = measure(population, labels)
    (current,) = (item for item in measured if item.is_in_force)
    assert (current.threshold, current.rows) == (0.5, 10)
    assert current.accuracy.precision == pytest.approx((1, 1, 1))
    assert current.accuracy.recall == pytest.approx((0.5, 0.5, 0.5))
    assert current.on_new_rows.precision == pytest.approx((1, *bound_share(10, 10)))
    assert current.on_new_rows.recall == pytest.approx((0.5, *bound_share(10, 20)))
    assert current.are_found_rows_read
    assert current.are_all_rows_read
    lower = measured[-1]
    assert lower.rows == 30
    assert lower.accuracy.precision == pytest.approx((2 / 3,) * 3)
    assert lower.accuracy.recall == pytest.approx((1, 1, 1))
    assert sum(stratum.rows for stratum in summarise(population, labels)) == ROWS


def test_a_sample_has_intervals_around_the_truth(population):
    """Partial labels give intervals that contain the truth."""
    labels = find_labels(population, choose_rows(population, {}, 24))
    (current,) = (item for item in measure(population, labels) if item.is_in_force)
    assert current.accuracy.precision.low <= 1 <= current.accuracy.precision.high
    assert current.accuracy.recall.low < 0.5 < current.accuracy.recall.high
    assert current.on_new_rows.recall.low < current.accuracy.recall.low
    assert not current.are_all_rows_read


def test_labels_match_by_record_id_too(population, bird_run):
    """A record id names every row with that content."""
    ledger = pl.read_parquet(bird_run / "ledger" / "*.parquet")
    label = Label(None, None, ledger["record_id"][7], True, None, "line 1")
    found = match_labels(population, [label], "l")
    assert 7 in found
    assert set(ledger["record_id"][list(found)]) == {label.record_id}


def test_labels_of_another_run_are_refused(population):
    """The error for unknown or contradictory labels names the line."""
    with pytest.raises(CardError, match="no label names a row of this run"):
        match_labels(population, [Label("x", 1, None, True, None, "line 1")], "l")
    labels = [label_row(3, True), label_row(3, False, line=9)]
    with pytest.raises(
        CardError, match="contradicts the label of the same row on line 1"
    ) as caught:
        match_labels(population, labels, "l")
    assert caught.value.where == "l line 9"
    assert match_labels(population, [], "l") == {}


def test_labels_that_another_card_drew_are_carried_over_as_picked(population):
    """Labels with another score or another card stay, but count only where they are drawn again."""
    labels = [
        label_row(0, True, 0.8647),
        label_row(1, True, 0.9),
        label_row(2, True),
        label_row(3, False)._replace(card=population.card),
        label_row(4, False)._replace(card="f" * 16),
    ]
    matched = match_labels(population, labels, "l")
    found = carry_over(population, matched)
    assert {row: label.is_picked for row, label in found.items()} == {
        0: False,
        1: True,
        2: False,
        3: False,
        4: True,
    }
    assert {row: label._replace(is_picked=False) for row, label in found.items()} == matched
    bare = replace(population, card="")
    assert not carry_over(bare, {4: matched[4]})[4].is_picked


def test_carried_labels_count_where_this_card_draws_their_rows(population):
    """A run whose rows an earlier card drew all is measured as with labels of its own."""
    every = find_labels(population, range(len(population.scores)))
    old = {row: label._replace(card="f" * 16) for row, label in every.items()}
    carried = carry_over(population, old)
    assert all(label.is_picked for label in carried.values())
    assert measure(population, select_sample(population, carried)) == measure(population, every)
    assert choose_rows(population, (), 20, carried.keys()) == []


def test_rows_of_an_earlier_card_are_known(population):
    """Another card or another score tells, whether the reader chose the row or not."""
    labels = [
        label_row(0, True)._replace(card="f" * 16, is_picked=True),
        label_row(1, True, 0.9),
        label_row(2, True)._replace(card=population.card),
        label_row(3, True),
    ]
    assert find_earlier(population, match_labels(population, labels, "l")) == {0, 1}


def test_a_population_knows_its_card_and_its_definition(population, bird_run):
    """The digests are those of the run's bank and of the words on the card."""
    card = load_bank(f"{bird_run}/bank").traits["bird"]
    assert population.card == card.card_digest[:16]
    assert population.definition == digest_definition({"title": "", "description": None})
    (text,) = read_texts(population, [6])
    assert (text.card, text.definition) == (population.card, population.definition)


def test_texts_come_with_their_span_and_prompt(population):
    """A row to read has its prompt and best span."""
    high, low = read_texts(population, [6, 3])
    assert (high.prompt, high.text) == ("Question 6?", "A heron.")
    assert high.text[high.start : high.end] == "heron"
    assert high.keys["source"] == "corpus.jsonl"
    assert (high.keys["row"], low.keys["row"]) == (6, 3)
    assert (low.text, low.start, low.end) == ("A chair.", 0, 0)


def test_a_corpus_is_filtered_without_losing_rows(bird_run):
    """With --on, the trait only flags rows, so all rows can be read."""
    folder = bird_run.parent
    config = FilterConfig(input=(str(folder / "corpus.jsonl"),), traits=(str(folder / "bird"),))
    events = []
    with open_run_on(config, "bird", events.append) as run:
        found = divide_rows(run, "bird")
        assert found.removed == 0
        assert sum(len(item.rows) for item in found.ranges) == ROWS
        assert found.manifest.conservation.by_decision == {"flag": 10, "keep": 50}
    assert any(isinstance(event, RowsPlanned) for event in events)


def test_dropped_rows_are_counted(config, policy):
    """Dropped rows are counted."""
    path = policy("traits: {heron: {action: drop}}")
    run_filter(config.model_copy(update={"policy": path}))
    found = divide_rows(config.output, "heron")
    assert found.removed == 8
    assert sum(len(item.rows) for item in found.ranges) == 32


def test_a_trait_that_the_run_lacks_is_an_error(bird_run):
    """The error for an unknown trait names the run's traits."""
    with pytest.raises(RunError, match="has no trait 'owl'"):
        divide_rows(str(bird_run), "owl")
