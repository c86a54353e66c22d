"""What a request to the review may hold: numbers and labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, cast

from pipelines.review.judgements import LONGEST_REASON, VERDICTS, Verdict
from schemas.errors import CardError


class LabelRequest(NamedTuple):
    """A label that a request asks to keep."""

    row: int
    trait: str
    verdict: Verdict
    reason: str


def parse_label(given: Mapping[str, Any], traits: Collection[str]) -> LabelRequest:
    """Return the label that a request describes.

    Raises: CardError: it has no index, no known trait, no verdict, or a reason that isn't a text.
    """
    index, reason = given.get("index"), given.get("reason", "")
    trait, verdict = given.get("trait"), given.get("label")
    is_text = isinstance(reason, str) and len(reason) <= LONGEST_REASON and _is_utf8(reason)
    is_row = isinstance(index, int) and not isinstance(index, bool)
    if not is_row or not is_text or trait not in traits or verdict not in [*VERDICTS]:
        raise CardError("needs a row's index, a trait of the run, and yes, no or unsure")
    return LabelRequest(cast("int", index), str(trait), cast("Verdict", verdict), reason)


def parse_number(text: str, name: str) -> int:
    """Return a whole number that isn't negative.

    Raises: CardError: it isn't one.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise CardError(f"{text[:40]!r} isn't a row's number", where=name)
    return int(text)


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)
