"""Digests: what they depend on, what they don't, and the Merkle tree."""

from __future__ import annotations

import hashlib
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
    LONGEST_RUN,
    MARKS,
    RECORD_ID_HEX,
    WHITE_SPACE,
    Utterance,
    canonical_json,
    config_digest,
    content_digest,
    content_digests_by_row,
    leaf,
    merkle_root,
    normal_form,
    normalised,
    sha256_hex,
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
def test_content_does_not_depend_on_the_unicode_form(utterances):
    """Composed and decomposed letters are the same content."""
    forms = {
        content_digest(
            [item._replace(text=unicodedata.normalize(form, item.text)) for item in utterances]
        )
        for form in ("NFC", "NFD")
    }
    assert forms == {content_digest(utterances)}


@given(UTTERANCES, st.text(" \n\t\u00a0", max_size=3), st.text(" \n\t\u00a0", max_size=3))
def test_white_space_around_a_text_is_no_content(utterances, before, after):
    """A trailing newline, which formats add and drop, doesn't make another record; white space inside a text does."""
    padded = [item._replace(text=before + item.text + after) for item in utterances]
    assert content_digest(padded) == content_digest(utterances)
    assert content_digest([Utterance("user", "answer", "a b")]) != content_digest(
        [Utterance("user", "answer", "a  b")]
    )


@given(st.lists(st.tuples(st.integers(0, 3), ROLES, CHANNELS, st.text(max_size=8)), max_size=8))
def test_digests_by_row_are_those_of_each_row(flat):
    """Digesting a table's rows in one pass gives what each row's conversation has alone."""
    ordered = sorted(flat, key=lambda item: item[0])
    alone = [
        content_digest([Utterance(*rest) for row, *rest in ordered if row == at]) for at in range(4)
    ]
    rows = np.array([row for row, *_ in ordered], np.int64)
    speakers = pa.array(
        [f"{role}\x1f{channel}" for _, role, channel, _ in ordered], pa.large_string()
    )
    assert (
        content_digests_by_row(
            4, rows, speakers, pa.array([text for *_, text in ordered], pa.large_string())
        )
        == alone
    )


def test_compatibility_forms_are_other_content():
    """NFC keeps a ligature apart from its letters: a text that looks different is different."""
    assert content_digest([Utterance("user", "answer", "ﬁ")]) != content_digest(
        [Utterance("user", "answer", "fi")]
    )


@given(UTTERANCES, UTTERANCES)
def test_different_conversations_have_different_digests(one, other):
    """Texts, roles, channels, their order and where one utterance ends all count."""
    normal = [
        [item._replace(text=unicodedata.normalize("NFC", item.text.strip())) for item in items]
        for items in (one, other)
    ]
    assert (content_digest(one) == content_digest(other)) == (normal[0] == normal[1])


@given(st.text(max_size=10), st.text(max_size=10))
def test_two_utterances_are_not_one(first, second):
    """Moving the border between two utterances, even with the separators in the text, changes the digest."""
    first, second = f"({first}", f"{second})"  # no white space at the ends, which doesn't count
    apart = [Utterance("user", "answer", first), Utterance("user", "answer", second)]
    joined = f"{first}\x1euser\x1fanswer\x1f{len(unicodedata.normalize('NFC', second).encode())}\x1f{second}"
    assert content_digest(apart) != content_digest([Utterance("user", "answer", joined)])
    assert content_digest(apart) != content_digest([Utterance("user", "answer", first + second)])


def test_the_content_digest_is_what_the_definition_says():
    """The digest is SHA-256 over role, channel, byte length and NFC text, with the stated separators: a promise to other tools."""
    expected = hashlib.sha256(
        "user\x1fanswer\x1f2\x1fé\x1eassistant\x1fthinking\x1f2\x1fok\x1e".encode()
    ).hexdigest()
    assert (
        content_digest(
            [Utterance("user", "answer", "e\u0301"), Utterance("assistant", "thinking", "ok")]
        )
        == expected
    )
    assert content_digest([]) == hashlib.sha256().hexdigest()
    assert RECORD_ID_HEX * 4 == 128


@given(st.lists(st.text() | st.text(WHITE_SPACE + "é", max_size=6)))
def test_normalised_texts_are_stripped_nfc(texts):
    """Arrow's pass over all texts gives what Python gives for each, also in a slice of an array."""
    expected = [unicodedata.normalize("NFC", text.strip()) for text in texts]
    array = pa.array(["before", *texts], pa.large_string()).slice(1)
    assert normalised(array).to_pylist() == expected


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
    """Sorting marks before normalising changes nothing, whichever they are and whatever they stand behind."""
    text = "".join(start + "".join(marks) * times for start, marks, times in parts)
    assert normal_form(text) == unicodedata.normalize("NFC", text)


def test_every_mark_is_found():
    """What the quick search takes for marks are all that normalising may move."""
    for code in range(sys.maxunicode + 1):
        if unicodedata.combining(unicodedata.normalize("NFD", chr(code))[0]):
            assert MARKS.search(chr(code).encode() * LONGEST_RUN), hex(code)


@pytest.mark.parametrize("marks", ["\u0301\u0327", "\u0344\u0327", "\u0f73\u0327", "\u0301"])
def test_marks_without_end_do_not_take_forever(marks):
    """A third of a megabyte of marks in the wrong order, which takes minutes to normalise as it stands, takes a moment."""
    text = "a" + marks * (160_000 // len(marks))
    began = time.process_time()
    digest = content_digest([Utterance("user", "answer", text)])
    assert time.process_time() - began < 2
    single = "".join(unicodedata.normalize("NFD", mark) for mark in text[1:])
    ordered = "a" + "".join(sorted(single, key=unicodedata.combining))
    assert digest == content_digest([Utterance("user", "answer", ordered)])


def test_white_space_is_what_strip_takes_away():
    """The list holds every sign that Python takes for white space, and no other."""
    assert set(WHITE_SPACE) == {sign for sign in map(chr, range(0x110000)) if sign.isspace()}


@given(JSON)
def test_canonical_json_reads_back_and_has_one_spelling(value):
    """Equal values have equal bytes, whatever the order in which keys were put in."""
    data = canonical_json(value)
    assert json.loads(data) == value
    assert canonical_json(json.loads(data)) == data

    def reversed_keys(item):
        if isinstance(item, dict):
            return {key: reversed_keys(item[key]) for key in reversed(item)}
        return [reversed_keys(part) for part in item] if isinstance(item, list) else item

    assert canonical_json(reversed_keys(value)) == data


@given(JSON, JSON)
def test_config_digests_tell_values_apart(one, other):
    """Two configurations share a digest only if they are spelt the same."""
    assert (config_digest(one) == config_digest(other)) == (
        canonical_json(one) == canonical_json(other)
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [float("-inf")]}])
def test_numbers_that_json_has_not_are_refused(value):
    """NaN would be written as something that isn't JSON."""
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(value)


def test_canonical_json_has_no_white_space_and_no_escapes():
    """The bytes are the shortest spelling, letters as they are."""
    assert canonical_json({"b": [1, 2.5, None], "a": "é"}) == '{"a":"é","b":[1,2.5,null]}'.encode()
    assert sha256_hex(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def rfc6962_root(leaves):
    """Compute the tree hash as RFC 6962 defines it: split at the largest power of two below the size."""
    if len(leaves) == 1:
        return leaves[0]
    middle = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(
        b"\x01" + rfc6962_root(leaves[:middle]) + rfc6962_root(leaves[middle:])
    ).digest()


@given(LEAVES)
def test_the_merkle_root_is_that_of_rfc_6962(leaves):
    """Moving the odd node up gives the same tree as the recursive definition."""
    assert merkle_root(leaves) == rfc6962_root(leaves)


@given(LEAVES, st.data())
def test_the_merkle_root_changes_with_any_leaf(leaves, data):
    """A single flipped bit, a leaf left out, and a leaf added all show."""
    place = data.draw(st.integers(0, len(leaves) - 1))
    bit = data.draw(st.integers(0, 255))
    number = int.from_bytes(leaves[place], "big") ^ (1 << bit)
    root = merkle_root(leaves)
    assert merkle_root([*leaves[:place], number.to_bytes(32, "big"), *leaves[place + 1 :]]) != root
    assert merkle_root(leaves[:place] + leaves[place + 1 :]) != root
    assert merkle_root([*leaves, leaves[place]]) != root


@given(LEAVES, st.randoms())
def test_the_merkle_root_changes_with_any_order(leaves, random):
    """The same rows in another order are another ledger."""
    shuffled = random.sample(leaves, len(leaves))
    assume(shuffled != leaves)
    assert merkle_root(shuffled) != merkle_root(leaves)


def test_an_empty_tree_has_a_root():
    """The root of nothing is SHA-256 of nothing, and that of one leaf the leaf."""
    assert merkle_root([]) == hashlib.sha256(b"").digest()
    assert merkle_root([leaf("a")]) == leaf("a")


@given(st.text(), st.text())
def test_a_leaf_is_its_row_and_no_node(one, other):
    """A leaf hashes the row behind a zero byte, so that two leaves never pass for the node above them."""
    assert leaf(one) == hashlib.sha256(b"\x00" + one.encode()).digest()
    assert (leaf(one) == leaf(other)) == (one == other)
    assert leaf(one + other) != merkle_root([leaf(one), leaf(other)])
    assert leaf("\ud800") != leaf("\udfff")
