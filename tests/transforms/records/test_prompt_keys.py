"""Prompt keys: which prompts are the same, and which ones are near."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from transforms.records.prompt_keys import (
    DISTANCE_DECIMALS,
    NearPrompts,
    PromptKey,
    build_key,
    cut_shingles,
)
from transforms.records.prompts import Prompt


def key(*turns, tools=None, missing=()):
    """Return the key of a prompt of turns."""
    messages = [{"role": role, "content": content} for role, content in turns]
    return build_key(Prompt(messages, tools, list(missing)))


def measure(one: str, other: str) -> float:
    """Return the distance of two questions, computed in the plainest way."""
    first, second = cut_shingles(one), cut_shingles(other)
    union = len(first | second)
    return round(1 - len(first & second) / union, DISTANCE_DECIMALS) if union else 1.0


def test_white_space_and_the_form_of_unicode_dont_count():
    """A prompt has the same key however its characters and spaces are written."""
    plain = key(("user", "Wo ist das Café?"))
    assert key(("user", "  Wo ist\n\tdas Café?  ")) == plain
    assert key(("user", unicodedata.normalize("NFD", "Wo ist das Café?"))) == plain
    assert plain.asked == "Wo ist das Café?"


def test_every_turn_counts():
    """Another system prompt, an earlier turn, a role, a tool or a case gives another key."""
    keys = [
        key(("user", "U")),
        key(("user", "u")),
        key(("system", "S"), ("user", "U")),
        key(("system", "T"), ("user", "U")),
        key(("user", "A"), ("assistant", "B"), ("user", "U")),
        key(("user", "A B"), ("user", "U")),
        key(("system", "U")),
        key(("user", "U"), tools=[{"name": "f"}]),
    ]
    assert len({item.whole for item in keys}) == len(keys)
    assert len({item.before for item in keys}) == len(keys) - 1  # `U` and `u` are asked alike


def test_calls_count_but_not_their_ids():
    """Ids of calls are made up by each provider."""

    def call(name, identity):
        function = {"name": name, "arguments": "{}"}
        calls = [{"id": identity, "type": "function", "function": function}]
        messages = [
            {"role": "user", "content": "U"},
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "content": "R", "tool_call_id": identity},
        ]
        return build_key(Prompt(messages, None, []))

    assert call("f", "1") == call("f", "2")
    assert call("f", "1") != call("g", "1")


def test_incomplete_prompts_have_no_key():
    """A prompt with an image could be any of many prompts."""
    assert key(("user", "U"), missing=["images"]) is None
    assert build_key(Prompt([], None, [])) is None


def test_short_and_unspaced_texts_have_shingles():
    """A short text is one n-gram, and characters of Chinese and Japanese count as words."""
    assert cut_shingles("Hi there") == {"hi there"}
    assert cut_shingles("?!") == frozenset()
    assert cut_shingles("One two three four") == {"one two three", "two three four"}
    assert len(cut_shingles("東京はどこですか")) == 6


def test_near_prompts_are_found_with_their_distance():
    """The distance is that of the last message, and all earlier turns must agree."""
    known = key(("system", "S"), ("user", "Please name five very large birds"))
    near = key(("system", "S"), ("user", "Please name five very large birds now"))
    other = key(("system", "T"), ("user", "Please name five very large birds now"))
    index = NearPrompts([known], 0.3)
    assert list(index.find(near)) == [(known.whole, 0.2)]
    assert list(index.find(other)) == []
    assert list(index.find(known)) == []
    assert list(NearPrompts([known], 0.19).find(near)) == []
    assert list(NearPrompts([], 0.9).find(near)) == []


QUESTIONS = st.lists(st.sampled_from(["ab", "cd", "ef", "gh"]), max_size=8).map(" ".join)


@given(
    known=st.lists(QUESTIONS, max_size=6),
    asked=QUESTIONS,
    farthest=st.floats(0, 0.99),
)
def test_the_index_finds_what_a_comparison_of_all_finds(known, asked, farthest):
    """Candidates from the index are exactly the prompts within the distance, in a fixed order."""
    keys = [PromptKey(f"id {text}", "before", text) for text in known]
    own = PromptKey(f"id {asked}", "before", asked)
    expected = {
        (f"id {text}", measure(text, asked))
        for text in known
        if text != asked
        and cut_shingles(text) & cut_shingles(asked)
        and measure(text, asked) <= farthest
    }
    found = list(NearPrompts(keys, farthest).find(own))
    assert set(found) == expected
    assert found == list(NearPrompts(keys[::-1], farthest).find(own))
