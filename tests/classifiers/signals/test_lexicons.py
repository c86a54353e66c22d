"""Lexicons: hits, quotation, denial, `unless`, and the prefilter."""

from __future__ import annotations

import math
import time
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.library import find_cards, read_background
from classifiers.signals import lexicons
from classifiers.signals.lexicons import (
    DENIAL,
    FEW_TEXTS,
    FOREIGN,
    SIGN_OF_DENIAL,
    SIGNS,
    Lexicon,
    is_denied,
    loosen_counts,
    score_lexicons,
)
from schemas.cards import LexiconOptions, check_pattern, compile_pattern


def make_lexicon(*patterns, **options):
    """Return a lexicon with these patterns."""
    return Lexicon(LexiconOptions.model_validate({"patterns": list(patterns), **options}))


def find_texts(text, *patterns, **options):
    """Return each counted hit's text."""
    return [hit.text for hit in make_lexicon(*patterns, **options).find_hits(text)]


def test_hits_come_in_order_with_their_characters():
    """Hits come in order, with offsets in characters."""
    text = "Ünï – as an AI, I can't. Later: As An AI again."
    hits = make_lexicon(r"\bas an ai\b", r"\bcan't\b").find_hits(text)
    assert [hit.text for hit in hits] == ["as an AI", "can't", "As An AI"]
    assert [text[hit.start : hit.end] for hit in hits] == [hit.text for hit in hits]


@given(st.text(alphabet="aé雨\U0001f327 x", max_size=30))
def test_characters_are_counted_in_any_script(text):
    """Offsets count characters in any script."""
    padded = f"{text} needle {text}"
    (hit,) = make_lexicon("needle").find_hits(padded)
    assert (hit.start, hit.end) == (len(text) + 1, len(text) + 7)


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
    """A hit after a denial in the same clause doesn't count."""
    assert find_texts(text, r"\bdelve\b") == []
    assert find_texts(text, r"\bdelve\b", denied="count") == ["delve"]
    assert is_denied(text, text.index("delve"))


@pytest.mark.parametrize("text", AFFIRMED)
def test_a_denial_of_something_else_leaves_the_hit(text):
    """A denial ends with its clause, at a new subject, or after `LOOK_BACK` characters."""
    assert find_texts(text, r"\bdelve\b") == ["delve"]
    assert not is_denied(text, text.index("delve"))


def test_a_hit_that_opens_its_clause_is_not_denied():
    """A denial doesn't reach a hit that begins a new clause."""
    assert find_texts("I can't do that, as an AI I refuse.", r"\bas an ai\b") == ["as an AI"]
    assert find_texts("I don't serve as an AI.", r"\bas an ai\b") == []


def test_unless_discounts_hits_that_it_overlaps():
    """A hit that overlaps an `unless` match doesn't count, but a hit beside it does."""
    options = {"unless": [r"\bsuch as an\b"]}
    assert find_texts("tools such as an AI", r"\bas an ai\b", **options) == []
    assert find_texts("tools such as an axe; as an AI I like them", r"\bas an ai\b", **options) == [
        "as an AI"
    ]
    assert find_texts("SUCH AS AN AI", r"\bas an ai\b", **options) == []
    assert find_texts("xy", "y", unless=["x"]) == ["y"]


def test_the_score_follows_from_the_weights():
    """The score is 1 - exp(-weight / scale), with each pattern's hits up to its cap."""
    words = make_lexicon(
        {"match": "aa", "weight": 0.5, "cap": 2}, {"match": "bb", "weight": 0.25}, scale=2
    )
    for text, weight in (
        ("", 0),
        ("aa", 0.5),
        ("aa aa", 1.0),
        ("aa aa aa aa", 1.0),
        ("aa bb bb", 0.75),
    ):
        assert words.score(text, words.find_hits(text)) == pytest.approx(1 - math.exp(-weight / 2))


def test_a_lexicon_of_density_divides_by_the_length():
    """With `per_words`, hits weigh less in longer texts, and a short text is one unit."""
    dense = make_lexicon({"match": "aa", "weight": 1}, per_words=10, scale=1)
    for words, units in ((1, 1), (5, 1), (10, 1), (20, 2), (45, 4.5)):
        text = " ".join(["aa"] + ["x"] * (words - 1))
        assert dense.score(text, dense.find_hits(text)) == pytest.approx(1 - math.exp(-1 / units))


def test_the_length_that_counts_can_be_limited():
    """With `most_words`, longer texts need no more hits than one of that length."""
    dense = make_lexicon({"match": "aa", "weight": 1}, per_words=10, most_words=20, scale=1)
    for words, units in ((10, 1), (15, 1.5), (20, 2), (45, 2), (4_000, 2)):
        text = " ".join(["aa"] + ["x"] * (words - 1))
        assert dense.score(text, dense.find_hits(text)) == pytest.approx(1 - math.exp(-1 / units))


def test_a_hit_has_the_weight_of_the_pattern_that_matches():
    """Anchors and word boundaries decide which pattern gets a hit."""
    words = make_lexicon(
        {"match": "^praise", "weight": 2},
        {"match": r"praise\b", "weight": 1},
        {"match": "praise", "weight": 0.25},
    )
    assert [hit.pattern.weight for hit in words.find_hits("praise, praise praised")] == [2, 1, 0.25]
    ends = make_lexicon({"match": "praise$", "weight": 2}, {"match": "praise", "weight": 0.25})
    assert [hit.pattern.weight for hit in ends.find_hits("praise praise")] == [0.25, 2]


FENCED = "Run this:\n```\nsort < names\n```\n\nLet me know if you need more."


@pytest.mark.parametrize(
    ("whole", "part", "discount"),
    [
        (FENCED, FENCED[22:], None),
        (f"```\nlet me know\n{FENCED}", "\nlet me know\n", "quoted"),
        ('He wrote "let me know soon" and left.', 'He wrote "let me know', "quoted"),
        ("Don't write that you want to let me know.", "let me know.", "denied"),
        ("A song: Let me know, love.", "Let me know", "excused"),
    ],
)
def test_the_whole_text_decides_whether_a_hit_in_a_part_counts(whole, part, discount):
    """A quotation, a code block, a denial or an excuse may begin before the part, or end after."""
    words = make_lexicon("let me know", unless=["song: let me know"])
    start = whole.index(part)
    ((hit, found),) = words.judge_hits(part, whole, start)
    assert (hit.text.lower(), found) == ("let me know", discount)
    assert part[hit.start : hit.end] == hit.text
    assert bool(words.find_hits(part, whole, start)) == (discount is None)


def test_the_first_pattern_of_a_weight_is_counted():
    """Patterns of one weight match in the card's order, from left to right, without overlaps."""
    words = make_lexicon(r"very good\b", r"\bgood", r"very good idea")
    assert [hit.pattern.match for hit in words.find_hits("very good idea, good")] == [
        r"very good\b",
        r"\bgood",
    ]


@pytest.mark.parametrize("text", ["it is important to note that", "é: important to note that"])
def test_the_heaviest_of_overlapping_hits_counts(text):
    """A heavy hit counts, wherever lighter ones begin and whichever pattern is listed first."""
    light, heavy = {"match": "important to note", "weight": 0.3}, {"match": "note that"}
    middle = {"match": "to note that", "weight": 0.5}
    for patterns in ([light, middle, heavy], [heavy, light, middle]):
        assert [hit.text for hit in make_lexicon(*patterns).find_hits(text)] == ["note that"]
    first = {"match": "important", "weight": 0.3}
    found = make_lexicon(first, middle, heavy).find_hits(text)
    assert [hit.text for hit in found] == ["important", "note that"]


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a+", "ab", "ba", "b{2}", "aba", "bb+a"]), st.integers(1, 3)),
        min_size=1,
        max_size=5,
    ),
    st.text(alphabet="ab ", max_size=30),
)
def test_hits_never_overlap_and_no_heavy_one_is_lost(patterns, text):
    """Each weight finds what its patterns find alone, but for hits that overlap a heavier one."""
    cards = [{"match": match, "weight": weight} for match, weight in patterns]
    hits = make_lexicon(*cards).find_hits(text)
    assert all(one.end <= two.start for one, two in pairwise(hits))
    for weight in {card["weight"] for card in cards}:
        same = make_lexicon(*(card for card in cards if card["weight"] == weight))
        heavier = [hit for hit in hits if hit.pattern.weight > weight]
        assert [hit for hit in hits if hit.pattern.weight == weight] == [
            hit
            for hit in same.find_hits(text)
            if not any(hit.start < other.end and other.start < hit.end for other in heavier)
        ]


def test_scores_and_spans_of_many_texts():
    """A text's span is its first heaviest hit, or two zeros."""
    one = make_lexicon({"match": "aa", "weight": 0.5}, {"match": "bb", "weight": 1})
    other = make_lexicon("cc")
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
    """A loosened pattern matches wherever the original does."""
    try:
        exact = compile_pattern(pattern)
    except ValueError:
        return
    loose = compile_pattern(loosen_counts(pattern))
    array = pa.array(texts, pa.large_string())
    passed = (
        pc.match_substring_regex(array, loosen_counts(pattern), ignore_case=True).to_pylist()
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
    """Loosening changes only counted repetitions."""
    assert check_pattern(pattern if not pattern.endswith("{0,2}") else pattern + "x")
    assert loosen_counts(pattern) == loose


def test_the_prefilter_loses_no_hit_in_the_library():
    """The prefilter changes no score of the library's texts."""
    cards = find_cards()
    texts = [text for card in cards for text in (*card.positives, *card.negatives)]
    texts += [text for turns in read_background() for text in turns]
    lexicons = [Lexicon(card.card.signals.lexicon) for card in cards if card.card.signals.lexicon]
    assert len(lexicons) >= 8
    found = score_lexicons(lexicons, pa.array(texts, pa.large_string()))
    for item, (scores, *_) in zip(lexicons, found, strict=True):
        expected = np.array([item.score(text, item.find_hits(text)) for text in texts], np.float32)
        assert np.array_equal(scores, expected)
        assert (scores > 0).any()


@pytest.mark.parametrize("pattern", ["(a+)+b", "(?:a|aa)+b", r"(?:\w+\s?)+!", "(.*a){12}b"])
def test_time_is_linear_in_a_hostile_text(pattern):
    """Patterns that would hang a backtracking engine take little time on 100,000 characters."""
    words = make_lexicon(pattern)
    text = "a" * 100_000
    begin = time.perf_counter()
    assert words.find_hits(text) == []
    assert score_lexicons([words], pa.array([text], pa.large_string()))[0].scores.tolist() == [0.0]
    assert time.perf_counter() - begin < 5


def test_a_prefilter_that_arrow_refuses_is_left_out():
    """If Arrow refuses a loosened pattern, every text is searched."""
    words = make_lexicon("herons?")
    words.unions[0].loose = "("
    texts = ["a heron", *["none"] * FEW_TEXTS]
    (found,) = score_lexicons([words], pa.array(texts, pa.large_string()))
    assert (found.scores > 0).tolist() == [True, *[False] * FEW_TEXTS]


@given(
    st.lists(st.sampled_from(["a heron", "none", "鹭。", "Eine KI, ja: äh", "", "heron 鹭"])),
    st.sampled_from([0, 100]),
)
def test_many_texts_are_searched_like_few(texts, few):
    """Whether Arrow or RE2 itself rules texts out, the texts with hits are the same."""
    words = make_lexicon(
        "heron", {"match": "鹭", "language": "zh"}, {"match": "eine ki", "language": "de"}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lexicons, "FEW_TEXTS", few)
        (found,) = score_lexicons([words], pa.array(texts, pa.large_string()))
    assert (found.scores > 0).tolist() == [bool(words.find_hits(text)) for text in texts]


@pytest.mark.parametrize(
    "words",
    [
        *("not", "NEVER", "no", "nor", "neither", "without", "isn't", "wouldn’t", "cant", "cannot"),
        *("rather than", "instead of", "avoiding", "stop", "stopped", "deletes", "Removed"),
        *("w\u0131thout", "in\u017ftead of", "\u017ftop"),  # equal when case is ignored
    ],
)
def test_every_denial_has_its_sign(words):
    """The fast search for signs of denial passes over no denial."""
    assert DENIAL.search(words)
    assert SIGN_OF_DENIAL.search(words.lower())
    text = f"One should {words} delve"
    assert is_denied(text, text.index("delve"))


@pytest.mark.parametrize(
    ("language", "pattern", "text"),
    [
        ("zh", "作为AI", "（作为AI，我没有感情。）"),
        ("ja", "AIなので", "私はAIなので、味が分かりません。"),
        ("ko", "AI라서", "저는 AI라서 맛을 모릅니다."),
        ("ar", "نموذج لغوي", "أنا نموذج لغوي."),
        ("hi", "एआई हूँ", "मैं एआई हूँ।"),
        ("ru", "я просто ИИ", "Но Я просто ИИ."),
        ("es", "soy una ia", "¡Soy una IA!"),
        ("fr", "je suis une ia", "Je suis une IA."),
        ("de", "ich bin eine ki", "Ich bin eine KI."),
        ("pt", "sou uma ia", "Sou uma IA."),
    ],
)
def test_a_pattern_of_a_language_finds_its_texts(language, pattern, text):
    """A pattern of a language is found in its texts, alone and among English texts."""
    words = make_lexicon("heron", {"match": pattern, "language": language})
    (hit,) = words.find_hits(text)
    assert text[hit.start : hit.end] == hit.text
    texts = ["a heron", text, "none"]
    (found,) = score_lexicons([words], pa.array(texts, pa.large_string()))
    assert (found.scores > 0).tolist() == [True, True, False]


def test_a_pattern_of_a_language_is_not_searched_in_other_texts():
    """A text without a sign of the pattern's language has no hits of it."""
    words = make_lexicon({"match": "IA", "language": "pt"})
    assert words.find_hits("Ask the IA desk.") == []
    assert len(words.find_hits("não, IA")) == 1


def test_english_denials_do_not_discount_hits_in_other_languages():
    """The Portuguese preposition "no" isn't a denial."""
    text = "Isto foi dito no início: eu sou uma IA."
    assert find_texts(text, {"match": "uma ia", "language": "pt"}) == ["uma IA"]
    assert find_texts("Isto foi dito no início eu sou uma IA.", "uma ia") == []


def test_hits_of_several_languages_come_in_order():
    """Hits are ordered by their place in the text, whatever their patterns' languages."""
    words = make_lexicon("heron", {"match": "鹭", "language": "zh"})
    assert [hit.text for hit in words.find_hits("鹭, heron, 鹭")] == ["鹭", "heron", "鹭"]


def test_every_language_sign_is_a_sign_of_a_foreign_text():
    """The search for any of the languages finds a text of each kind."""
    foreign = compile_pattern(FOREIGN)
    for text in ("Je suis une IA.", "Ich weiß nicht.", "Não sei.", "¿Qué es una IA?", "Я ИИ", "私"):
        assert foreign.search(text)
        assert any(compile_pattern(sign).search(text) for sign in SIGNS.values())
