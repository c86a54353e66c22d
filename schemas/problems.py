"""Describe pydantic's errors in words that a file's author understands."""

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
"""Messages for the types of errors whose own messages use Python's terms."""

LONGEST_VALUE = 60
"""How many characters of a value are shown."""

MOST_DESCRIBED = 10
"""The largest number of mistakes described per file; any others are only counted."""


def describe_problems(error: ValidationError) -> str:
    """Describe the mistakes in a file, each as a field and its problem."""
    found = error.errors()
    parents = {item["loc"][:end] for item in found for end in range(len(item["loc"]))}
    # pydantic leaves invalid items out of a list, and then calls the list too short
    own = [item for item in found if item["type"] != "too_short" or item["loc"] not in parents]
    lines = [
        f"field {'.'.join(map(str, item['loc'])) or '(top)'}: {_describe_problem(item)}"
        for item in own[:MOST_DESCRIBED]
    ]
    return "; ".join(
        lines + ([f"and {len(own) - MOST_DESCRIBED:,} more"] if len(own) > MOST_DESCRIBED else [])
    )


def _describe_problem(item: Any) -> str:
    value, kind = item["input"], item["type"]
    if kind == "string_type" and value is not None and not isinstance(value, list | dict):
        shown = f"{_shorten(value)} ({type(value).__name__})"
        return f"should be text but is {shown}: in YAML, put it in quotes"
    if kind == "too_short":
        return f"needs at least {item['ctx']['min_length']}"
    message: str = WORDS.get(kind) or item["msg"]
    return message.removeprefix("Value error, ")


def _shorten(value: object) -> str:
    """Return the beginning of a value as text. Python refuses to write out very long numbers."""
    try:
        text = str(value)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def list_known_fields(error: ValidationError, model: type[BaseModel]) -> str | None:
    """List the fields that are valid where the first unknown or missing one is, or return None."""
    wrong = (
        item["loc"] for item in error.errors() if item["type"] in ("extra_forbidden", "missing")
    )
    location = next(wrong, None)
    if location is None:
        return None
    inner, path = find_model(model, location[:-1])
    return f"fields{f' of {path}' if path else ''} are {', '.join(inner.model_fields)}"


def find_model(
    model: type[BaseModel], location: tuple[int | str, ...]
) -> tuple[type[BaseModel], str]:
    """Follow a location into nested models; return the innermost model and its path."""
    steps, path = iter(location), list[str]()
    for step in steps:
        field = model.model_fields.get(str(step))
        inner = next(_find_models(field.annotation), None) if field else None
        if field is None or inner is None:
            break
        path.append(str(step))
        if _is_container(field.annotation):
            path += [str(key) for key in (next(steps, None),) if key is not None]
        model = inner
    return model, ".".join(path)


def _find_models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models in a type, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _find_models(part)


def _is_container(annotation: Any) -> bool:
    """Return whether a type is a list, tuple or mapping, or a union that contains one."""
    return get_origin(annotation) in (tuple, list, dict) or any(
        _is_container(part) for part in get_args(annotation)
    )
