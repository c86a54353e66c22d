"""Training flags, weights and labels: whether a text is learnt or wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import re2

from transforms.records.parts import CONTENTS, EXCHANGE_FIELDS, ROLE_FIELDS

WEIGHTS = ("weight", "loss_weight")
"""Message fields that hold the weight of a message's loss."""

FLAGS = (*WEIGHTS, "train", "training", "trainable", "loss", "loss_mask")
"""Message fields that are false or 0 for an untrained message."""

FLAG_STEMS = (b"weight", b"train", b"loss")
"""Each name of a flag contains one of these."""

SPAN_FLAGS = ("train_detail",)
"""Message fields that flag parts of the text; congener doesn't read these flags."""

FLAG_TEXTS = {
    **dict.fromkeys(("true", "yes", "on"), 1.0),
    **dict.fromkeys(("false", "no", "off"), 0.0),
}
"""Lower-case texts that some tools write for a bool, with their weights."""

LABEL_VALUES: Mapping[Any, bool] = {
    **dict.fromkeys((1, "1", "1.0", "true", "desirable", "chosen", "accepted"), True),
    **dict.fromkeys((0, "0", "0.0", "false", "undesirable", "rejected"), False),
}
"""The label values for wanted and unwanted answers. Text is in lower case."""

MOST_LEVELS = 32
"""The deepest nesting that is searched for untrained messages."""

MESSAGE_KEYS = frozenset((*ROLE_FIELDS, *CONTENTS, *EXCHANGE_FIELDS))
"""The keys of a message, an answer or an exchange."""

NOUGHT = r'false|-?0(?:\.0*)?(?:[eE][-+]?\d+)?\s*[,}]|"[^"]{1,12}"'
"""JSON values that may mean false or 0."""

UNTRAINED_SIGN = re2.compile(rf'"(?:{"|".join(FLAGS)})"\s*:\s*(?:{NOUGHT})'.encode())
"""A pattern that matches every JSON line with an untrained message, and a few others."""

UNREAD_SIGN = re2.compile(rf'"(?:{"|".join((*FLAGS, *SPAN_FLAGS))})"\s*:\s*["\[{{]'.encode())
"""A pattern that matches every JSON line with a flag that is neither a bool nor a number."""


def read_weight(value: Any) -> float | None:
    """Return the weight that a flag or a weight means, or None for an unknown value.

    A bool, or a word for a bool, is 0 or 1. A missing or blank value means 1.
    """
    if value is None:
        return 1.0
    text = value.strip().lower() if isinstance(value, str) else None
    if text is not None and text in FLAG_TEXTS:
        return FLAG_TEXTS[text]
    try:
        if isinstance(value, int | float | Decimal):
            return float(value)
        return None if text is None else float(text or 1)
    except (ValueError, OverflowError):
        return None


def is_untrained(message: Mapping[str, Any]) -> bool:
    """Return whether a message has a flag that is false, or a weight of 0."""
    return any(name in message and read_weight(message[name]) == 0 for name in FLAGS)


def list_unread_flags(message: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of a message's flags with unknown values."""
    for name in FLAGS:
        if name in message and read_weight(message[name]) is None:
            yield name
    yield from (name for name in SPAN_FLAGS if message.get(name))


def has_untrained_message(line: bytes, record: Mapping[str, Any]) -> bool:
    """Return whether a record has an untrained message.

    `line` is the record's JSON.
    """
    # the search for a plain text costs a fiftieth of that for the pattern
    weight, train, loss = FLAG_STEMS
    if weight not in line and train not in line and loss not in line:
        return False
    return bool(UNTRAINED_SIGN.search(line)) and any(
        _holds_untrained(value, MOST_LEVELS) for value in record.values()
    )


def _holds_untrained(value: Any, levels: int) -> bool:
    """Return whether a value is or contains an untrained message."""
    if isinstance(value, dict):
        if not MESSAGE_KEYS.isdisjoint(value) and is_untrained(value):
            return True
        value = list(value.values())
    below = value if levels and isinstance(value, list) else ()
    return any(_holds_untrained(item, levels - 1) for item in below)


def read_label(value: Any) -> bool | None:
    """Return whether a label means a wanted answer, or None for an unknown value."""
    if isinstance(value, str):
        return LABEL_VALUES.get(value.strip().lower())
    return LABEL_VALUES.get(value) if isinstance(value, int | float | Decimal) else None
