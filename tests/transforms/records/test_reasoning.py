"""Reasoning blocks: finding and splitting them."""

import re
import tracemalloc

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.records.reasoning import (
    MARKS,
    MODEL_MARKS,
    THINKING_SIGNS,
    find_texts_with,
    find_thinking_blocks,
    split_reasoning,
)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("<think>why</think>so", [("thinking", 7, "why"), ("answer", 18, "so")]),
        ("<thinking>why</thinking>so", [("thinking", 10, "why"), ("answer", 24, "so")]),
        (
            "first <think>why</think> then",
            [("answer", 0, "first "), ("thinking", 13, "why"), ("answer", 24, " then")],
        ),
        ("<think>never ends", [("thinking", 7, "never ends")]),
        ("never began</think>so", [("thinking", 0, "never began"), ("answer", 19, "so")]),
        (
            "<think>a</think>b<think>c</think>d",
            [("thinking", 7, "a"), ("answer", 16, "b"), ("thinking", 24, "c"), ("answer", 33, "d")],
        ),
        (
            "<think>a</think>b<think>c",
            [("thinking", 7, "a"), ("answer", 16, "b"), ("thinking", 24, "c")],
        ),
        (
            "a</think>b<think>c</think>d",
            [("thinking", 0, "a"), ("answer", 9, "b"), ("thinking", 17, "c"), ("answer", 26, "d")],
        ),
        ("<think></think>so", [("answer", 15, "so")]),
        ("<think>\n\n</think>\n\nso", [("answer", 17, "\n\nso")]),
        ("<think>a\nb</think>\nso", [("thinking", 7, "a\nb"), ("answer", 18, "\nso")]),
        (
            "<THINK>why</Think><answer>so</answer>\n",
            [("thinking", 7, "why"), ("answer", 26, "so")],
        ),
        ("[THINK]why[/THINK]so", [("thinking", 7, "why"), ("answer", 18, "so")]),
        ("why[/THINK]so", [("thinking", 0, "why"), ("answer", 11, "so")]),
        (
            (
                "<|begin_of_thought|>why<|end_of_thought|>\n\n"
                "<|begin_of_solution|>so<|end_of_solution|>"
            ),
            [("thinking", 20, "why"), ("answer", 64, "so")],
        ),
        (
            (
                "<|channel|>analysis<|message|>why<|end|><|start|>assistant"
                "<|channel|>final<|message|>so<|return|>"
            ),
            [("thinking", 30, "why"), ("answer", 85, "so")],
        ),
        (
            (
                "<|channel|>analysis<|message|>a<|end|>"
                "<|start|>assistant<|channel|>analysis<|message|>"
                "b<|channel|>final<|message|>so"
            ),
            [("thinking", 30, "a"), ("thinking", 86, "b"), ("answer", 114, "so")],
        ),
        ("<|channel|>final<|message|>so", [("answer", 27, "so")]),
        ("so<|end|>", [("answer", 0, "so<|end|>")]),
        ("◁think▷why◁/think▷so", [("thinking", 7, "why"), ("answer", 18, "so")]),
        ("<reasoning>why</reasoning>so", [("thinking", 11, "why"), ("answer", 26, "so")]),
        ("\n<thought>never ends", [("thinking", 10, "never ends")]),
        ("a <thought> tag", [("answer", 0, "a <thought> tag")]),
        ("a </thought> tag", [("answer", 0, "a </thought> tag")]),
        (
            "a <thought> tag<think>b</think>c",
            [("answer", 0, "a <thought> tag"), ("thinking", 22, "b"), ("answer", 31, "c")],
        ),
        (
            "<think>a</think>see <output>b</output>",
            [("thinking", 7, "a"), ("answer", 16, "see <output>b</output>")],
        ),
        ("<answer>so</answer>", [("answer", 0, "<answer>so</answer>")]),
        ("I think that 1 < 2", [("answer", 0, "I think that 1 < 2")]),
        ("a <thinker> tag", [("answer", 0, "a <thinker> tag")]),
    ],
)
def test_texts_are_split_into_reasoning_and_answer(text, parts):
    """Closed, unclosed, unopened, empty and repeated blocks are split off."""
    assert split_reasoning(text) == parts


PIECES = st.lists(
    st.sampled_from(
        [
            "<think>",
            "</think>",
            "<thinking>",
            "</thinking>",
            "<think",
            "think",
            " ",
            "\n",
            "é",
            "e\u0301",
            "😀",
            "word",
        ]
    )
    | st.text(max_size=4),
    max_size=10,
).map("".join)


TAGS = re.compile(r"</?think(?:ing)?>|\s")


@given(PIECES)
def test_spans_are_where_they_say(text):
    """Parts are at their offsets, with only tags and white space between them."""
    end, outside = 0, ""
    for _, start, part in split_reasoning(text):
        assert text[start : start + len(part)] == part
        assert start >= end
        outside, end = outside + text[end:start], start + len(part)
    assert TAGS.sub("", outside + text[end:]) == ""


@given(st.lists(st.text("<think/é ", max_size=12), max_size=8), st.integers(0, 8))
def test_signs_are_found_as_python_finds_them(texts, begin):
    """The search finds texts with a marker, and no marker across two texts."""
    array = pa.array(texts, pa.large_string()).slice(begin)
    signs = (b"<think", b"</", "é".encode())
    assert find_texts_with(array, map(re.compile, signs)) == [
        index
        for index, text in enumerate(array.to_pylist())
        if any(sign.decode() in text for sign in signs)
    ]


REFERENCE = re.compile(
    r"<(think|thinking)>(.*?)(?:</\1>|\Z)|\A((?:(?!<think(?:ing)?>).)*?)</think(?:ing)?>", re.DOTALL
)


TAG_SOUP = st.lists(
    st.sampled_from(
        ["<think>", "</think>", "<thinking>", "</thinking>", "<think", "a", "\n", "<", "</"]
    ),
    max_size=10,
)


@given(TAG_SOUP.map("".join))
def test_blocks_are_those_of_one_pattern(text):
    """Closed, unclosed and unopened blocks are found anywhere."""
    expected = [
        (*block.span(), *block.span(2 if block.group(2) is not None else 3))
        for block in REFERENCE.finditer(text)
    ]
    assert list(find_thinking_blocks(text)) == expected


def test_a_long_thought_takes_little_memory():
    """A long block takes little memory."""
    text = "a" * (8 << 20) + "</think>b"
    tracemalloc.start()
    assert list(find_thinking_blocks(text)) == [(0, len(text) - 1, 0, 8 << 20)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


SAMPLES = {
    r"<think>": "<think>",
    MODEL_MARKS[-1][0]: "<|channel|>analysis<|message|>",
    MODEL_MARKS[-1][1]: "<|channel|>final<|message|>",
}
"""A text for each pattern that matches several texts."""


def write_mark(pattern):
    """Return a text for a pattern of `MARKS`."""
    return SAMPLES.get(pattern) or pattern.replace("\\n?", "\n").replace("\\", "")


@pytest.mark.parametrize("case", [str, str.upper, str.title])
@pytest.mark.parametrize(("opening", "closing"), MARKS)
def test_every_pair_of_marks_is_found(opening, closing, case):
    """Marks of every kind are found in any case."""
    one, two = case(write_mark(opening)), case(write_mark(closing))
    text = f"{one}why{two}so"
    assert split_reasoning(text) == [
        ("thinking", len(one), "why"),
        ("answer", len(text) - 2, "so"),
    ]
    for mark in (one, two):
        assert find_texts_with(pa.array(["a", mark], pa.large_string()), THINKING_SIGNS) == [1]


def test_many_marks_take_little_time():
    """Many unmatched marks take linear time."""
    text = "<thought>" * 50_000 + "</reasoning>" * 50_000
    assert list(find_thinking_blocks("a" + text)) == []
    assert list(find_thinking_blocks(text)) == [(0, len(text), 9, len(text))]
    assert len(split_reasoning("<think>a</think>" * 20_000)) == 20_000
