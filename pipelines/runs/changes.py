"""Describe the differences between an unfinished run's settings and the current ones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from schemas.policies import EVERY_OTHER, TraitRule

MOST_SHOWN = 12
"""The largest number of listed differences. Further differences are only counted."""

LONGEST_VALUE = 60
SETTINGS_OF_DIGEST = {
    "config_digest": "config",
    "policy_digest": "policy",
    "bank_digest": "traits",
}
"""For each digest in a run's identity, the settings to compare instead."""

SET = ("action", "threshold", "reason")
"""What a description of an exception says besides its trait, its rows and another side."""

ACTION_PATH = re.compile(r"policy\.traits\.(.+)\.action")

RULE_DEFAULTS = TraitRule().model_dump(mode="json")
"""The rule of a trait that the policy doesn't name."""


def list_changes(begun: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a line for each difference between two descriptions of a run, up to `MOST_SHOWN`.

    A description has the run's `identity` and its `settings`.
    """
    return _limit_lines(list_all_changes(begun, now))


def list_all_changes(begun: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a line for each difference between two descriptions of a run, however many."""
    return list(_compare(begun, now))


def list_setting_changes(begun: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a line for each difference between two sets of nested settings."""
    return _limit_lines(
        [line for name in now for line in _compare_values(name, begun.get(name), now[name])]
    )


def _limit_lines(lines: list[str]) -> list[str]:
    more = len(lines) - MOST_SHOWN
    return [*lines[:MOST_SHOWN], f"and {more} more"] if more > 0 else lines


def _compare(begun: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    old, new = begun["identity"], now["identity"]
    for name in {**old, **new}:
        if old.get(name) == new.get(name):
            continue
        if name == "inputs":
            yield from _compare_inputs(old.get(name, ()), new.get(name, ()))
            continue
        part = SETTINGS_OF_DIGEST.get(name)
        lines: list[str] = []
        if part is not None:
            lines = list(
                _compare_values(part, begun["settings"].get(part), now["settings"].get(part))
            )
        yield from lines or _compare_values(name, old.get(name), new.get(name))


def _compare_values(path: str, old: Any, new: Any) -> Iterator[str]:
    """Yield the differences between nested settings, each with its path."""
    if old == new or _is_same_row(old, new):
        return
    if path == "policy.exceptions":
        yield from _compare_exceptions(old or (), new or ())
        return
    if _hold_mappings(old, new):
        for index, (one, two) in enumerate(zip_longest(old or (), new or ())):
            yield from _compare_values(f"{path}[{index}]", one, two)
        return
    old, new = _fill_in(path, old, new), _fill_in(path, new, old)
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            yield from _compare_values(f"{path}.{name}", old.get(name), new.get(name))
    else:
        yield _describe_change(path, old, new)


def _describe_change(path: str, old: Any, new: Any) -> str:
    """Describe a changed value; an action that both sides give is called by its trait alone."""
    if (found := ACTION_PATH.fullmatch(path)) and None not in (old, new):
        name = "every other trait" if found[1] == EVERY_OTHER else found[1]
        return f"{name}: {old} → {new}"
    return f"{path}: was {_shorten(old)}, is {_shorten(new)}"


def _compare_exceptions(
    old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Yield the exceptions that only one policy has, whatever their places are.

    Exceptions that name a row by the same id are the same, also if only one gives its place.
    """
    left = list(range(len(new)))
    places = []
    for item in old:
        same = next((place for place in left if _is_same_exception(item, new[place])), None)
        if same is None:
            yield f"exception removed: {_describe_exception(item)}"
        else:
            left.remove(same)
            places.append(same)
    yield from (f"exception added: {_describe_exception(new[place])}" for place in left)
    if places != sorted(places):
        yield "exceptions: the order differs"


def _is_same_exception(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    rest = [{name: item[name] for name in item if name != "row"} for item in (one, other)]
    rows = one.get("row"), other.get("row")
    return rest[0] == rest[1] and (rows[0] == rows[1] or _is_same_row(*rows))


def _describe_exception(exception: Mapping[str, Any]) -> str:
    """Name an exception's trait, its row or lots, and what it sets."""
    where = {**(exception.get("lot") or {}), **(exception.get("row") or {})}
    if exception.get("side") != "trained":
        where["side"] = exception.get("side")
    given = {**where, **{name: exception.get(name) for name in SET}}
    parts = (f"{name} {_shorten(value)}" for name, value in given.items() if value is not None)
    trait = exception.get("trait") or EVERY_OTHER
    return f"{'every trait' if trait == EVERY_OTHER else trait} ({', '.join(parts)})"


def _is_same_row(old: Any, new: Any) -> bool:
    """Return whether two exceptions name a row by the same id; one may have its place besides."""
    rows = [value for value in (old, new) if isinstance(value, dict) and value.get("column")]
    names = [(row["column"], row.get("value")) for row in rows]
    return len(names) > 1 and names[0] == names[1]


def _hold_mappings(old: Any, new: Any) -> bool:
    """Return whether two lists, of which one may be missing, hold mappings."""
    are_lists = all(isinstance(value, list | None) for value in (old, new))
    return are_lists and any(isinstance(item, dict) for item in (*(old or ()), *(new or ())))


def _fill_in(path: str, value: Any, other: Any) -> Any:
    """Return the fields of a missing mapping, if the other one has fields: the defaults."""
    if value is None and isinstance(other, dict) and other:
        return RULE_DEFAULTS if path.rpartition(".")[0] == "policy.traits" else {}
    return value


def _shorten(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _compare_inputs(old: Sequence[Sequence[Any]], new: Sequence[Sequence[Any]]) -> Iterator[str]:
    """Yield the files that were added, removed or changed."""
    before, after = ({name: (rows, digest) for name, rows, digest in files} for files in (old, new))
    for name in {**before, **after}:
        if name not in after:
            yield f"input {name}: was removed"
        elif name not in before:
            yield f"input {name}: is new"
        elif before[name] != after[name]:
            (rows, digest), (rows_now, digest_now) = before[name], after[name]
            yield (
                f"input {name}: was {rows} rows with SHA-256 {digest[:12]}, "
                f"is {rows_now} rows with {digest_now[:12]}"
            )
    if list(before) != list(after) and sorted(before) == sorted(after):
        yield "inputs: the files are in a different order"
