"""Trait cards: what is accepted, in which forms, and what is refused with a message that names the field."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.cards import (
    SIGNALS,
    ClassifierOptions,
    HeadOptions,
    Level,
    LexiconOptions,
    Pattern,
    RepetitionOptions,
    Scope,
    Signals,
    TraitCard,
    check_pattern,
    compile_pattern,
)


def refused(**fields):
    """Return the message with which a card of these fields is refused."""
    with pytest.raises(ValidationError) as caught:
        TraitCard.model_validate({"id": "a", **fields})
    return str(caught.value)


def test_an_id_alone_is_a_card():
    """The defaults make a card of an id: exemplars and a head, on the assistant's answer and thinking, for quarantine."""
    card = TraitCard(id="rain-talk")
    assert card.signals.names() == ("exemplars", "head")
    assert card.scope == Scope(roles=("assistant",), channels=("answer", "thinking"))
    assert (card.action, card.threshold, card.level) == (
        "quarantine",
        None,
        Level(max_false_positive_rate=0.01, confidence=0.95),
    )


def test_an_unknown_field_is_refused_at_every_depth():
    """A typo is an error that names the field, in the card and in each of its parts."""
    assert "titel" in refused(titel="x")
    assert "scope.role" in refused(scope={"role": ["user"]})
    assert "level.confidance" in refused(level={"confidance": 0.9})
    assert "signals.head.kinds" in refused(signals={"head": {"kinds": "mlp"}})
    assert "signals.lexicon.patterns.0.wieght" in refused(
        signals={"lexicon": {"patterns": [{"match": "x", "wieght": 2}]}}
    )


@pytest.mark.parametrize(
    "name",
    [
        "Rain",
        "rain_talk",
        "rain talk",
        "-rain",
        "rain-",
        "rain--talk",
        "",
        "../rain",
        "rain\n",
        "x" * 65,
    ],
)
def test_an_id_is_a_slug(name):
    """An id becomes file and column names, so that only lower case, digits and single hyphens stand in it."""
    with pytest.raises(ValidationError, match="id"):
        TraitCard(id=name)


def test_signals_as_a_list_and_as_a_mapping_are_the_same():
    """A list of names means each with its defaults, and so does a name with nothing after it in YAML."""
    listed = TraitCard.model_validate({"id": "a", "signals": ["head", "repetition"]})
    mapped = TraitCard.model_validate({"id": "a", "signals": {"head": {}, "repetition": {}}})
    bare = TraitCard.model_validate({"id": "a", "signals": {"repetition": None, "head": None}})
    assert listed == mapped == bare
    assert listed.signals == Signals(head=HeadOptions(), repetition=RepetitionOptions())


def test_signal_names_come_in_the_order_of_the_score_columns():
    """The order in which a card lists its signals doesn't show."""
    options = {
        "repetition": {},
        "lexicon": {"patterns": ["x"]},
        "classifier": {"model": "m", "label": "l"},
        "head": {},
        "exemplars": {},
    }
    card = TraitCard.model_validate({"id": "a", "signals": options})
    assert card.signals.names() == SIGNALS
    assert card.signals.classifier == ClassifierOptions(model="m", label="l", revision=None)


def test_signals_that_are_none_or_unknown_are_refused():
    """A trait needs a signal, each by its right name."""
    assert "name at least one of exemplars, head, classifier, lexicon, repetition" in refused(
        signals=[]
    )
    assert "name at least one of" in refused(signals={})
    assert "signals.nose" in refused(signals=["nose"])
    assert "signals" in refused(signals="head")
    assert "signals.lexicon.patterns" in refused(signals=["lexicon"])
    assert "signals.classifier.model" in refused(signals=["classifier"])


def test_a_list_of_mappings_is_refused_with_the_field():
    """`- lexicon: {…}` is a natural slip; it is a validation error like any other."""
    assert "signals" in refused(signals=[{"lexicon": {"patterns": ["x"]}}])


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a)\1",
        r"(?=a)b",
        r"(?<!a)b",
        "(a",
        "a**",
        r"\Qa{2}\E{3}{4}",
        "a{1001}",
        "((a{100}){100}){100}",
    ],
)
def test_a_pattern_that_is_not_re2_is_refused(pattern):
    """Back-references, look-around and plain mistakes are refused, and the message shows the pattern."""
    with pytest.raises(ValueError, match=r"not linear-time \(RE2\) syntax") as caught:
        compile_pattern(pattern)
    assert repr(pattern) in str(caught.value)
    assert "signals.lexicon.patterns.0.match" in refused(
        signals={"lexicon": {"patterns": [pattern]}}
    )
    assert "signals.lexicon.unless" in refused(
        signals={"lexicon": {"patterns": ["x"], "unless": [pattern]}}
    )


@pytest.mark.parametrize("pattern", ["", "a*", "a?", "(?:)", "a|", "^", "$", r"\b", r"\B", r"a|\b"])
def test_a_pattern_that_matches_nothing_at_all_is_refused(pattern):
    """A pattern with an empty match would hit every text."""
    with pytest.raises(ValueError, match="matches the empty string"):
        check_pattern(pattern)
    assert "signals.lexicon.patterns.0.match" in refused(
        signals={"lexicon": {"patterns": [pattern]}}
    )


@given(st.text(min_size=1, max_size=20))
def test_a_literal_is_a_pattern_that_finds_itself(text):
    """Any escaped text is accepted as it stands and matches itself."""
    pattern = re.escape(text) if "\x00" not in text else "x"
    assert check_pattern(pattern) == pattern
    assert compile_pattern(pattern).search(text if "\x00" not in text else "x")


def test_patterns_match_without_regard_to_case():
    """Case-insensitive is the only way that patterns are compiled."""
    assert compile_pattern("as an ai").search("As An AI")
    assert compile_pattern("É").search("é")


def test_a_lexicon_has_patterns():
    """An empty list of patterns would match everywhere; it is refused."""
    assert "signals.lexicon.patterns" in refused(signals={"lexicon": {"patterns": []}})


def test_patterns_are_strings_or_mappings():
    """A bare string is a pattern of weight 1 that counts once."""
    options = LexiconOptions.model_validate(
        {"patterns": ["a", {"match": "b", "weight": 0.5, "cap": 3}]}
    )
    assert options.patterns == (
        Pattern(match="a", weight=1.0, cap=1),
        Pattern(match="b", weight=0.5, cap=3),
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("level", {"max_false_positive_rate": 0}),
        ("level", {"max_false_positive_rate": 1}),
        ("level", {"confidence": 1}),
        ("threshold", 1.5),
        ("threshold", float("nan")),
        ("action", "delete"),
        ("scope", {"channels": ["whisper"]}),
        ("scope", {"roles": []}),
        ("scope", {"channels": []}),
        ("signals", {"exemplars": {"neighbours": 0}}),
        ("signals", {"head": {"kind": "forest"}}),
        ("signals", {"repetition": {"span": 3}}),
        ("signals", {"lexicon": {"patterns": [{"match": "x", "weight": 0}]}}),
        ("signals", {"lexicon": {"patterns": [{"match": "x", "weight": float("inf")}]}}),
        ("signals", {"lexicon": {"patterns": ["x"], "scale": 0}}),
        ("signals", {"lexicon": {"patterns": ["x"], "per_words": 1}}),
        ("related", ["Not A Slug"]),
    ],
)
def test_values_out_of_range_are_refused(field, value):
    """Each number has its bounds and each word its list; the message names the field."""
    assert field in refused(**{field: value})


def test_seen_in_takes_a_string_a_list_or_mappings():
    """A place without a source says that its source is unstated."""
    assert TraitCard.model_validate({"id": "a", "seen_in": "here"}).seen_in[0].source == "unstated"
    mixed = TraitCard.model_validate(
        {"id": "a", "seen_in": ["here", {"where": "there", "source": "a paper"}]}
    ).seen_in
    assert [(item.where, item.source) for item in mixed] == [
        ("here", "unstated"),
        ("there", "a paper"),
    ]
    assert "seen_in" in refused(seen_in=5)


def test_a_card_is_frozen_and_survives_its_json():
    """A card can't be changed after it is read, and its JSON reads back as the same card."""
    card = TraitCard.model_validate(
        {
            "id": "a",
            "seen_in": ["x"],
            "signals": {"lexicon": {"patterns": ["x", "y"], "unless": ["z"], "per_words": 60}},
            "related": ["b"],
        }
    )
    with pytest.raises(ValidationError, match="frozen"):
        card.title = "other"
    assert TraitCard.model_validate(card.model_dump(mode="json", exclude_none=True)) == card
    assert hash(card.scope) == hash(Scope())


@pytest.mark.parametrize("value", [True, False])
def test_truth_is_no_number(value):
    """YAML's `threshold: yes` isn't 1.0, nor `neighbours: on` 1, at any depth; fields that are true or false stay so."""
    assert "threshold" in refused(threshold=value)
    assert "signals.exemplars.neighbours" in refused(signals={"exemplars": {"neighbours": value}})
    assert "level.confidence" in refused(level={"confidence": value})


def test_a_pattern_that_re2_refuses_is_told_in_its_words():
    """The reason is text, not Python's bytes."""
    assert "syntax: invalid perl operator: (?<=" in refused(
        signals={"lexicon": {"patterns": ["(?<=x)y"]}}
    )
