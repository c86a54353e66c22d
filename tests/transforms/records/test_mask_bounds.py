"""Bounds of masks: whole sentences, words, links and code blocks."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.records import mask_bounds
from transforms.records.mask_bounds import find_mask_of_hits, find_mask_of_window, trim

FENCED = "Run this:\n\n```python\nowl = 1\nfox = 2\n```\n\nThen go."


def mask_hit(text, hit):
    """Return the masked texts of one hit."""
    start = text.index(hit)
    return [text[a:b] for a, b in find_mask_of_hits(text, [(start, start + len(hit))])]


def mask_window(text, window):
    """Return the masked texts of a window."""
    start = text.index(window)
    return [text[a:b] for a, b in find_mask_of_window(text, start, start + len(window))]


@pytest.mark.parametrize(
    ("text", "hit", "masked"),
    [
        ("One. As an AI, no. Two.", "an AI", "As an AI, no."),
        ("One.\n\nAs an AI, no:\n\n- two", "an AI", "As an AI, no:"),
        ("One.\n1. As an AI, no.\n2. Two.", "an AI", "1. As an AI, no."),
        ("One.\n- **Note.** As an AI, no.", "an AI", "As an AI, no."),
        ("See [the owl. An owl](http://a.b/c. d), no.", "the owl", None),
        (
            "Older. See [an owl. Two](http://a.b/c) now. Newer.",
            "an owl",
            "See [an owl. Two](http://a.b/c)",
        ),
        ("Call `owl. Fly()` twice. Newer.", "owl", "Call `owl. Fly()`"),
        ("See https://a.b/c?q=owl! Then go.", "owl", "See https://a.b/c?q=owl!"),
    ],
)
def test_a_hit_is_masked_with_its_sentence(text, hit, masked):
    """A hit's mask covers the hit's sentence, and never half of a link or of code."""
    if masked:
        assert mask_hit(text, hit) == [masked]
    else:
        assert all(text[:1] == piece[:1] for piece in mask_hit(text, hit))


@pytest.mark.parametrize(
    ("text", "window", "masked"),
    [
        ("One two. The owl fl", "two. The owl", "One two. The owl fl"),
        ("Great quest", "Great qu", "Great quest"),
        (
            "Great question! The owl flies. Newer.",
            "t question! The ow",
            "Great question! The owl flies.",
        ),
        (FENCED, "this:\n\n```python\nowl", FENCED.removesuffix("\n\nThen go.")),
        (FENCED, "= 2\n```\n\nThen", FENCED.removeprefix("Run this:\n\n")),
        (FENCED, "fox", "fox = 2"),
        (FENCED, "python", FENCED.removeprefix("Run this:\n\n").removesuffix("\n\nThen go.")),
        (f"Older.\n{'owl ' * 300}", "owl " * 30, "owl " * 29 + "owl"),
        ("x" * 900, "x" * 100, "x" * 300),
        (" \n ", " ", None),
    ],
)
def test_a_window_is_masked_with_whole_sentences_or_words(text, window, masked):
    """A window's mask grows to nearby sentence ends, or else to whole words."""
    found = mask_window(text, window)
    if masked is None:
        assert found == []
    else:
        assert [piece.strip() for piece in found] == [masked]


def test_of_a_long_code_block_nothing_is_masked_with_the_text_beside_it():
    """A window over one end of a long code block covers only the text beside the block."""
    code = "```\n" + "owl = 1\n" * 400 + "```\n"
    text = f"Look at this.\n{code}Then go."
    assert mask_window(text, f"at this.\n{code[:100]}") == ["Look at this."]
    assert mask_window(text, f"{code[-100:]}Then") == ["Then go."]


def test_masks_that_overlap_are_joined():
    """Two hits in overlapping sentences have one mask."""
    text = "See [an owl. A fox](http://a.b) here. Newer."
    hits = [(text.index(word), text.index(word) + 3) for word in ("owl", "fox")]
    assert [text[a:b] for a, b in find_mask_of_hits(text, hits)] == [text.removesuffix(" Newer.")]


PIECES = st.sampled_from(
    [
        *("owl", "The", "e.g.", "42", " ", " ", ". ", "\n", "\n\n", "! ", "`owl. fox`", "日本。"),
        *("[a. b](http://c.d/e)", "https://a.b/c.d", "```\n", "```python\n", "1. ", "- ", "**"),
    ]
)


@given(st.lists(PIECES, max_size=40).map("".join), st.data())
def test_no_mask_cuts_a_word_a_link_or_a_code_block(text, data):
    """Masks have whole words, links and code, without outer spaces."""
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    for left, right in find_mask_of_window(text, start, end):
        assert text[left:right] == text[left:right].strip() != ""
        for bound in (left, right):
            around = text[max(0, bound - 1) : bound + 1]
            assert not (len(around) == 2 and 0 < bound < len(text) and around.isalnum())
        assert text[left:right].count("[a. b") == text[left:right].count("(http://c.d/e)")
        lines = [match.start() for match in mask_bounds.FENCE.finditer(text)]
        blocks = list(mask_bounds._list_blocks(text))
        fences = {place for block in blocks for place in (block.start, block.last)} & set(lines)
        covered = [left <= place < right for place in sorted(fences)]
        if len(fences) == 2 * len(blocks):
            assert covered[::2] == covered[1::2]


def test_trimming_keeps_the_words():
    """Trimming removes white space at both ends."""
    assert trim(" an owl\n", 0, 8) == (1, 7)
    left, right = trim("a   b", 1, 4)
    assert left == right


@given(st.text(alphabet="ab ", max_size=8), st.integers(0, 9), st.integers(0, 12))
def test_trimming_any_span_keeps_what_stripping_keeps(text, start, end):
    """A span may be empty, or end beyond its text, as a mask of another text does."""
    left, right = trim(text, start, end)
    assert (text[left:right], start <= left <= right) == (text[start:end].strip(), True)


def test_many_hits_in_a_long_text_take_little_time():
    """Thousands of hits take time in proportion to their number."""
    for text in ("owl `x` [a](b) " * 1_000, "```\nowl\n```\n" * 8_000):
        hits = [match.span() for match in re.finditer("owl", text)]
        began = time.process_time()
        find_mask_of_hits(text, hits)
        assert time.process_time() - began < 5
