"""Quotation: paired marks, code, quoted lines, and enclosed answers."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.signals.lexicons import Lexicon
from classifiers.signals.quotation import LINE_CONTEXT, find_fences, is_quoted, read_answer
from schemas.cards import LexiconOptions


def find_hits(text, **options):
    """Return each counted hit's text."""
    lexicon = Lexicon(LexiconOptions.model_validate({"patterns": ["as an ai"], **options}))
    return [hit.text for hit in lexicon.find_hits(text)]


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
    "~~~\nas an AI\n~~~\nDone.",
    "Er sagte: „as an AI“ und ging.",
    "Powiedział: „as an AI” i wyszedł.",
    "Han sa: ”as an AI” i går.",
    "Er sagte: »as an AI« und ging.",
    "彼は「as an AI」と言った。",
    "He said ``as an AI.''",
    "The string ``as an AI`` is common.",
    "It printed 'as an AI.' and stopped.",
    "It printed ‘as an AI’ and stopped.",
    "It prints <code>as an AI</code> first.",
    "He wrote &quot;as an AI&quot; on it.",
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
    "'Tis late. as an AI I wait. The boys' club is shut.",
    "In the '90s it ran. as an AI I say so. It was the boys' club.",
    "It's the 'left' one, and as an AI I don't 'see' it.",
    "It’s true, as an AI I don’t see the boys’ club.",
    "``Hello'' he said. as an AI I wait. ``Bye''",
    "“One” as an AI “two”",
    "Use ~~~ for a fence.\nas an AI I do.",
]


@pytest.mark.parametrize("text", QUOTED)
def test_a_quoted_hit_does_not_count(text):
    """Hits in quotation marks, quoted lines or code don't count."""
    assert find_hits(text) == []
    assert find_hits(text, quoted="count") == ["as an AI"]
    start = text.index("as an AI")
    assert is_quoted(text, start, start + 8)


@pytest.mark.parametrize("text", SPOKEN)
def test_a_hit_beside_a_quotation_counts(text):
    """Marks that close before the hit, or open on another line, don't quote the hit."""
    assert find_hits(text) == ["as an AI"]
    start = text.index("as an AI")
    assert not is_quoted(text, start, start + 8)


def test_quotation_marks_far_along_a_line_are_not_searched():
    """An opening mark counts only within `LINE_CONTEXT` characters before the hit."""
    for distance, quoted in ((LINE_CONTEXT - 10, True), (LINE_CONTEXT + 10, False)):
        text = 'He: "' + "x" * distance + " as an AI" + '"'
        start = text.index("as an AI")
        assert is_quoted(text, start, start + 8) is quoted


def test_fences_are_found_by_offset():
    """`is_quoted` uses the caller's fences, which are given by offset."""
    text = "a\n```\nas an AI\n```\n"
    assert find_fences(text) == [2, 15]
    assert find_fences("no fence") == []
    start = text.index("as an AI")
    assert is_quoted(text, start, start + 8, read_answer(text))
    assert not is_quoted(text, start, start + 8, read_answer(text)._replace(fences=[]))


WRAPPED = [
    '"as an AI I refuse"',
    "“as an AI I refuse.”\n",
    '<answer>"as an AI I refuse."</answer>',
    "<answer>as an AI</answer>",
    '{"answer": "as an AI I refuse"}',
    '{"answer": "Sure.", "note": "as an AI I refuse"}',
    '[{"text": "as an AI"}]',
    '```json\n{"answer": "as an AI I refuse"}\n```',
    '<out>{"a": ["as an AI"]}</out>',
    '[{"name": "find", "arguments": "{\\"query\\": \\"as an AI\\"}"}]',
    "'as an AI I don't.'",
    "‘as an AI I don’t.’",
    '{"answer": "as an AI"}\n{"answer": "x", "note": "y"}',
    '{"answer": "as an AI", "note": "x", "more": "ye',
    '{"answer": "as an AI", "ok": true,}',
    "{'answer': 'as an AI I refuse.', 'note': 'x'}",
    '{"answer": "as an AI I refuse"}\n\nI hope this helps!',
    'Here is the JSON:\n\n```json\n{"answer": "as an AI", "note": "none so far"}\n```\nBye.',
    '<function=reply>{"text": "as an AI", "to": "everybody who asked"}</function>',
    '[1] says so: {"text": "as an AI", "to": "everybody who asked"}',
]


@pytest.mark.parametrize("text", WRAPPED)
def test_what_encloses_the_whole_answer_quotes_nothing(text):
    """An enclosure of the whole answer isn't a quotation."""
    assert find_hits(text) == ["as an AI"]


NOT_WRAPPED = [
    '"as an AI" and "as a model" are telltales',
    '```python\nprint("as an AI")\n```',
    '{"answer": "She said \\"as an AI I refuse\\" twice."}',
    'In the example, the line {"text": "as an AI"} is what the tool has sent to the server.',
    '```python\nx = {"a": 1}\nprint("as an AI", x)\nprint("as an AI", [x, x, x])\n```\nDone.',
    "“as an AI” and “as a model” are telltales",
]


@pytest.mark.parametrize("text", NOT_WRAPPED)
def test_quotations_inside_an_answer_are_quotations(text):
    """Marks around part of a text, code, and escaped marks in JSON quote a hit."""
    assert find_hits(text) == []


INCHES = [
    'The 27" monitor fits. as an AI I checked. The 32" one is larger.',
    'Use 9" or so. as an AI, I cannot measure. Try 10" next.',
    'Cut 5" and 6" boards; as an AI I can\'t hold a 7" saw.',
]


@pytest.mark.parametrize("text", INCHES)
def test_inch_marks_open_no_quotation(text):
    """A straight mark after a digit or a letter opens nothing."""
    assert find_hits(text) == ["as an AI"]


def test_a_quotation_may_end_after_a_digit():
    """The closing mark of a pair may follow any character."""
    assert find_hits('He wrote "as an AI, room 27" on it.') == []
    assert find_hits('He wrote "room 27" and then, as an AI, "left".') == ["as an AI"]


def test_json_with_words_around_it_has_its_own_offsets():
    """Hits in an answer's JSON count, and marks outside the JSON quote as usual."""
    record = json.dumps({"answer": "Sure.", "note": "as an AI", "more": "and so on"})
    text = f'as an AI I "do".\n{record}\nSo "as an AI".'
    answer = read_answer(text)
    assert text[answer.json_begin : answer.json_end].strip().startswith('{"answer"')
    assert find_hits(text) == ["as an AI", "as an AI"]


def test_json_that_can_not_be_read_is_text():
    """Brackets without a string, and very deep JSON, are read as text."""
    assert not read_answer("{a: 1").is_json
    assert not read_answer("[" * 100_000 + "]" * 100_000).is_json
    assert not read_answer("").is_json


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=20), min_size=1, max_size=4))
def test_every_string_of_a_json_answer_counts(value):
    """A hit counts in any value of a JSON answer."""
    value = {name: text.replace('"', "'").replace("`", "'") for name, text in value.items()}
    text = json.dumps(value | {"answer": "as an AI"})
    assert find_hits(text)[-1:] == ["as an AI"]


def test_many_hits_take_time_in_proportion():
    """Ten times as many hits in a long line take about ten times as long."""
    seconds = []
    for copies in (300, 3_000):
        text = 'He said "no". as an AI I went on. ' * copies
        began = time.process_time()
        assert len(find_hits(text)) == copies
        seconds.append(time.process_time() - began)
    assert seconds[1] < 40 * max(seconds[0], 0.01)
