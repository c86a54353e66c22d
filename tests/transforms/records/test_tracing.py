"""Tracing: rendered characters lead to their texts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.records.tracing import CODES, Tape, decode

TEXTS = st.text(
    st.one_of(st.characters(exclude_categories=("Cs",)), st.sampled_from('ab \n.<>"')), max_size=30
)


def list_origins(texts, render):
    """Return each rendered character with its text and index, or None."""
    tape = Tape(texts)
    rendered = render(texts)
    origins = tape.find_origins(rendered, render(tape.marked))
    assert origins is not None
    places = {
        start + index: (path, index)
        for path, start in tape.starts.items()
        for index in range(len(texts[path]))
    }
    return [
        (character, places.get(origin))
        for character, origin in zip(rendered, origins.tolist(), strict=True)
    ]


@given(one=TEXTS, two=TEXTS)
def test_texts_are_found_wherever_the_template_writes_them(one, two):
    """Reordered and trimmed texts lead to the same characters."""
    texts = {"one": one, "two": two}
    found = list_origins(texts, lambda item: f"<two>{item['two'].strip()}</two>{item['one']}<end>")
    for character, origin in found:
        assert origin is None or texts[origin[0]][origin[1]] == character
    known = {origin for _, origin in found if origin}
    for path, text in texts.items():
        letters = [match.start() for match in re.finditer(r"\w", re.sub("<[^<>\n]*>", "", text))]
        if letters and "<" not in text and "[" not in text and "◁" not in text:
            assert {(path, place) for place in letters} <= known


def test_punctuation_and_spaces_between_letters_are_found_too():
    """The origins of punctuation and spaces are inferred from the letters around them."""
    text = '"<think>\nNo?</think> - "Yes", he said...'
    found = list_origins({"one": text}, lambda item: f"[{item['one']}]")
    assert [origin for _, origin in found[1:-1]] == [("one", index) for index in range(len(text))]
    assert found[0][1] is found[-1][1] is None


def test_what_the_template_leaves_out_is_nowhere():
    """Text that the template omits has no place, and the rest keeps its indices."""
    text = "<think>\nNo, no.\n</think>\nYes, yes."
    found = list_origins({"one": text}, lambda item: item["one"].split("</think>")[-1])
    assert [origin for _, origin in found if origin] == [
        ("one", index) for index in range(text.index("\nYes"), len(text))
    ]


def test_equal_texts_are_told_apart():
    """Equal texts lead to different places."""
    found = list_origins({"one": "heron", "two": "heron"}, lambda item: item["two"] + item["one"])
    assert [origin[0] for _, origin in found] == ["two"] * 5 + ["one"] * 5


@pytest.mark.parametrize(
    "render",
    [lambda text: text.upper(), lambda text: text if text.isascii() else text + "!", str.title],
    ids=["upper", "decides by letters", "title"],
)
def test_a_template_that_changes_letters_is_noticed(render):
    """A template that changes letters gives no origins."""
    tape = Tape({"one": "a heron stood"})
    assert tape.find_origins(render("a heron stood"), render(tape.marked["one"])) is None


def test_more_letters_than_codes_are_marked_in_steps():
    """In a text longer than the codes, every other letter is marked."""
    text = "heron " * (len(CODES) // 4)
    found = list_origins({"one": text}, lambda item: item["one"])
    assert [origin for _, origin in found] == [("one", index) for index in range(len(text))]


def test_characters_of_private_use_in_a_text_do_no_harm():
    """A text with private-use characters is traced like any other."""
    text = f"a{CODES[3]}b {CODES[0]}{CODES[-1]}"
    found = list_origins({"one": text}, lambda item: f"{CODES[5]}{item['one']}")
    assert [origin for _, origin in found[1:]] == [("one", index) for index in range(len(text))]


def test_a_text_of_signs_is_marked_too():
    """A text without letters is found by its other characters."""
    found = list_origins({"one": "?!"}, lambda item: f"?{item['one']}!")
    assert [origin for _, origin in found] == [None, ("one", 0), ("one", 1), None]


def test_the_place_of_a_turn_is_found():
    """A turn reaches from its first to its last character."""
    tape = Tape({"one": "heron", "two": "reeds", "three": ""})
    rendered = "<a>heron<b>reeds<c>"
    marked = f"<a>{tape.marked['one']}<b>{tape.marked['two']}<c>"
    origins = tape.find_origins(rendered, marked)
    assert tape.find_turn(origins, ["one", "two"]) == (3, 16)
    assert tape.find_turn(origins, ["two"]) == (11, 16)
    assert tape.find_turn(origins, ["three"]) == (0, 0)


def test_a_text_as_code_points():
    """Every character is one code point."""
    assert decode("a👍\ud800").tolist() == [0x61, 0x1F44D, 0xD800]
