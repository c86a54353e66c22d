"""Flags, weights and labels in every form."""

from decimal import Decimal

import orjson
import pytest

from transforms.records.flags import (
    FLAG_STEMS,
    FLAGS,
    has_untrained_message,
    is_untrained,
    list_unread_flags,
    read_label,
    read_weight,
)


@pytest.mark.parametrize(
    ("value", "weight"),
    [
        *((value, 1) for value in (None, "", " ", True, 1, 1.0, "true", "Yes", "ON", "1", "1.0")),
        *((value, 0) for value in (False, 0, -0.0, Decimal("0.00"), "false", " No ", "off")),
        *((value, 0) for value in ("0", "0.0", "-0", "0e3")),
        (0.5, 0.5),
        ("0.25", 0.25),
        (Decimal("1.5"), 1.5),
        *((value, None) for value in ("maybe", "low", [], [0], {}, {"train": False}, 10**400)),
    ],
    ids=repr,
)
def test_a_weight_is_read_from_any_form(value, weight):
    """Bools, numbers and decimals are weights, and so are texts that stand for them."""
    assert read_weight(value) == weight


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_of_nought_makes_a_message_untrained(name):
    """Every flag of nought makes a message untrained."""
    for value in (False, 0, "false", "0", Decimal(0)):
        assert is_untrained({"role": "user", name: value})
    for value in (True, 1, "true", "0.5", None, "", "maybe"):
        assert not is_untrained({"role": "user", name: value})
    assert not is_untrained({"role": "user"})


def test_flags_that_cannot_be_read_are_named():
    """Unreadable flags, and flags for parts of a text, are named."""
    message = {"train": "perhaps", "weight": "0", "loss_mask": [0, 1], "train_detail": [{}]}
    assert list(list_unread_flags(message)) == ["train", "loss_mask", "train_detail"]
    assert list(list_unread_flags({"train": None, "loss": False, "train_detail": []})) == []


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": [{"role": "user", "weight": 0}]}, True),
        ({"messages": [{"role": "user", "weight": "0"}]}, True),
        ({"messages": [{"role": "user", "weight": 0e5}]}, True),
        ({"messages": [{"role": "user", "train": "False"}]}, True),
        ({"input": {"messages": [{"from": "gpt", "train": False}]}}, True),
        ({"chosen": {"role": "assistant", "loss": 0.0}}, True),
        ({"messages": [{"role": "user", "train": None, "loss": "no"}]}, True),
        ({"messages": [{"type": "ai", "data": {"content": "A", "train": False}}]}, True),
        ({"conversations": [{"user": "Q", "assistant": "A", "weight": 0}]}, True),
        ({"completion": [{"text": "A", "train": 0}]}, True),
        ({"messages": [{"role": "user", "weight": 1}]}, False),
        ({"messages": [{"role": "user", "weight": "1"}]}, False),
        ({"messages": [{"role": "user", "train": None, "loss": "yes"}]}, False),
        ({"metrics": {"loss": 0, "x": 1}, "weight": 0, "x": 1}, False),
        ({"text": '"loss": 0, '}, False),
    ],
    ids=str,
)
def test_untrained_messages_are_found_in_any_shape(row, expected):
    """Untrained messages are found in messages, answers and exchanges."""
    assert has_untrained_message(orjson.dumps(row), row) is expected


def test_every_flag_has_a_stem():
    """A line without any of the stems has no flag, so its search can be spared."""
    assert all(any(stem.decode() in name for stem in FLAG_STEMS) for name in FLAGS)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ((True, 1, 1.0, "1", "true", "True", " Desirable ", "chosen", "accepted"), True),
        ((False, 0, 0.0, Decimal(0), "0", "false", "undesirable", "Rejected"), False),
        ((None, "", 2, -1, 0.5, "spam", "positive", [], {}, [True]), None),
    ],
)
def test_a_label_says_whether_an_answer_is_wanted(values, wanted):
    """Bools, and numbers and words that stand for them, are labels; other values aren't."""
    assert {read_label(value) for value in values} == {wanted}
