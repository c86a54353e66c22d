"""The policy of a finished run with the changes that a policy file makes to it."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.notices import format_count, list_names
from schemas.policies import EVERY_OTHER, LotException, Policy, SideActions, TraitRule

LEVEL = frozenset(("max_false_positive_rate", "confidence"))
"""The fields of a rule from which a threshold is calibrated."""


def merge_policies(base: Policy, given: Policy) -> Policy:
    """Return a policy in which every field that `given` sets replaces that of `base`.

    A rule replaces the fields that it sets of the rule that the trait had; a rule for every other
    trait replaces the rules of all traits that `given` doesn't name. Exceptions are added after
    those of `base`, and replace those for the same trait, row or lots, and side.
    """
    own = given.model_fields_set - {"traits", "exceptions", "sides"}
    changes = {name: getattr(given, name) for name in own}
    return base.model_copy(
        update={
            **changes,
            "traits": _merge_traits(base, given),
            "exceptions": _merge_exceptions(base, given),
            "sides": _merge_sides(base.sides, given.sides),
        }
    )


def _merge_traits(base: Policy, given: Policy) -> dict[str, TraitRule]:
    kept = {} if EVERY_OTHER in given.traits else base.traits
    merged = {name: _merge_rule(base.get_rule(name), rule) for name, rule in given.traits.items()}
    return {**kept, **merged}


def _merge_rule(base: TraitRule, given: TraitRule) -> TraitRule:
    """Return a rule with the fields that are set, and the base's other fields.

    A threshold of the base was set by hand for its signal, and gives way to a level or another
    signal; so does a level to a threshold.
    """
    own = given.model_fields_set - {"sides"}
    changes = {name: getattr(given, name) for name in own}
    if own & LEVEL or changes.get("signal", base.signal) != base.signal:
        changes.setdefault("threshold", None)
    if given.threshold is not None:
        changes = dict.fromkeys(LEVEL) | changes
    return base.model_copy(update={**changes, "sides": _merge_sides(base.sides, given.sides)})


def _merge_sides(base: SideActions, given: SideActions) -> SideActions:
    return base.model_copy(update={name: getattr(given, name) for name in given.model_fields_set})


def _merge_exceptions(base: Policy, given: Policy) -> tuple[LotException, ...]:
    kept = (
        item
        for item in base.exceptions
        if not any(_replaces(other, item) for other in given.exceptions)
    )
    return (*kept, *given.exceptions)


def _replaces(new: LotException, old: LotException) -> bool:
    """Return whether an exception has the trait, rows and side of another, and sets all it sets."""
    is_whole = all(
        getattr(old, name) is None or getattr(new, name) is not None
        for name in ("action", "threshold")
    )
    return is_whole and _name_target(new) == _name_target(old)


def _name_target(item: LotException) -> tuple[object, ...]:
    row = item.row
    if row is None:
        named: object = None
    else:
        named = row.key if row.column is None else (row.column, str(row.value))
    return item.trait, item.side, item.lot, named


def list_kept(base: Policy, given: Policy) -> list[str]:
    """Name what a merged policy has from `base` alone: exceptions, rules of traits, and settings.

    Without the merge, this is what the new policy lacks.
    """
    merged = merge_policies(base, given)
    exceptions = len(merged.exceptions) - len(given.exceptions)
    rules = [name for name in base.traits if _has_rule_of_base(name, merged, given)]
    others = _list_settings(merged, given)
    return [
        *([format_count(exceptions, "exception")] if exceptions else []),
        *([f"the {_name_rules(rules)}"] if rules else []),
        *others,
    ]


def _has_rule_of_base(name: str, merged: Policy, given: Policy) -> bool:
    return name in merged.traits and merged.traits[name] != given.get_rule(name)


def _name_rules(names: list[str]) -> str:
    if names == [EVERY_OTHER]:
        return "rule of every other trait"
    shown = list_names(["every other trait" if name == EVERY_OTHER else name for name in names])
    return f"rule of {shown}" if len(names) == 1 else f"rules of {shown}"


def _list_settings(merged: Policy, given: Policy) -> Iterator[str]:
    for name in Policy.model_fields:
        if name not in ("traits", "exceptions") and getattr(merged, name) != getattr(given, name):
            yield name


def describe_kept(run: str, path: str, base: Policy, given: Policy) -> Iterator[str]:
    """Say what of a run's policy still holds beside the file at `path`, if anything does."""
    if kept := list_kept(base, given):
        yield (
            f"{path} changes the policy of {run}, and the rest of that policy still holds: "
            f"{', '.join(kept)}; --replace-policy leaves it out"
        )


def describe_lost(run: str, path: str, base: Policy, given: Policy) -> Iterator[str]:
    """Say what of a run's policy no longer holds because the file at `path` replaces it."""
    if lost := list_kept(base, given):
        yield (
            f"{path} replaces the policy of {run}, of which this no longer holds: "
            f"{', '.join(lost)}; without --replace-policy, it still does"
        )
