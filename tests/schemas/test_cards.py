"""Trait cards: accepted forms, and errors that name a field."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from schemas.cards import (
    RESERVED,
    SIGNALS,
    ClassifierOptions,
    HeadOptions,
    Level,
    LexiconOptions,
    Pattern,
    RepetitionOptions,
    Scope,
    SignalName,
    Signals,
    Slug,
    Strict,
    TraitCard,
    check_pattern,
    compile_pattern,
    join_patterns,
)
from schemas.outputs import CALIBRATION_SCORES, LEDGER_OF_PAIRS, REJECTS, SPANS, SWAPLIST
from schemas.scores import COMBINED


def refused(**fields):
    """Return the validation error of a card."""
    with pytest.raises(ValidationError) as caught:
        TraitCard.model_validate({"id": "a", **fields})
    return str(caught.value)


def test_an_id_alone_is_a_card():
    """By default, wording, exemplars and a head read the assistant's answers and thinking."""
    card = TraitCard(id="rain-talk")
    assert card.signals.names == ("exemplars", "head", "wording")
    assert card.scope == Scope(roles=("assistant",), channels=("answer", "thinking"))
    assert (card.action, card.threshold, card.level) == (
        "quarantine",
        None,
        Level(max_false_positive_rate=0.01, confidence=0.95),
    )


def test_an_unknown_field_is_refused_at_every_depth():
    """The error for a misspelt field at any depth names the field."""
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
    """An id has only lower-case letters, digits and single hyphens."""
    with pytest.raises(ValidationError, match="id"):
        TraitCard(id=name)


def test_signals_as_a_list_and_as_a_mapping_are_the_same():
    """A signal in a list or without a value has its default options."""
    listed = TraitCard.model_validate({"id": "a", "signals": ["head", "repetition"]})
    mapped = TraitCard.model_validate({"id": "a", "signals": {"head": {}, "repetition": {}}})
    bare = TraitCard.model_validate({"id": "a", "signals": {"repetition": None, "head": None}})
    assert listed == mapped == bare
    assert listed.signals == Signals(head=HeadOptions(), repetition=RepetitionOptions())


def test_signal_names_come_in_the_order_of_the_score_columns():
    """Signal names are in the order of the score columns."""
    options = {
        "language": {},
        "repetition": {},
        "lexicon": {"patterns": ["x"]},
        "classifier": {"model": "m", "label": "l"},
        "wording": {},
        "head": {},
        "exemplars": {},
    }
    card = TraitCard.model_validate({"id": "a", "signals": options})
    assert card.signals.names == SIGNALS
    assert card.signals.classifier == ClassifierOptions(model="m", label="l", revision=None)


def test_every_signal_has_a_name_and_options():
    """The signal names, score columns and card fields agree."""
    assert get_args(SignalName) == SIGNALS == tuple(Signals.model_fields)


def test_compiled_patterns_are_cached():
    """A shared pattern is compiled only once."""
    assert compile_pattern(r"\bcached\b") is compile_pattern(r"\bcached\b")


def test_signals_that_are_none_or_unknown_are_refused():
    """A trait without signals or with an unknown signal is refused."""
    assert (
        "name at least one of exemplars, head, wording, classifier, lexicon, repetition, language"
        in refused(signals=[])
    )
    assert "name at least one of" in refused(signals={})
    assert "signals.nose" in refused(signals=["nose"])
    assert "signals" in refused(signals="head")
    assert "signals.lexicon.patterns" in refused(signals=["lexicon"])
    assert "signals.classifier.model" in refused(signals=["classifier"])


def test_a_list_of_mappings_is_refused_with_the_field():
    """`- lexicon: {…}` is an ordinary validation error."""
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
    """The error for a pattern that isn't RE2 quotes the pattern."""
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
def test_a_pattern_that_matches_the_empty_string_is_refused(pattern):
    """A pattern that matches the empty string is refused."""
    with pytest.raises(ValueError, match="matches the empty string"):
        check_pattern(pattern)
    assert "signals.lexicon.patterns.0.match" in refused(
        signals={"lexicon": {"patterns": [pattern]}}
    )


@given(st.text(min_size=1, max_size=20))
def test_a_literal_is_a_pattern_that_finds_itself(text):
    """Any escaped text is a valid pattern that matches the text."""
    pattern = re.escape(text) if "\x00" not in text else "x"
    assert check_pattern(pattern) == pattern
    assert compile_pattern(pattern).search(text if "\x00" not in text else "x")


def test_patterns_match_without_regard_to_case():
    """Every pattern is case-insensitive, even beyond ASCII."""
    assert compile_pattern("as an ai").search("As An AI")
    assert compile_pattern("É").search("é")


def test_a_lexicon_has_patterns():
    """A lexicon without patterns is refused."""
    assert "signals.lexicon.patterns" in refused(signals={"lexicon": {"patterns": []}})


def test_patterns_are_strings_or_mappings():
    """A plain string is a pattern of weight 1 with a cap of one hit."""
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
        ("signals", {"lexicon": {"patterns": ["x"], "most_words": 100}}),
        ("signals", {"lexicon": {"patterns": ["x"], "per_words": 60, "most_words": 59}}),
        ("related", ["Not A Slug"]),
    ],
)
def test_values_out_of_range_are_refused(field, value):
    """The error for a value out of range names the field."""
    assert field in refused(**{field: value})


def test_seen_in_takes_a_string_a_list_or_mappings():
    """`seen_in` accepts text, a list or mappings, and the default source is `unstated`."""
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
    """A card is frozen, and its JSON gives an equal card."""
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
def test_a_boolean_is_not_read_as_a_number(value):
    """A boolean is refused in place of a number, at any depth."""
    message = f"doesn't take {str(value).lower()}; YAML reads yes, no, on and off as"
    for field, fields in {
        "threshold": {"threshold": value},
        "signals.exemplars.neighbours": {"signals": {"exemplars": {"neighbours": value}}},
        "level.confidence": {"level": {"confidence": value}},
    }.items():
        assert field in refused(**fields)
        assert message in refused(**fields)


def test_boolean_fields_and_fields_of_any_type_take_booleans():
    """Fields of type bool or Any accept booleans."""

    class Model(Strict):
        choice: bool
        anything: Any

    assert Model(choice=True, anything=False).model_dump() == {"choice": True, "anything": False}


def test_the_reason_for_a_bad_pattern_is_readable_text():
    """The reason for a bad pattern is text."""
    assert "syntax: invalid perl operator: (?<=" in refused(
        signals={"lexicon": {"patterns": ["(?<=x)y"]}}
    )


@pytest.mark.parametrize(
    ("patterns", "reason"),
    [
        ([r"\Qa.b", "c"], "missing )"),
        ([r"x\pL{300}", r"y\pL{300}", r"z\pL{300}"], "pattern too large"),
    ],
    ids=["quotation", "size"],
)
def test_patterns_that_cannot_be_searched_together_are_refused(patterns, reason):
    """Patterns are refused if RE2 can't compile their union."""
    for pattern in patterns:
        check_pattern(pattern)
    for field in ("patterns", "unless"):
        lexicon = {"patterns": ["a"], field: patterns}
        message = refused(signals={"lexicon": lexicon})
        assert f"{field} can't be searched in one pass: {reason}" in message


def test_joined_patterns_match_what_each_matches():
    """A union matches what each pattern matches."""
    union = compile_pattern(join_patterns(["ab|cd", "x+"]))
    assert [match.group() for match in union.finditer("abd cd xx")] == ["ab", "cd", "xx"]


def test_no_trait_is_called_like_a_column_of_a_run():
    """A trait id can't be a column name of a run."""
    tables = (LEDGER_OF_PAIRS, SPANS, REJECTS, SWAPLIST, CALIBRATION_SCORES)
    slugs = TypeAdapter(Slug)
    for name in {name for table in tables for name in table.names} | {COMBINED, "vector"}:
        with pytest.raises(ValidationError):
            TraitCard(id=name)
        if name in RESERVED:
            with pytest.raises(ValidationError, match=f"choose another, such as {name}-trait"):
                TraitCard(id=name)
        else:
            with pytest.raises(ValidationError):
                slugs.validate_python(name)  # an id has no underscores
    assert TraitCard(id="source-trait").id == "source-trait"


def test_a_card_can_be_limited_to_some_signals():
    """If a card is limited to some signals, the remaining signals keep their options."""
    lexicon = {"patterns": ["rain"], "scale": 2}
    card = TraitCard.model_validate({"id": "rain", "signals": {"lexicon": lexicon, "head": None}})
    only = card.limit_signals(["lexicon", "repetition"])
    assert only.signals.names == ("lexicon",)
    assert only.signals.lexicon == card.signals.lexicon
    assert card.limit_signals(card.signals.names) == card


@pytest.mark.parametrize("name", SIGNALS)
def test_signals_need_the_encoder_or_exemplars(name):
    """Exemplars and heads need the encoder; they and wording learn from the card's exemplars."""
    given = {"lexicon": {"patterns": ["a"]}, "classifier": {"model": "m", "label": "l"}}
    card = TraitCard.model_validate({"id": "a", "signals": {name: given.get(name, {})}})
    assert card.uses_encoder == (name in ("exemplars", "head"))
    assert card.learns_from_exemplars == (name in ("exemplars", "head", "wording"))


def test_a_trait_reads_one_part_of_a_text():
    """A scope reads a text's opening, its closing or all of it, but not two parts."""
    text = "abcdefghij" * 5
    for scope, part, read in (
        (Scope(), 0, text),
        (Scope(opening=20), 20, text[:20]),
        (Scope(closing=20), -20, text[-20:]),
        (Scope(closing=99), -99, text),
    ):
        assert (scope.part, scope.cut(text)) == (part, read)
    assert "give either opening or closing" in refused(scope={"opening": 20, "closing": 20})
    assert "scope.closing" in refused(scope={"closing": 19})
