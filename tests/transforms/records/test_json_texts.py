"""JSON texts: canonical JSON and lone surrogates."""

import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.json_values import JSON
from transforms.records.json_texts import (
    build_texts,
    encode_calls,
    encode_json,
    replace_surrogates,
)


@given(st.text(st.characters(codec=None) | st.sampled_from("\ud800\udfff"), max_size=9))
def test_texts_keep_their_length(text):
    """A lone surrogate becomes a single character."""
    replaced = replace_surrogates(text)
    assert len(replaced) == len(text)
    assert build_texts([text, None]).to_pylist() == [replaced, None]
    assert all(
        new == ("\ufffd" if "\ud800" <= old <= "\udfff" else old)
        for old, new in zip(text, replaced, strict=True)
    )


@pytest.mark.parametrize(
    ("calls", "text"),
    [
        (None, None),
        ([], None),
        ({}, None),
        ("", ""),
        ('{"b": 1, "a": null}', '{"b": 1, "a": null}'),
        ([{"b": 1, "a": None}], '[{"b":1}]'),
        ({"n": 2.0, "m": [1.5, None]}, '{"m":[1.5,null],"n":2}'),
        ([{"n": 2.0**60}], '[{"n":1.152921504606847e+18}]'),
        ([{"n": math.nan}], '[{"n":null}]'),
        ([{"\ud800": "\udc00"}], '[{"\ufffd":"\ufffd"}]'),
        (True, "true"),
    ],
)
def test_tool_calls_are_json(calls, text):
    """Calls become JSON with sorted keys, and text calls stay."""
    assert encode_calls(calls) == text


@given(JSON)
def test_every_value_can_be_encoded(value):
    """Any parsed value becomes text without surrogates."""
    text = encode_json(value)
    assert text == replace_surrogates(text)
    orjson.loads(text)
