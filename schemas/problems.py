"""What pydantic finds wrong, in words for whoever wrote the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

WORDS = {
    "tuple_type": "should be a list",
    "list_type": "should be a list",
    "dict_type": "should be a mapping",
    "model_type": "should be a mapping of fields",
    "model_attributes_type": "should be a mapping of fields",
    "extra_forbidden": "is not known",
    "missing": "is needed",
}
"""Pydantic's types of error whose own messages speak of Python, and what is said instead."""

MOST = 10
"""Mistakes told of one file."""


def problems(error: ValidationError) -> str:
    """Say all that is wrong: for each the field, then what is wrong with it."""
    found = error.errors()
    below = {item["loc"][:end] for item in found for end in range(len(item["loc"]))}
    own = [
        item for item in found if item["type"] != "too_short" or item["loc"] not in below
    ]  # a list lacks what is wrong in it
    told = [
        f"field {'.'.join(map(str, item['loc'])) or '(top)'}: {_words(item)}" for item in own[:MOST]
    ]
    return "; ".join(told + ([f"and {len(own) - MOST:,} more"] if len(own) > MOST else []))


def _words(item: Any) -> str:
    if (
        item["type"] == "string_type"
        and item["input"] is not None
        and not isinstance(item["input"], list | dict)
    ):
        return f"should be text and is {item['input']} ({type(item['input']).__name__}): in YAML, put it in quotes"
    if item["type"] == "too_short":
        return f"needs at least {item['ctx']['min_length']}"
    message: str = WORDS.get(item["type"]) or item["msg"]
    return message.removeprefix("Value error, ")


def known_fields(error: ValidationError, model: type[BaseModel]) -> str | None:
    """Return the fields that there are where the first unknown or missing one was looked for, or None if none was."""
    place = next(
        (item["loc"] for item in error.errors() if item["type"] in ("extra_forbidden", "missing")),
        None,
    )
    if place is None:
        return None
    inner, path = model_at(model, place[:-1])
    return f"fields{f' of {path}' if path else ''} are {', '.join(inner.model_fields)}"


def model_at(model: type[BaseModel], place: tuple[int | str, ...]) -> tuple[type[BaseModel], str]:
    """Follow a place into nested models, as far as there are any; return the innermost model and the path to it."""
    walk, path = iter(place), ""
    for part in walk:
        field = model.model_fields.get(str(part))
        inner = next(_models(field.annotation), None) if field else None
        if field is None or inner is None:
            break
        key = next(walk, None) if _is_container(field.annotation) else None
        path = ".".join([path, str(part)] if path else [str(part)]) + (
            "" if key is None else f".{key}"
        )
        model = inner
    return model, path


def _models(kind: Any) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for part in get_args(kind):
        yield from _models(part)


def _is_container(kind: Any) -> bool:
    return get_origin(kind) in (tuple, list, dict) or any(
        _is_container(part) for part in get_args(kind)
    )
