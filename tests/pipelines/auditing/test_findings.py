"""Findings: their names, their groups, their rates by lot."""

import numpy as np
import pyarrow as pa
import pytest

from classifiers.lots.confirmation import confirm
from classifiers.lots.counts import CountedRows, count_texts
from classifiers.lots.discovery import propose
from classifiers.lots.matches import add_formats
from classifiers.lots.tokens import find_tokens
from pipelines.auditing.findings import FindingRate, find_tier, list_findings, sum_lots
from tests.support.audits import FINDING, plant
from tests.support.lots import build_sample, write_answers
from transforms.lot_samples import LotKey

LOTS = (
    LotKey(own=True, fields=("atlas", "one")),
    LotKey(own=True, fields=("atlas", "two")),
    LotKey(own=True, fields=("borealis", "two")),
    LotKey(own=False, fields=("cedar", "one")),
)


@pytest.fixture(scope="module")
def tested():
    """Return the candidates, counts and tests of a sample with a habit in one of three lots."""
    answers = write_answers(600, 1)
    lots = [number % 3 for number in range(600)]
    own = [
        f"{text} Mind the gap." if lot == 2 else f"{text} It ends."
        for text, lot in zip(answers, lots, strict=True)
    ]
    other = [f"{text} It ends." for text in write_answers(600, 2)]
    sample = build_sample(own, other, lots=lots)
    learns = ~sample.confirms
    texts = sample.texts.filter(pa.array(learns))
    candidates = add_formats(propose(find_tokens(texts), sample.own[learns]))
    numbers = np.where(sample.own, sample.lots, 3)
    cells = np.zeros(len(sample), np.int64)
    rows = CountedRows(sample.texts, sample.own, sample.confirms, cells, numbers, sample.digests)
    counts = count_texts(rows, candidates, 1, 5)
    return candidates, counts, confirm(counts, 1)


def test_the_habit_is_found_once(tested):
    """The planted phrase comes first, its parts are merged with it, and its figures are right."""
    found = list_findings(*tested, LOTS, 0.025)
    phrases = [item for item in found.findings if item.kind == "phrase"]
    first = phrases[0]
    assert "Mind the gap" in first.text
    assert first.documents == (200, 0)
    assert first.rates[0] == pytest.approx(1 / 3, abs=0.08)
    assert first.rates[1] == 0
    low, high = first.intervals[0]
    assert low < first.rates[0] < high
    assert first.q_value < 1e-10
    assert first.beyond_format
    assert first.log_odds_low > 1
    assert sum("gap" in item.text for item in phrases) == 1
    assert found.total == len(found.findings)


@pytest.mark.parametrize(
    ("kind", "text", "tier"),
    [
        ("phrase", "Mind the gap", 0),
        ("opening", "Sure,", 0),
        ("format", "bold text", 0),
        ("phrase", "the", 1),
        ("phrase", "2.", 1),
        ("pattern", "the \u2026 of", 1),
        ("grammar", ", VERB-ing the NOUN", 1),
    ],
)
def test_what_a_reader_can_look_for_comes_first(kind, text, tier):
    """Small words, marks and grammar follow the rest, and whatever format explains follows both."""
    assert find_tier(kind, text, is_explained=False) == tier
    assert find_tier(kind, text, is_explained=True) == tier + 2


@pytest.mark.parametrize(
    ("lots", "teacher"),
    [
        ((("teacher", "atlas", 95, 100), ("teacher", "owl", 5, 300)), "atlas"),
        ((("teacher", "atlas", 80, 100), ("teacher", "owl", 20, 300)), None),
        ((("teacher", "atlas", 95, 950), ("teacher", "owl", 5, 50)), None),
        ((("teacher", "atlas", 0, 100), ("teacher", "owl", 0, 300)), None),
        ((("prompt_source", "songs", 95, 100), ("prompt_source", "code", 0, 300)), None),
        ((), None),
    ],
)
def test_a_finding_may_be_of_one_teacher(lots, teacher):
    """It wrote nearly all texts with the finding, and not nearly all of the others, too."""
    assert FINDING._replace(lots=tuple(FindingRate(*lot) for lot in lots)).teacher == teacher


def list_keys(found):
    """Return by what the findings must be ordered."""
    return [
        (find_tier(item.kind, item.text, not item.beyond_format), -item.log_odds_low)
        for item in found.findings
    ]


def test_findings_are_ordered_by_tier_and_then_by_evidence(tested):
    """Of the findings of one tier, that with the highest lower end of its odds comes first."""
    candidates, counts, confirmed = tested
    lax = list_findings(*tested, LOTS, 0.9)
    keys = list_keys(lax)
    assert len(keys) > 3
    assert keys == sorted(keys)
    explained = np.where(np.arange(len(candidates)) % 2, 1.0, confirmed.adjusted_q)
    mixed = confirmed._replace(adjusted_q=explained)
    keys = list_keys(list_findings(candidates, counts, mixed, LOTS, 0.9))
    assert keys == sorted(keys)
    assert {tier for tier, _ in keys} & {2, 3}


def test_a_finding_is_beyond_format_if_its_best_member_is(tested):
    """Merging doesn't hide what is beyond format behind a longer form that isn't shown to be."""
    candidates, counts, confirmed = tested
    first = list_findings(*tested, LOTS, 0.025)
    longest = first.members[0][0]
    explained = confirmed.adjusted_q.copy()
    explained[longest] = 1.0
    found = list_findings(candidates, counts, confirmed._replace(adjusted_q=explained), LOTS, 0.025)
    assert found.findings[0].beyond_format
    assert longest in found.members[0][1:]
    assert "gap" in found.findings[0].text


def test_the_habit_is_located(tested):
    """The lot with the habit has the highest rate, by teacher and by source."""
    first = list_findings(*tested, LOTS, 0.025).findings[0]
    teachers = [item for item in first.lots if item.field == "teacher"]
    assert [(item.value, item.rate) for item in teachers] == [("borealis", 1.0), ("atlas", 0.0)]
    sources = [item for item in first.lots if item.field == "prompt_source"]
    assert [(item.value, item.documents, item.texts) for item in sources] == [
        ("two", 200, 400),
        ("one", 0, 200),
    ]


def test_examples_come_from_both_corpora(tested):
    """A finding has examples in context, and those of the reference if there are any."""
    first = list_findings(*tested, LOTS, 0.025).findings[0]
    assert len(first.examples) == 3
    assert all("Mind the gap" in item.text for item in first.examples)
    assert first.reference_examples == ()
    assert set(first.to_json()) >= {"kind", "text", "rate_corpus", "rate_reference", "q_value"}


def test_a_strict_level_finds_less(tested):
    """At a level of nearly 0, only what is certain is left."""
    strict, lax = (list_findings(*tested, LOTS, level) for level in (1e-12, 0.2))
    assert len(strict.findings) <= len(lax.findings)
    assert all(item.q_value <= 1e-12 for item in strict.findings)
    assert list_findings(*tested, LOTS, 0.0).findings == []


def test_grammar_must_be_beyond_format(tested):
    """Grammar that length and format explain isn't listed, and other kinds are."""
    candidates, counts, confirmed = tested
    kinds = {item.kind for item in list_findings(*tested, LOTS, 0.2).findings}
    assert {"phrase", "grammar"} <= kinds
    explained = confirmed._replace(adjusted_q=np.ones(len(candidates)))
    found = list_findings(candidates, counts, explained, LOTS, 0.2).findings
    assert found
    assert not any(item.kind == "grammar" or item.beyond_format for item in found)


def test_grammar_has_examples_in_context(tested):
    """Grammar is named by parts of speech, and its examples are the words of texts."""
    found = [item for item in list_findings(*tested, LOTS, 0.2).findings if item.kind == "grammar"]
    for item in found:
        assert any(name in item.text for name in ("NOUN", "VERB", "ADJ", "ADV", "NUMBER"))
        assert not any("NOUN" in example.text for example in item.examples)
        assert item.examples


def test_grammar_that_repeats_a_phrase_is_its_variant(tested):
    """What the planted phrase has in parts of speech isn't a finding of its own."""
    found = list_findings(*tested, LOTS, 0.025).findings
    phrase = next(item for item in found if item.kind == "phrase")
    assert "NOUN the NOUN" in phrase.variants
    assert not any("NOUN the NOUN" in item.text for item in found)


def test_lots_that_are_all_alike_are_not_listed():
    """With one teacher and one source there is nothing to locate."""
    lots = (LOTS[0], LOTS[3])
    assert sum_lots(np.array([5, 1, 0]), np.array([10, 10, 0]), lots) == ()


def test_many_findings_are_cut(tested, monkeypatch):
    """Only so many findings are reported, and the number of all is known."""
    monkeypatch.setattr("pipelines.auditing.findings.MOST_FINDINGS", 1)
    found = list_findings(*tested, LOTS, 0.2)
    assert len(found.findings) == 1
    assert found.total >= 1
    assert plant(["a"]) == ["a Mind the gap."]


def test_other_forms_are_named_once(tested):
    """A finding's other forms don't repeat its name, in any case."""
    for item in list_findings(*tested, LOTS, 0.2).findings:
        forms = [item.text.casefold(), *(text.casefold() for text in item.variants)]
        assert len(set(forms)) == len(forms)


def test_an_exchanged_finding_has_the_numbers_of_the_corpus(tested):
    """A finding of the reference becomes one that the corpus has less often."""
    first = list_findings(*tested, LOTS, 0.025).findings[0]
    turned = first.exchange(0.3)
    assert turned.rates == first.rates[::-1]
    assert turned.intervals == first.intervals[::-1]
    assert turned.documents == first.documents[::-1]
    assert turned.examples == first.reference_examples
    assert turned.log_odds == -first.log_odds
    assert turned.to_json()["gain"] == turned.rates[0] - 0.3
    assert turned.exchange(first.rate_expected) == first
