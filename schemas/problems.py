"""Describe pydantic's errors in words that a file's author understands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from schemas.notices import suggest_name
from schemas.policies import SEVERITY

WORDS = {
    "tuple_type": "should be a list",
    "list_type": "should be a list",
    "dict_type": "should be a mapping",
    "model_type": "should be a mapping of fields",
    "model_attributes_type": "should be a mapping of fields",
    "extra_forbidden": "is not known",
    "missing": "is needed",
}
"""Replacements for pydantic's messages that use Python's terms."""

LONGEST_VALUE = 60
"""How many characters of a value are shown."""

QUOTED = re.compile(r"'([^']*)'")
"""A choice in pydantic's list of choices."""

MOST_DESCRIBED = 10
"""The largest number of mistakes described per file. Further mistakes are only counted."""


def describe_problems(error: ValidationError, options: Mapping[str, str] | None = None) -> str:
    """Describe the mistakes in a file or in options, each as a field and its problem.

    `options` maps fields to options. The description names the option instead of the field.
    """
    found = error.errors()
    parents = {item["loc"][:end] for item in found for end in range(len(item["loc"]))}
    # pydantic leaves invalid items out of a list, and then calls the list too short
    own = [item for item in found if item["type"] != "too_short" or item["loc"] not in parents]
    lines = [
        f"{_name_field(item['loc'], options or {})}: {_describe_problem(item)}"
        for item in own[:MOST_DESCRIBED]
    ]
    return "; ".join(
        lines + ([f"and {len(own) - MOST_DESCRIBED:,} more"] if len(own) > MOST_DESCRIBED else [])
    )


def _name_field(location: tuple[int | str, ...], options: Mapping[str, str]) -> str:
    path = ".".join(map(str, location))
    for field, option in options.items():
        if f"{path}.".startswith(f"{field}."):
            return option
    return f"field {path or '(top)'}"


def _describe_problem(item: Any) -> str:
    value, kind, where = item["input"], item["type"], item["loc"]
    if kind == "model_type" and where[:1] == ("traits",) and value in SEVERITY:
        return f"{WORDS[kind]}: write `{where[-1]}: {{action: {value}}}`"
    if kind == "literal_error":
        return _describe_choice(str(value), item["ctx"]["expected"])
    if kind in ("float_parsing", "less_than", "less_than_equal") and _may_be_percent(value):
        share = f"{float(str(value).rstrip(' %')) / 100:g}"
        return f"should be a share from 0 to 1 but is {_shorten(value)}: write {share}"
    if kind == "string_type" and value is not None and not isinstance(value, list | dict):
        shown = f"{_shorten(value)} ({type(value).__name__})"
        return f"should be text but is {shown}: in YAML, put it in quotes"
    if kind == "too_short":
        return f"needs at least {item['ctx']['min_length']}"
    message: str = WORDS.get(kind) or item["msg"]
    return message.removeprefix("Value error, ").removeprefix("Input ")


def _describe_choice(value: str, expected: str) -> str:
    """Describe a value that isn't one of a field's choices."""
    choices = QUOTED.findall(expected)
    hint = suggest_name(value, choices).replace("? ", "?")
    if value == "mix" and set(SEVERITY) <= set(choices):
        hint = "rows are added to a finished run: congener mix RUN --donor CORPUS"
    listed = f"is {_shorten(value)!r}, not one of {', '.join(choices)}"
    return f"{listed}; {hint}" if hint else listed


def _may_be_percent(value: object) -> bool:
    """Return whether a value looks like a percentage where a share is expected (`1%` or 5)."""
    try:
        number = float(str(value).rstrip(" %"))
    except ValueError:
        return False
    return 0 < number <= 100 and (isinstance(value, int | float) or "%" in str(value))


def _shorten(value: object) -> str:
    """Shorten a value for a message. Python refuses to write out very long numbers."""
    try:
        text = str(value)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def list_known_fields(error: ValidationError, model: type[BaseModel]) -> str | None:
    """List the valid fields beside the first unknown or missing field, or return None."""
    wrong = (item for item in error.errors() if item["type"] in ("extra_forbidden", "missing"))
    first = next(wrong, None)
    if first is None:
        return None
    *above, name = first["loc"]
    inner, path = find_model(model, tuple(above))
    known = list(inner.model_fields)
    hint = suggest_name(str(name), known) if first["type"] == "extra_forbidden" else ""
    return f"{hint}fields{f' of {path}' if path else ''} are {', '.join(known)}"


def find_model(
    model: type[BaseModel], location: tuple[int | str, ...]
) -> tuple[type[BaseModel], str]:
    """Return the innermost model at a location in nested models, and its path."""
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
