"""Digests of content and configurations, and the Merkle tree."""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
import time
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from schemas.digests import (
    EMPTY_DIGEST,
    LONGEST_MARK_RUN,
    MARKS,
    RECORD_ID_HEX,
    STRIPPED,
    Utterance,
    canonicalise_json,
    compute_merkle_root,
    digest_bytes,
    digest_config,
    digest_content,
    digest_content_by_row,
    hash_leaf,
    name_speaker,
    normalise_array,
    normalise_text,
)

ROLES = st.sampled_from(["user", "assistant", "system", "tool"])
CHANNELS = st.sampled_from(["answer", "thinking"])
UTTERANCES = st.lists(st.builds(Utterance, ROLES, CHANNELS, st.text(max_size=30)), max_size=5)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)
LEAVES = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=17, unique=True)


@given(UTTERANCES)
def test_content_digests_ignore_the_unicode_form(utterances):
    """Composed and decomposed letters have the same digest."""
    forms = {
        digest_content(
            [item._replace(text=unicodedata.normalize(form, item.text)) for item in utterances]
        )
        for form in ("NFC", "NFD")
    }
    assert forms == {digest_content(utterances)}


@given(UTTERANCES, st.text(" \n\t\u00a0", max_size=3), st.text(" \n\t\u00a0", max_size=3))
def test_white_space_around_a_text_is_no_content(utterances, before, after):
    """White space counts inside a text, but not around it."""
    padded = [item._replace(text=before + item.text + after) for item in utterances]
    assert digest_content(padded) == digest_content(utterances)
    assert digest_content([Utterance("user", "answer", "a b")]) != digest_content(
        [Utterance("user", "answer", "a  b")]
    )


@given(st.lists(st.tuples(st.integers(0, 3), ROLES, CHANNELS, st.text(max_size=8)), max_size=8))
def test_digests_by_row_are_those_of_each_row(flat):
    """Rows have the same digests together and alone."""
    ordered = sorted(flat, key=lambda item: item[0])
    alone = [
        digest_content([Utterance(*rest) for row, *rest in ordered if row == wanted])
        for wanted in range(4)
    ]
    rows = np.array([row for row, *_ in ordered], np.int64)
    speakers = pa.array(
        [f"{role}\x1f{channel}" for _, role, channel, _ in ordered], pa.large_string()
    )
    assert (
        digest_content_by_row(
            4, rows, speakers, pa.array([text for *_, text in ordered], pa.large_string())
        )
        == alone
    )


def test_compatibility_forms_are_different_content():
    """A ligature and its letters have different digests."""
    assert digest_content([Utterance("user", "answer", "ﬁ")]) != digest_content(
        [Utterance("user", "answer", "fi")]
    )


@given(UTTERANCES, UTTERANCES)
def test_different_conversations_have_different_digests(one, other):
    """Different conversations have different digests."""
    normal = [
        [item._replace(text=unicodedata.normalize("NFC", item.text.strip())) for item in items]
        for items in (one, other)
    ]
    assert (digest_content(one) == digest_content(other)) == (normal[0] == normal[1])


@given(st.text(max_size=10), st.text(max_size=10))
def test_two_utterances_are_not_one(first, second):
    """Two utterances and their joined text have different digests."""
    first, second = f"({first}", f"{second})"  # there is no white space to strip
    apart = [Utterance("user", "answer", first), Utterance("user", "answer", second)]
    size = len(unicodedata.normalize("NFC", second).encode())
    joined = f"{first}\x1euser\x1fanswer\x1f{size}\x1f{second}"
    assert digest_content(apart) != digest_content([Utterance("user", "answer", joined)])
    assert digest_content(apart) != digest_content([Utterance("user", "answer", first + second)])


def test_the_content_digest_follows_its_definition():
    """The digest is the documented SHA-256 of roles, channels, lengths and texts."""
    expected = hashlib.sha256(
        "user\x1fanswer\x1f2\x1fé\x1eassistant\x1fthinking\x1f2\x1fok\x1e".encode()
    ).hexdigest()
    assert (
        digest_content(
            [Utterance("user", "answer", "e\u0301"), Utterance("assistant", "thinking", "ok")]
        )
        == expected
    )
    assert digest_content([]) == hashlib.sha256().hexdigest()
    assert RECORD_ID_HEX * 4 == 128


@given(st.lists(st.text() | st.text(STRIPPED + "é", max_size=6)))
def test_arrays_are_stripped_and_in_nfc(texts):
    """Arrays and slices are normalised like single texts."""
    expected = [unicodedata.normalize("NFC", text.strip()) for text in texts]
    array = pa.array(["before", *texts], pa.large_string()).slice(1)
    assert normalise_array(array).to_pylist() == expected


MARK = st.sampled_from(
    [
        chr(code)
        for code in range(sys.maxunicode + 1)
        if unicodedata.combining(unicodedata.normalize("NFD", chr(code))[0])
    ]
)
STARTER = st.sampled_from(["", "a", "é", "\u1100", "\uac00", "ạ", "日", "\u093f"])


@given(st.lists(st.tuples(STARTER, st.lists(MARK, max_size=6), st.integers(1, 40)), max_size=4))
def test_long_runs_of_marks_have_the_same_normal_form(parts):
    """Sorting long runs of marks doesn't change the normal form."""
    text = "".join(start + "".join(marks) * times for start, marks, times in parts)
    assert normalise_text(text) == unicodedata.normalize("NFC", text)


def test_every_mark_is_found():
    """The search finds every mark that normalisation may move."""
    for code in range(sys.maxunicode + 1):
        if unicodedata.combining(unicodedata.normalize("NFD", chr(code))[0]):
            assert MARKS.search(chr(code).encode() * LONGEST_MARK_RUN), hex(code)


@pytest.mark.parametrize("marks", ["\u0301\u0327", "\u0344\u0327", "\u0f73\u0327", "\u0301"])
def test_long_runs_of_marks_take_little_time(marks):
    """A run of 160,000 unsorted marks is digested in two seconds."""
    text = "a" + marks * (160_000 // len(marks))
    began = time.process_time()
    digest = digest_content([Utterance("user", "answer", text)])
    assert time.process_time() - began < 2
    single = "".join(unicodedata.normalize("NFD", mark) for mark in text[1:])
    ordered = "a" + "".join(sorted(single, key=unicodedata.combining))
    assert digest == digest_content([Utterance("user", "answer", ordered)])


def test_white_space_is_what_strip_removes():
    """`STRIPPED` has exactly Python's white space."""
    assert set(STRIPPED) == {sign for sign in map(chr, range(0x110000)) if sign.isspace()}


@given(JSON)
def test_canonical_json_reads_back_and_has_one_spelling(value):
    """Canonical JSON decodes to its value, whatever the order of keys."""
    data = canonicalise_json(value)
    assert json.loads(data) == value
    assert canonicalise_json(json.loads(data)) == data

    def reversed_keys(item):
        if isinstance(item, dict):
            return {key: reversed_keys(item[key]) for key in reversed(item)}
        return [reversed_keys(part) for part in item] if isinstance(item, list) else item

    assert canonicalise_json(reversed_keys(value)) == data


@given(JSON, JSON)
def test_config_digests_differ_as_the_values_do(one, other):
    """Configurations with different canonical JSON have different digests."""
    assert (digest_config(one) == digest_config(other)) == (
        canonicalise_json(one) == canonicalise_json(other)
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [float("-inf")]}])
def test_numbers_that_json_lacks_are_refused(value):
    """NaN and infinities are an error."""
    with pytest.raises(ValueError, match="JSON"):
        canonicalise_json(value)


def test_canonical_json_has_no_white_space_and_no_escapes():
    """Canonical JSON has no white space and no escaped letters."""
    assert (
        canonicalise_json({"b": [1, 2.5, None], "a": "é"}) == '{"a":"é","b":[1,2.5,null]}'.encode()
    )
    assert digest_bytes(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def rfc6962_root(leaves):
    """Compute the root recursively, by RFC 6962."""
    if len(leaves) == 1:
        return leaves[0]
    middle = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(
        b"\x01" + rfc6962_root(leaves[:middle]) + rfc6962_root(leaves[middle:])
    ).digest()


@given(LEAVES)
def test_the_merkle_root_is_that_of_rfc_6962(leaves):
    """The root equals the recursive definition's root."""
    assert compute_merkle_root(leaves) == rfc6962_root(leaves)


@given(LEAVES, st.data())
def test_the_merkle_root_changes_with_any_leaf(leaves, data):
    """A flipped bit, a missing leaf and an extra leaf each change the root."""
    index = data.draw(st.integers(0, len(leaves) - 1))
    bit = data.draw(st.integers(0, 255))
    number = int.from_bytes(leaves[index], "big") ^ (1 << bit)
    root = compute_merkle_root(leaves)
    assert (
        compute_merkle_root([*leaves[:index], number.to_bytes(32, "big"), *leaves[index + 1 :]])
        != root
    )
    assert compute_merkle_root(leaves[:index] + leaves[index + 1 :]) != root
    assert compute_merkle_root([*leaves, leaves[index]]) != root


@given(LEAVES, st.randoms())
def test_the_merkle_root_changes_with_any_order(leaves, random):
    """Another order of leaves changes the root."""
    shuffled = random.sample(leaves, len(leaves))
    assume(shuffled != leaves)
    assert compute_merkle_root(shuffled) != compute_merkle_root(leaves)


def test_an_empty_tree_has_a_root():
    """The root of no leaves is the SHA-256 of no bytes, and one leaf is its own root."""
    assert compute_merkle_root([]) == hashlib.sha256(b"").digest()
    assert compute_merkle_root([hash_leaf("a")]) == hash_leaf("a")


@given(st.text(), st.text())
def test_a_leaf_differs_from_every_node(one, other):
    """A leaf's hash differs from the hash of any inner node."""
    assert hash_leaf(one) == hashlib.sha256(b"\x00" + one.encode()).digest()
    assert (hash_leaf(one) == hash_leaf(other)) == (one == other)
    assert hash_leaf(one + other) != compute_merkle_root([hash_leaf(one), hash_leaf(other)])
    assert hash_leaf("\ud800") != hash_leaf("\udfff")


def test_a_key_makes_hmacs_of_digests():
    """With a key, digests are HMACs, except for rows without utterances."""
    assert digest_bytes(b"x", b"k") == hmac.new(b"k", b"x", "sha256").hexdigest()
    speakers = pa.array(["user\x1fanswer"], pa.large_string())
    texts = pa.array(["a"], pa.large_string())
    args = (2, np.array([0]), speakers, texts)
    written = b"user\x1fanswer\x1f1\x1fa\x1e"
    assert digest_content_by_row(*args) == [digest_bytes(written), digest_bytes(b"")]
    assert digest_content_by_row(*args, b"k") == [digest_bytes(written, b"k"), digest_bytes(b"")]


MARKED = st.text("a\x1b\x1e\x1f/012", max_size=3)


@given(st.tuples(MARKED, MARKED), st.tuples(MARKED, MARKED))
def test_no_role_is_mistaken_for_more_than_a_role(one, other):
    """Separators inside roles don't give two conversations the same digest."""
    found = [
        digest_content([Utterance(role, "answer", "a") for role in roles]) for roles in (one, other)
    ]
    assert (found[0] == found[1]) == (one == other)
    joined = Utterance("x\x1fanswer\x1f1\x1fa\x1euser", "answer", "b")
    apart = [Utterance("x", "answer", "a"), Utterance("user", "answer", "b")]
    assert digest_content([joined]) != digest_content(apart)
    assert name_speaker("chosen/user", "answer") != name_speaker("user", "answer", "chosen/")


def test_a_row_without_text_has_the_digest_of_nothing():
    """A conversation without utterances has the digest that marks empty rows."""
    assert digest_content(()) == EMPTY_DIGEST
    assert digest_content([("user", None, "Hi.")]) != EMPTY_DIGEST
