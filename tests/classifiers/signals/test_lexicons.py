"""Lexicons: what is a hit, what quotation, denial and `unless` take away, and a prefilter that loses nothing."""

from __future__ import annotations

import math
import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.library import background_conversations, find_cards
from classifiers.signals.lexicons import Lexicon, is_denied, is_quoted, loosened, score_lexicons
from schemas.cards import LexiconOptions, check_pattern, compile_pattern


def lexicon(*patterns, **options):
    """Return a lexicon of these patterns."""
    return Lexicon(LexiconOptions.model_validate({"patterns": list(patterns), **options}))


def found(text, *patterns, **options):
    """Return the texts of the hits that count."""
    return [hit.text for hit in lexicon(*patterns, **options).hits(text)]


def test_hits_come_in_order_with_their_characters():
    """Start and end are characters, not bytes, and cut the hit out of the text."""
    text = "Ünï – as an AI, I can't. Later: As An AI again."
    hits = lexicon(r"\bas an ai\b", r"\bcan't\b").hits(text)
    assert [hit.text for hit in hits] == ["as an AI", "can't", "As An AI"]
    assert [text[hit.start : hit.end] for hit in hits] == [hit.text for hit in hits]


@given(st.text(alphabet="aé雨\U0001f327 x", max_size=30))
def test_characters_are_counted_in_any_script(text):
    """A hit behind letters of any width is cut out whole."""
    padded = f"{text} needle {text}"
    (hit,) = lexicon("needle").hits(padded)
    assert (hit.start, hit.end) == (len(text) + 1, len(text) + 7)


QUOTED = [
    'She wrote "as an AI I refuse" on the board.',
    "The phrase “as an AI” is common.",
    "On a dit « as an AI » hier.",
    "Filter the string `as an AI` first.",
    "> as an AI I refuse",
    "  > as an AI I refuse",
    "```\nprint(as an AI)\n```\nDone.",
    "Text.\n```python\nx = as an AI\n```",
    "```\na\n```\nand\n```\nas an AI",
]
SPOKEN = [
    "as an AI I refuse.",
    '"Hello," she said. Well, as an AI I refuse.',
    "“Hello.” But as an AI I refuse.",
    "« Oui. » Yet as an AI I refuse.",
    "Run `ls`, and as an AI I wait.",
    '5" wide; as an AI I measured it.',
    "```\ncode\n```\nSo as an AI I ran it.",
    'A "quoted\nline" ends; as an AI I go on.',
    "a > b, so as an AI I agree.",
    "She said “one\nas an AI two” three.",
]


@pytest.mark.parametrize("text", QUOTED)
def test_a_quoted_hit_does_not_count(text):
    """Words in quotation marks of the line, in a quoted line, in code or in a fenced block are somebody else's."""
    assert found(text, "as an ai") == []
    assert found(text, "as an ai", quoted="count") == ["as an AI"]
    start = text.index("as an AI")
    assert is_quoted(text, start, start + 8)


@pytest.mark.parametrize("text", SPOKEN)
def test_a_hit_beside_a_quotation_counts(text):
    """Quotation marks that are closed, or open on another line, quote nothing here."""
    assert found(text, "as an ai") == ["as an AI"]
    start = text.index("as an AI")
    assert not is_quoted(text, start, start + 8)


DENIED = [
    "I would never delve into that.",
    "Do not delve into it.",
    "Don't delve into it.",
    "Don’t delve into it.",
    "Please avoid delve and its kin.",
    "Write plainly instead of delve.",
    "Without delve, the text is better.",
    "I removed every delve from it.",
    "Avoid tapestry, testament, delve.",
    "Neither tapestry nor delve is in it.",
    "It works. We can't delve here.",
]
AFFIRMED = [
    "Let us delve into it.",
    "This is not easy. Let us delve into it.",
    "I can't wait, because I delve daily.",
    "No, I delve daily.",
    "It is not just nice but we delve into it.",
    "I did not sleep, as I delve at night.",
    "Nothing is lost; now we delve.",
    "Notes on knots: we delve.",
    f"I do not know{' really' * 10} delve into it.",
]


@pytest.mark.parametrize("text", DENIED)
def test_a_denied_hit_does_not_count(text):
    """A denial in the clause before a hit takes it away."""
    assert found(text, r"\bdelve\b") == []
    assert found(text, r"\bdelve\b", denied="count") == ["delve"]
    assert is_denied(text, text.index("delve"))


@pytest.mark.parametrize("text", AFFIRMED)
def test_a_denial_of_something_else_leaves_the_hit(text):
    """A denial ends with its clause, with a new subject, and with its reach."""
    assert found(text, r"\bdelve\b") == ["delve"]
    assert not is_denied(text, text.index("delve"))


def test_a_hit_that_opens_its_clause_is_not_denied():
    """A denial belongs to the clause before a hit that begins a new one."""
    assert found("I can't do that, as an AI I refuse.", r"\bas an ai\b") == ["as an AI"]
    assert found("I don't serve as an AI.", r"\bas an ai\b") == []


def test_unless_takes_away_what_it_overlaps():
    """A hit that shares a character with an `unless` match doesn't count; one beside it does."""
    options = {"unless": [r"\bsuch as an\b"]}
    assert found("tools such as an AI", r"\bas an ai\b", **options) == []
    assert found("tools such as an axe; as an AI I like them", r"\bas an ai\b", **options) == [
        "as an AI"
    ]
    assert found("SUCH AS AN AI", r"\bas an ai\b", **options) == []
    assert found("xy", "y", unless=["x"]) == ["y"]


def test_the_score_is_of_the_weights():
    """The score is 1 - exp(-weight / scale); each pattern adds at most its cap."""
    words = lexicon(
        {"match": "aa", "weight": 0.5, "cap": 2}, {"match": "bb", "weight": 0.25}, scale=2
    )
    for text, weight in (
        ("", 0),
        ("aa", 0.5),
        ("aa aa", 1.0),
        ("aa aa aa aa", 1.0),
        ("aa bb bb", 0.75),
    ):
        assert words.score(text, words.hits(text)) == pytest.approx(1 - math.exp(-weight / 2))


def test_a_lexicon_of_density_divides_by_the_length():
    """Per so many words the same hits weigh less in a longer text; a short text counts as one unit."""
    dense = lexicon({"match": "aa", "weight": 1}, per_words=10, scale=1)
    for words, units in ((1, 1), (5, 1), (10, 1), (20, 2), (45, 4.5)):
        text = " ".join(["aa"] + ["x"] * (words - 1))
        assert dense.score(text, dense.hits(text)) == pytest.approx(1 - math.exp(-1 / units))


def test_a_hit_has_the_weight_of_the_pattern_that_made_it():
    """Of patterns that match the same words, the one whose anchors and borders hold where the words stand is counted."""
    words = lexicon(
        {"match": "^praise", "weight": 2},
        {"match": r"praise\b", "weight": 1},
        {"match": "praise", "weight": 0.25},
    )
    assert [hit.pattern.weight for hit in words.hits("praise, praise praised")] == [2, 1, 0.25]
    ends = lexicon({"match": "praise$", "weight": 2}, {"match": "praise", "weight": 0.25})
    assert [hit.pattern.weight for hit in ends.hits("praise praise")] == [0.25, 2]


def test_the_first_pattern_that_matches_is_counted():
    """Patterns are tried in the order of the card, and hits don't overlap."""
    words = lexicon({"match": r"very good\b", "weight": 2}, {"match": r"\bgood", "weight": 1})
    assert [(hit.text, hit.pattern.weight) for hit in words.hits("very good, good")] == [
        ("very good", 2),
        ("good", 1),
    ]


def test_scores_and_spans_of_many_texts():
    """Each lexicon scores every text; the span is that of the first, heaviest hit, and zeros where there is none."""
    one = lexicon({"match": "aa", "weight": 0.5}, {"match": "bb", "weight": 1})
    other = lexicon("cc")
    texts = ["nothing", "aa then bb then bb", "", "cc aa"]
    (first, second) = score_lexicons([one, other], pa.array(texts, pa.large_string()))
    assert first.spans.tolist() == [[0, 0], [8, 10], [0, 0], [3, 5]]
    assert second.spans.tolist() == [[0, 0], [0, 0], [0, 0], [0, 2]]
    assert first.scores == pytest.approx([0, 1 - math.exp(-3), 0, 1 - math.exp(-1)])
    assert first.scores.dtype == np.float32
    assert first.hits == {1: [(0, 2), (8, 10), (16, 18)], 3: [(3, 5)]}
    assert score_lexicons([one], pa.array([], pa.large_string()))[0].scores.shape == (0,)
    assert score_lexicons([], pa.array(texts, pa.large_string())) == []


ATOMS = st.sampled_from(
    [
        "a",
        "b",
        "[ab]",
        "[^a]",
        "[a{2}]",
        "[]{2}]",
        r"[\]{2}]",
        r"\{2\}",
        r"\{",
        r"\x{61}",
        r"\pL",
        r"\p{L}",
        r"\\",
        r"\Qa{2}\E",
        r"\w",
        "2",
        ",",
    ]
)
COUNTS = st.sampled_from(["", "", "?", "*", "+", "{2}", "{1,2}", "{2,}", "{0,3}", "{2}?", "{1,}?"])
PATTERNS = st.recursive(
    st.builds("{}{}".format, ATOMS, COUNTS),
    lambda inner: (
        st.builds("(?:{}){}".format, inner, COUNTS)
        | st.builds("{}{}".format, inner, inner)
        | st.builds("(?:{}|{})".format, inner, inner)
    ),
    max_leaves=5,
)


@settings(max_examples=300)
@given(PATTERNS, st.lists(st.text(alphabet="ab{}2,*]\\L", max_size=8), max_size=8))
def test_the_loosened_pattern_never_loses_a_hit(pattern, texts):
    """Wherever a pattern matches, its loosened form does too: classes, escapes and quotations aren't counts."""
    try:
        exact = compile_pattern(pattern)
    except ValueError:
        return
    loose = compile_pattern(loosened(pattern))
    array = pa.array(texts, pa.large_string())
    passed = (
        pc.match_substring_regex(array, loosened(pattern), ignore_case=True).to_pylist()
        if texts
        else []
    )
    for text, through in zip(texts, passed, strict=True):
        if exact.search(text):
            assert loose.search(text)
            assert through


@pytest.mark.parametrize(
    ("pattern", "loose"),
    [
        ("a{2}", "a*"),
        (r"[^.!?\n]{0,45}x", r"[^.!?\n]*x"),
        (r"(?:\w+ ){0,2}", r"(?:\w+ )*"),
        (r"\\{3}", r"\\*"),
        (r"\{3}", r"\{3}"),
        (r"\x{41}", r"\x{41}"),
        (r"\x{41}{2}", r"\x{41}*"),
        (r"\p{Greek}{2,}", r"\p{Greek}*"),
        ("[{2}]", "[{2}]"),
        ("[^]{2}]{3}", "[^]{2}]*"),
        (r"[[:alpha:]{2}]{3}", r"[[:alpha:]{2}]*"),
        (r"\Qa{2}\E{3}", r"\Qa{2}\E*"),
    ],
)
def test_only_counts_are_loosened(pattern, loose):
    """A counted repetition becomes any number; everything else stands as it was."""
    assert check_pattern(pattern if not pattern.endswith("{0,2}") else pattern + "x")
    assert loosened(pattern) == loose


def test_the_prefilter_loses_nothing_of_the_library():
    """On every text that ships, the vectorised pass and then the lexicon score just what the lexicon alone does."""
    cards = find_cards()
    texts = [text for card in cards for text in (*card.positives, *card.negatives)]
    texts += [text for turns in background_conversations() for text in turns]
    lexicons = [Lexicon(card.card.signals.lexicon) for card in cards if card.card.signals.lexicon]
    assert len(lexicons) >= 8
    for item, (scores, *_) in zip(
        lexicons, score_lexicons(lexicons, pa.array(texts, pa.large_string())), strict=True
    ):
        expected = np.array([item.score(text, item.hits(text)) for text in texts], np.float32)
        assert np.array_equal(scores, expected)
        assert (scores > 0).any()


@pytest.mark.parametrize("pattern", ["(a+)+b", "(?:a|aa)+b", r"(?:\w+\s?)+!", "(.*a){12}b"])
def test_time_is_linear_on_a_text_made_to_take_forever(pattern):
    """Patterns on which a backtracking engine would never come back take RE2 a moment for a hundred thousand characters."""
    words = lexicon(pattern)
    text = "a" * 100_000
    begin = time.perf_counter()
    assert words.hits(text) == []
    assert score_lexicons([words], pa.array([text], pa.large_string()))[0].scores.tolist() == [0.0]
    assert time.perf_counter() - begin < 5
