"""The masked passages of an item, as a label file lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from schemas.errors import CardError


class MaskedPassage(NamedTuple):
    """A masked stretch of an item's text, `prompt` or `answer`, in characters."""

    where: str
    start: int
    end: int


def list_stretches(passages: Sequence[MaskedPassage], where: str) -> list[tuple[int, int]]:
    """Return the masked stretches of the prompt or of the answer."""
    return [(item.start, item.end) for item in passages if item.where == where]


def read_masked(fields: Mapping[str, Any], where: str) -> tuple[MaskedPassage, ...]:
    """Return the masked passages of a label file's line.

    Raises: CardError: the field `masked` was changed.
    """
    found = fields.get("masked") or ()
    try:
        passages = [MaskedPassage(item["in"], item["start"], item["end"]) for item in found]
        same = all(
            fields[item.where][item.start : item.end] == source["text"]
            for item, source in zip(passages, found, strict=True)
        )
    except (KeyError, TypeError) as error:
        raise _report_masked(where) from error
    if not same:
        raise _report_masked(where)
    return tuple(passages)


def _report_masked(where: str) -> CardError:
    return CardError(
        "the field `masked` doesn't name passages of the line's text",
        where=where,
        remedy="set only each `label`, and leave the rest as congener certify --draw wrote it",
    )
