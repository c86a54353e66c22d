"""What a run was begun with against what is given now, in words: why it isn't resumed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MOST = 12
"""Differences that are told; of the others, the number."""

EXPLAINED = {"config_digest": "config", "policy_digest": "policy", "bank_digest": "traits"}
"""Digests of a run's identity, and the settings behind each that are told in its place."""


def changes(begun: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a line for each difference between two descriptions (`identity` and `settings`) of a run; none if they are one run's."""
    found = list(_changes(begun, now))
    return found if len(found) <= MOST else [*found[:MOST], f"and {len(found) - MOST} more"]


def _changes(begun: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    old, new = begun["identity"], now["identity"]
    for name in {**old, **new}:
        if old.get(name) == new.get(name):
            continue
        if name == "inputs":
            yield from _inputs(old.get(name, ()), new.get(name, ()))
            continue
        part = EXPLAINED.get(name)
        lines = (
            []
            if part is None
            else list(_told(part, begun["settings"].get(part), now["settings"].get(part)))
        )
        yield from lines or _told(name, old.get(name), new.get(name))


def _told(path: str, old: Any, new: Any) -> Iterator[str]:
    """Tell the differences of nested settings by their paths."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            yield from _told(f"{path}.{name}", old.get(name), new.get(name))
    else:
        yield f"{path}: was {_shown(old)}, is {_shown(new)}"


def _shown(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _inputs(old: Sequence[Sequence[Any]], new: Sequence[Sequence[Any]]) -> Iterator[str]:
    """Tell which files came, went or changed."""
    before, after = ({name: (rows, digest) for name, rows, digest in files} for files in (old, new))
    for name in {**before, **after}:
        if name not in after:
            yield f"input {name}: isn't there any more"
        elif name not in before:
            yield f"input {name}: is new"
        elif before[name] != after[name]:
            (rows, digest), (rows_now, digest_now) = before[name], after[name]
            yield f"input {name}: was {rows} rows with SHA-256 {digest[:12]}, is {rows_now} rows with {digest_now[:12]}"
    if list(before) != list(after) and sorted(before) == sorted(after):
        yield "inputs: the files' order"
